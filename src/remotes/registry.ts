import type { Readable } from 'node:stream';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Reference } from '../oci/reference.ts';
import type { ProxyConfig } from './proxies.ts';

/** What the client sent in X-Registry-Auth. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

export interface RegistryOptions {
  readonly credentials?: Credentials;
  readonly signal?: AbortSignal;
  /** Past the mirrors, from the registry itself: for when what a mirror gave was wrong. */
  readonly direct?: boolean;
}

/** How hosts are reached; from the engine's configuration. */
export interface RegistryConfig {
  /** Host names, host:port and CIDR blocks that may be spoken to without TLS or with a certificate nobody knows. */
  readonly insecure: readonly string[];
  /** Mirrors by registry domain, tried in order before the registry itself; URLs. */
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
  /** `<dir>/<host>/ca.crt`, `client.cert`, `client.key`, as /etc/docker/certs.d. */
  readonly certificates: string;
  /** Straight to every host when not given. */
  readonly proxies?: ProxyConfig;
}

export interface Fetched {
  readonly descriptor: Descriptor;
  /** The manifest's own bytes. */
  readonly bytes: Buffer;
}

/** A registry as a client sees it (OCI distribution-spec 1.1). Everything it returns is verified against its digest. */
export interface Registry {
  /** The manifest or index that the name points to now. Throws RegistryError. */
  resolve(reference: Reference, options: RegistryOptions): Promise<Fetched>;
  fetchManifest(reference: Reference, descriptor: Descriptor, options: RegistryOptions): Promise<Fetched>;
  /**
   * The bytes of a blob from `offset` on. `from` says where they begin: 0 when the registry ignores ranges.
   * The stream ends with an error when it stalls or is cut; the caller asks again from where it stopped.
   */
  openBlob(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    options: RegistryOptions,
  ): Promise<{ stream: Readable; from: number }>;
  tags(reference: Reference, options: RegistryOptions): Promise<readonly string[]>;
  /** `POST /auth`: throws `unauthorized` when the registry does not take the credentials. */
  login(serverAddress: string, credentials: Credentials): Promise<{ identityToken: string }>;
}

export type { Digest };
