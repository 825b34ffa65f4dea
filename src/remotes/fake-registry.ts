import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Digest, digestOf } from '../oci/digest.ts';
import { type Descriptor, mediaTypes } from '../oci/manifest.ts';
import { parseReference, type Reference } from '../oci/reference.ts';

export interface SeenRequest {
  readonly method: string;
  /** With the query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

/** Answers a request in its own way and returns true, or leaves it to the registry. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

/** A registry in this process, for tests: holds what it is given, notes what it is asked, misbehaves on demand. */
export class FakeRegistry implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, { readonly type: string; readonly bytes: Buffer }>();
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  behave: Behaviour = () => false;

  static async start(): Promise<FakeRegistry> {
    const registry = new FakeRegistry();
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `127.0.0.1:port` */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  reference(name: string): Reference {
    return parseReference(`${this.host}/${name}`);
  }

  /** The paths that were asked for, without those of a test's token server and the like. */
  asked(part: string): readonly SeenRequest[] {
    return this.seen.filter(({ url }) => url.includes(part));
  }

  putBlob(bytes: Buffer, mediaType: string = mediaTypes.ociLayerGzip): Descriptor {
    const digest = digestOf(bytes);
    this.#blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** Under its digest, and under the tag when there is one. */
  putManifest(repository: string, tag: string | undefined, manifest: object | Buffer, type: string): Descriptor {
    const bytes = Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    for (const name of [digest, tag]) if (name) this.#manifests.set(`${repository}/${name}`, { type, bytes });
    return { mediaType: type, digest, size: bytes.length };
  }

  /** An image of one layer that holds these bytes. */
  putImage(repository: string, tag: string, layer: Buffer): { manifest: Descriptor; layer: Descriptor } {
    const config = this.putBlob(
      Buffer.from(
        JSON.stringify({
          architecture: 'amd64',
          os: 'linux',
          rootfs: { type: 'layers', diff_ids: [digestOf(layer) satisfies Digest] },
        }),
      ),
      mediaTypes.ociConfig,
    );
    const stored = this.putBlob(layer, mediaTypes.ociLayer);
    const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [stored] };
    return { manifest: this.putManifest(repository, tag, manifest, mediaTypes.ociManifest), layer: stored };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.seen.push({ method: request.method!, url: request.url!, headers: request.headers });
    if (await this.behave(request, response)) return;
    const { pathname } = new URL(request.url!, 'http://x');
    const blob = /^\/v2\/.+\/blobs\/([^/]+)$/.exec(pathname);
    const manifest = /^\/v2\/(.+)\/manifests\/([^/]+)$/.exec(pathname);
    const upload = /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/.exec(pathname);
    if (pathname === '/v2/') response.end('{}');
    else if (upload) await this.#upload(upload[1]!, upload[2]!, request, response);
    else if (manifest && request.method === 'PUT')
      await this.#takeManifest(manifest[1]!, manifest[2]!, request, response);
    else if (blob) this.#sendBlob(this.#blobs.get(blob[1]!), request, response);
    else if (manifest) this.#sendManifest(this.#manifests.get(`${manifest[1]}/${manifest[2]}`), response);
    else refuse(response, 404, 'UNSUPPORTED', 'the operation is unsupported');
  }

  /** Uploads that are open, by their identifier. */
  readonly uploads = new Map<string, Buffer>();
  #opened = 0;

  /** What it was sent, as a repository would have it. */
  blob(digest: Digest): Buffer | undefined {
    return this.#blobs.get(digest);
  }

  manifest(repository: string, name: string): Buffer | undefined {
    return this.#manifests.get(`${repository}/${name}`)?.bytes;
  }

  async #upload(repository: string, id: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { searchParams } = new URL(request.url!, 'http://x');
    const place = (name: string) => ({ location: `/v2/${repository}/blobs/uploads/${name}?state=a%3Db` });
    if (request.method === 'POST') {
      if (searchParams.has('mount') && this.#blobs.has(searchParams.get('mount')!))
        return void response.writeHead(201, { 'content-length': 0 }).end();
      const name = `u${this.#opened++}`;
      this.uploads.set(name, Buffer.alloc(0));
      return void response.writeHead(202, { ...place(name), 'content-length': 0 }).end();
    }
    const before = this.uploads.get(id);
    if (!before || searchParams.get('state') !== 'a=b')
      return refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
    const range = (length: number) => ({ range: `0-${Math.max(0, length - 1)}` });
    if (request.method === 'GET') return void response.writeHead(204, { ...place(id), ...range(before.length) }).end();
    if (request.method === 'PATCH' && !request.headers['content-range']?.startsWith(`${before.length}-`))
      return refuse(response, 416, 'RANGE_INVALID', 'out of order');
    let whole = before;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        whole = Buffer.concat([whole, chunk]);
        // What has come is there, also when the rest does not come.
        this.uploads.set(id, whole);
      }
    } catch {
      return;
    }
    if (request.method === 'PATCH')
      return void response.writeHead(202, { ...place(id), ...range(whole.length), 'content-length': 0 }).end();
    this.uploads.delete(id);
    const digest = searchParams.get('digest');
    if (digestOf(whole) !== digest) return refuse(response, 400, 'DIGEST_INVALID', 'provided digest did not match');
    this.#blobs.set(digest, whole);
    response.writeHead(201, { 'docker-content-digest': digest, 'content-length': 0 }).end();
  }

  async #takeManifest(
    repository: string,
    name: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const bytes = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
    this.putManifest(repository, name.includes(':') ? undefined : name, bytes, request.headers['content-type'] ?? '');
    response.writeHead(201, { 'docker-content-digest': digestOf(bytes), 'content-length': 0 }).end();
  }

  #sendBlob(blob: Buffer | undefined, request: IncomingMessage, response: ServerResponse): void {
    if (!blob) return refuse(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (from > 0 && from >= blob.length) {
      response.writeHead(416, { 'content-range': `bytes */${blob.length}` }).end();
      return;
    }
    const part = blob.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-type': 'application/octet-stream',
      'content-length': part.length,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` } : {}),
    });
    response.end(part);
  }

  #sendManifest(
    manifest: { readonly type: string; readonly bytes: Buffer } | undefined,
    response: ServerResponse,
  ): void {
    if (!manifest) return refuse(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    response.writeHead(200, {
      'content-type': manifest.type,
      'content-length': manifest.bytes.length,
      'docker-content-digest': digestOf(manifest.bytes),
    });
    response.end(manifest.bytes);
  }
}

/** An error in the form of the distribution specification. */
export function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ errors: [{ code, message }] }));
}
