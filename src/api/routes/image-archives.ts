import { Readable } from 'node:stream';
import { EngineError } from '../../base/errors.ts';
import type { Images } from '../../images/images.ts';
import { parseReference } from '../../oci/reference.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { readPlatform } from '../platform.ts';
import { progressReply } from '../progress.ts';
import { type Reply, stream } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, post, type Route } from '../router.ts';

/** Images as files: save, load; and import, which shares its path with pull. */
export const imageArchiveRoutes = ({ images }: { readonly images: Images }): Route[] => [
  get('/images/get', (request) => save(images, request, request.query.getAll('names'))),
  get('/images/*name/get', (request) => save(images, request, [request.params['name']!])),
  post('/images/load', (request) => {
    const quiet = queryBoolean(request.query.get('quiet') ?? '1');
    const platform = readPlatform(request);
    return progressReply(request, (signal) =>
      images.load(request.upload(), { quiet, signal, ...(platform && { platform }) }),
    );
  }),
];

async function save(images: Images, request: ApiRequest, names: readonly string[]): Promise<Reply> {
  const platform = readPlatform(request);
  const { signal } = request;
  const archive = await images.save(names, { signal, ...(platform && { platform }) });
  return stream('application/x-tar', async (out) => {
    for await (const chunk of archive) await out.write(chunk);
  });
}

/** `docker import`: from the body, or from where in the web the engine finds it. */
export function importImage(images: Images, request: ApiRequest): Promise<Reply> {
  const { query } = request;
  const source = query.get('fromSrc')!;
  const repository = query.get('repo') ?? '';
  const tag = query.get('tag') ?? '';
  const platform = readPlatform(request);
  const options = {
    name: nameOf(repository, tag),
    message: query.get('message') || `Imported from ${source}`,
    changes: query.getAll('changes'),
    ...(platform && { platform }),
  };
  const archive = source === '-' ? (request.hasBody ? request.upload() : Readable.from([])) : urlOf(source);
  return progressReply(request, (signal) => images.import(archive, { ...options, signal }));
}

function nameOf(repository: string, tag: string): string {
  if (repository === '') return '';
  const reference = parseReference(repository);
  if (reference.digest) throw new EngineError('invalid', 'cannot import digest reference');
  const name = tag === '' ? repository : `${reference.domain}/${reference.path}:${tag}`;
  parseReference(name);
  return name;
}

/** Without a scheme it is plain HTTP, as in Docker. */
function urlOf(source: string): URL {
  const url = URL.parse(/^[a-z]+:\/\//i.test(source) ? source : `http://${source}`);
  if (!url) throw new EngineError('invalid', `${JSON.stringify(source)} is no URL to import from`);
  return url;
}
