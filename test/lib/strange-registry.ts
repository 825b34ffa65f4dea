/**
 * A registry that misbehaves, one way for each repository; run inside an engine's network namespace by its tests, with the
 * port as argument. `/seen` lists the requests for blobs. It says `ready` when it listens.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Digest } from '../../src/oci/digest.ts';
import { busyboxImage, makeImage, makeIndex, type TarEntry, type TestImage } from './images.ts';

const port = Number(process.argv[2]);
/** What a password gets a token for. */
const [user, password] = ['ann', 'right'];
const big = (bytes: number): TarEntry[] => [{ name: 'big', content: randomBytes(bytes) }];
const layered = (entry: TarEntry) => busyboxImage({ layers: [[entry]] });

const images: Readonly<Record<string, () => TestImage>> = {
  good: () => busyboxImage({ extraLayers: 1 }),
  large: () => busyboxImage({ layers: [big(40_000_000)] }),
  many: () => busyboxImage({ extraLayers: 30 }),
  stall: () => makeImage({ layers: [big(2_000_000)] }),
  cut: () => makeImage({ layers: [big(5_000_000)] }),
  mismatch: () => makeImage({ layers: [big(1_000_000)] }),
  foreign: () => makeIndex([makeImage({ layers: [[]], platform: { os: 'linux', architecture: 's390x' } })]),
  bomb: () => busyboxImage({ compression: 'zstd', layers: [[{ name: 'zeros', content: Buffer.alloc(160_000_000) }]] }),
  dotdot: () => layered({ name: '../../../../../../../../tmp/berth-escaped', content: 'out' }),
  absolute: () => layered({ name: '/tmp/berth-escaped', content: 'in' }),
  hardlink: () => layered({ name: 'stolen', type: 'hardlink', target: '../../../../../../../etc/hostname' }),
  throughlink: () =>
    busyboxImage({
      layers: [
        [
          { name: 'way', type: 'symlink', target: '/tmp' },
          { name: 'way/berth-escaped', content: 'out' },
        ],
      ],
    }),
  noise: () => makeImage({ layers: [randomBytes(20_000)] }),
  token: () => busyboxImage(),
};

const made = new Map<string, TestImage>();
const imageOf = (repository: string): TestImage | undefined => {
  const known = made.get(repository);
  const make = images[repository];
  if (known || !make) return known;
  const image = make();
  made.set(repository, image);
  return image;
};
const seen: { path: string; range: string | undefined; status: number }[] = [];
let cuts = 0;

// All of them first: while one is made nobody is answered, and a test would take that for a stall.
for (const repository of Object.keys(images)) imageOf(repository);

createServer((request, response) => {
  const url = new URL(request.url!, `http://127.0.0.1:${port}`);
  if (url.pathname === '/seen') return void response.end(JSON.stringify(seen));
  if (url.pathname === '/token') return giveToken(request, response);
  if (url.pathname === '/v2/') return authorized(request, response, '') ? void response.end('{}') : undefined;
  const [, repository = '', what, digest = ''] = /^\/v2\/([a-z]+)\/(manifests|blobs)\/(.+)$/.exec(url.pathname) ?? [];
  if (repository === 'token' && !authorized(request, response, 'token')) return;
  const image = imageOf(repository);
  if (!image) return refuse(response, 404, what === 'manifests' ? 'MANIFEST_UNKNOWN' : 'BLOB_UNKNOWN');
  const wanted = what === 'manifests' && !digest.startsWith('sha256:') ? image.descriptor.digest : (digest as Digest);
  const bytes = image.blobs.get(wanted);
  if (!bytes) return refuse(response, 404, 'MANIFEST_UNKNOWN');
  if (what === 'manifests') {
    const { mediaType } = JSON.parse(bytes.toString()) as { mediaType: string };
    response.writeHead(200, {
      'content-type': mediaType,
      'docker-content-digest': wanted,
      'content-length': bytes.length,
    });
    return void response.end(request.method === 'HEAD' ? undefined : bytes);
  }
  sendBlob(request, response, repository, bytes);
}).listen(port, '127.0.0.1', () => process.stdout.write('ready\n'));

function sendBlob(request: IncomingMessage, response: ServerResponse, repository: string, bytes: Buffer): void {
  const { range } = request.headers;
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  const status = from > 0 ? 206 : 200;
  const layer = bytes.length > 10_000;
  if (layer) seen.push({ path: repository, range, status });
  const body = bytes.subarray(from);
  response.writeHead(status, {
    'content-length': body.length,
    ...(from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
  });
  if (!layer) return void response.end(body);
  if (repository === 'stall') return void response.write(from > 0 ? '' : body.subarray(0, body.length / 2));
  if (repository === 'cut' && cuts++ === 0)
    return void response.write(body.subarray(0, Math.floor(body.length * 0.99)), () =>
      setTimeout(() => response.socket?.destroy(), 50),
    );
  if (repository === 'mismatch') return void response.end(Buffer.alloc(body.length, 7));
  response.end(body);
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message: code.toLowerCase().replaceAll('_', ' ') }] }));
}

function authorized(request: IncomingMessage, response: ServerResponse, repository: string): boolean {
  const { authorization } = request.headers;
  if (authorization === `Bearer for-${user}`) return true;
  // The root tells how to sign in, and is content with anybody who did.
  if (repository === '' && authorization === 'Bearer for-nobody') return true;
  const scope = repository === '' ? '' : `,scope="repository:${repository}:pull"`;
  const realm = `http://127.0.0.1:${port}/token`;
  response.setHeader('www-authenticate', `Bearer realm="${realm}",service="strange"${scope}`);
  refuse(response, 401, 'UNAUTHORIZED');
  return false;
}

/** Nobody gets a token too, that is good for nothing; whoever gives a wrong password gets none. */
function giveToken(request: IncomingMessage, response: ServerResponse): void {
  const basic = request.headers.authorization;
  const right = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  if (basic !== undefined && basic !== right) return refuse(response, 401, 'UNAUTHORIZED');
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ token: basic ? `for-${user}` : 'for-nobody' }));
}
