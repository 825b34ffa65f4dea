import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';

/**
 * The TLS settings of a host, from `<folder>/<host[:port]>/`: every `*.crt` is an authority beside those of the system,
 * every `*.cert` a client certificate whose key stands in the `*.key` of the same name, as in /etc/docker/certs.d.
 */
export class HostCertificates {
  readonly #folder: string;
  #system: string[] | undefined;
  #plain: SecureContext | undefined;
  readonly #contexts = new Map<string, { readonly content: string; readonly context: SecureContext }>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Read again each time, so that a certificate that was put there counts at once. */
  async contextFor(host: string, { verify }: { verify: boolean }): Promise<SecureContext | undefined> {
    const files = await this.#read(host);
    // Reading the authorities costs some 30 ms, which a host that needs none should not pay.
    if (files.size === 0) return verify ? this.#default() : undefined;
    const content = JSON.stringify([...files]);
    const known = this.#contexts.get(host);
    if (known?.content === content) return known.context;
    const context = this.#make(host, files);
    this.#contexts.set(host, { content, context });
    return context;
  }

  #make(host: string, files: ReadonlyMap<string, string>): SecureContext {
    const named = (suffix: string) => [...files.keys()].filter((name) => name.endsWith(suffix));
    const authorities = named('.crt').map((name) => files.get(name)!);
    const pairs = named('.cert').map((name) => {
      const key = files.get(name.replace(/cert$/, 'key'));
      if (!key)
        throw new EngineError(
          'invalid',
          `missing key ${name.replace(/cert$/, 'key')} for client certificate ${name} in ${join(this.#folder, host)}`,
        );
      return { certificate: files.get(name)!, key };
    });
    for (const name of named('.key'))
      if (!files.has(name.replace(/key$/, 'cert')))
        throw new EngineError(
          'invalid',
          `missing client certificate ${name.replace(/key$/, 'cert')} for key ${name} in ${join(this.#folder, host)}; CA certificates must use the extension .crt`,
        );
    try {
      return createSecureContext({
        ca: [...this.#authorities(), ...authorities],
        cert: pairs.map(({ certificate }) => certificate),
        key: pairs.map(({ key }) => key),
      });
    } catch (cause) {
      throw new EngineError('invalid', `read certificates in ${join(this.#folder, host)}: ${messageOf(cause)}`, {
        cause,
      });
    }
  }

  #default(): SecureContext {
    this.#plain ??= createSecureContext({ ca: this.#authorities() });
    return this.#plain;
  }

  /** Those of the machine, where an organisation puts its own, and those that come with Node. Slow to read: once. */
  #authorities(): string[] {
    this.#system ??= [...new Set([...getCACertificates('system'), ...getCACertificates('default')])];
    return this.#system;
  }

  async #read(host: string): Promise<Map<string, string>> {
    const folder = join(this.#folder, host);
    const files = new Map<string, string>();
    try {
      for (const name of (await readdir(folder)).sort())
        if (/\.(crt|cert|key)$/.test(name)) files.set(name, await readFile(join(folder, name), 'utf8'));
    } catch (cause) {
      const code = codeOf(cause);
      if (code === 'ENOENT' || code === 'ENOTDIR') return files;
      throw new EngineError('unavailable', `read certificates in ${folder}: ${code ?? messageOf(cause)}`, { cause });
    }
    return files;
  }
}
