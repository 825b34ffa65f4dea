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
    if (pathname === '/v2/') response.end('{}');
    else if (blob) this.#sendBlob(this.#blobs.get(blob[1]!), request, response);
    else if (manifest) this.#sendManifest(this.#manifests.get(`${manifest[1]}/${manifest[2]}`), response);
    else refuse(response, 404, 'UNSUPPORTED', 'the operation is unsupported');
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
