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

export interface PushedBlob {
  readonly descriptor: Descriptor;
  /** Its bytes from `offset` on. */
  readonly open: (offset: number) => Readable;
  /** Repositories of the same registry that are known to have it; the first one that gives it will do. */
  readonly elsewhere: readonly string[];
}

export interface PushOptions extends RegistryOptions {
  /** Bytes that the registry has been sent; less than before when it had to start over. */
  readonly onProgress?: (bytes: number) => void;
}

export type BlobArrival =
  | { readonly kind: 'there' }
  | { readonly kind: 'mounted'; readonly from: string }
  | { readonly kind: 'sent' };

export interface SearchResult {
  readonly name: string;
  readonly description: string;
  readonly stars: number;
  readonly official: boolean;
  readonly automated: boolean;
}

export interface Download {
  readonly stream: Readable;
  /** Undefined when the server does not say. */
  readonly size: number | undefined;
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
  /**
   * Makes the repository have the blob: it has it already, takes it from another of the registry's repositories, or gets
   * it sent. What is cut goes on where the registry says it stopped.
   */
  pushBlob(reference: Reference, blob: PushedBlob, options: PushOptions): Promise<BlobArrival>;
  /** Under its digest, or under the tag when the reference has one. */
  pushManifest(reference: Reference, manifest: Fetched, options: RegistryOptions): Promise<void>;
  /** `docker search`: by name, at Docker Hub or at the registry that stands before the term. */
  search(term: string, limit: number, options: RegistryOptions): Promise<readonly SearchResult[]>;
  /** A file from anywhere in the web, for `docker import`. */
  download(url: URL, options: Pick<RegistryOptions, 'signal'>): Promise<Download>;
  /** `POST /auth`: throws `unauthorized` when the registry does not take the credentials. */
  login(serverAddress: string, credentials: Credentials): Promise<{ identityToken: string }>;
}

export type { Digest };
