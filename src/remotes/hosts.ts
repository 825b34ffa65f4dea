import { type BlockList, isIP, type LookupFunction } from 'node:net';
import { EngineError } from '../base/errors.ts';
import { parseBlock } from './addresses.ts';
import type { RegistryConfig } from './registry.ts';

/** A place that may answer for a registry: a mirror of it, or the registry itself. */
export interface Endpoint {
  /** Base URLs in the order in which they are tried; more than one only where plain HTTP is allowed. */
  readonly bases: readonly URL[];
  /** Mirrors are not sent the credentials of the registry that they stand for. */
  readonly mirror: boolean;
}

export interface HostsDeps {
  readonly config: RegistryConfig;
  readonly lookup: LookupFunction;
}

/** Where registries are, and which of them may be spoken to without TLS or with a certificate nobody knows (S37). */
export class Hosts {
  readonly #lookup: LookupFunction;
  #config!: RegistryConfig;
  #names!: ReadonlySet<string>;
  #blocks!: readonly BlockList[];

  constructor(deps: HostsDeps) {
    this.#lookup = deps.lookup;
    this.configure(deps.config);
  }

  /** Other mirrors and other insecure ones from now on. Throws `invalid`, and nothing has changed then. */
  configure(config: RegistryConfig): void {
    const blocks: BlockList[] = [];
    const names = new Set<string>();
    for (const entry of config.insecure)
      if (entry.includes('/')) blocks.push(parseBlock(entry));
      else names.add(entry.toLowerCase());
    for (const [domain, urls] of Object.entries(config.mirrors)) for (const url of urls) mirrorUrl(url, domain);
    this.#config = config;
    this.#names = names;
    this.#blocks = blocks;
  }

  /** Mirrors first, in their order. */
  async endpointsOf(domain: string): Promise<readonly Endpoint[]> {
    const mirrors = this.#config.mirrors[domain] ?? [];
    return [...mirrors.map((url) => ({ bases: [mirrorUrl(url, domain)], mirror: true })), await this.originOf(domain)];
  }

  async originOf(domain: string): Promise<Endpoint> {
    // Docker Hub's registry does not live at the name that its images have.
    const host = domain === 'docker.io' ? 'registry-1.docker.io' : domain;
    const bases = [new URL(`https://${host}/`)];
    if (await this.isInsecure(host)) bases.push(new URL(`http://${host}/`));
    return { bases, mirror: false };
  }

  /**
   * Hosts listed as insecure, by name, name and port, or block of addresses; and, as in Docker, this machine: localhost,
   * 127.0.0.0/8 and ::1. A name that merely resolves to this machine is not enough, since whoever answers DNS decides that.
   */
  async isInsecure(host: string): Promise<boolean> {
    const name = hostnameOf(host);
    if (name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'))) return true;
    if (this.#names.has(host.toLowerCase()) || this.#names.has(name)) return true;
    if (this.#blocks.length === 0) return false;
    const addresses = isIP(name) === 0 ? await this.#resolve(name) : [name];
    return addresses.some((address) =>
      this.#blocks.some((block) => block.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')),
    );
  }

  #resolve(name: string): Promise<readonly string[]> {
    return new Promise((resolve) =>
      this.#lookup(name, { all: true }, (error, found) => {
        if (error) return resolve([]);
        resolve(typeof found === 'string' ? [found] : found.map(({ address }) => address));
      }),
    );
  }
}

/** `[::1]:5000` to `::1`, `Host:80` to `host`. */
function hostnameOf(host: string): string {
  const name = host.startsWith('[') ? host.slice(1, host.indexOf(']')) : host.replace(/:\d+$/, '');
  return name.toLowerCase();
}

/** Throws `invalid` for what is no web address. */
function mirrorUrl(text: string, domain: string): URL {
  const url = URL.parse(text.includes('://') ? text : `https://${text}`);
  if (!url || !/^https?:$/.test(url.protocol))
    throw new EngineError('invalid', `invalid mirror of ${domain}: ${JSON.stringify(text)} is no URL`);
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}
