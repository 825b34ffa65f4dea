import type { TarOut } from '../../archive/file-jobs.ts';
import type { ChangeKind, PathStat } from '../../archive/view.ts';
import { EngineError } from '../../base/errors.ts';
import { imageDefaults } from '../../containers/commit.ts';
import type { Containers } from '../../containers/containers.ts';
import { familiarRepository, isTag, parseReference } from '../../oci/reference.ts';
import { createFields, refuseNul } from '../../protocol/create-fields.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { empty, json, type StreamReply } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, head, post, put, type Route } from '../router.ts';

const kinds = { modified: 0, added: 1, deleted: 2 } satisfies Record<ChangeKind, number>;

/** The files of containers: cp, diff, export, commit. */
export function fileRoutes({ containers }: { readonly containers: Containers }): Route[] {
  return [
    head('/containers/:id/archive', async (request) => {
      const path = pathOf(containers, request);
      return { status: 200, headers: statHeader(await containers.files.stat(request.params['id']!, path)) };
    }),
    get('/containers/:id/archive', async (request) => {
      const path = pathOf(containers, request);
      const read = await containers.files.read(request.params['id']!, path);
      return tarReply(request, read, { type: 'application/x-tar', headers: statHeader(read.stat) });
    }),
    put('/containers/:id/archive', async (request) => {
      const { query, signal } = request;
      const path = pathOf(containers, request);
      await containers.files.write(request.params['id']!, path, request.upload(), {
        keepTypes: queryBoolean(query.get('noOverwriteDirNonDir')),
        ownedByUser: queryBoolean(query.get('copyUIDGID')),
        signal,
      });
      return empty(200);
    }),
    get('/containers/:id/export', async (request) => {
      const exported = await containers.files.export(request.params['id']!);
      return tarReply(request, exported, { type: 'application/octet-stream' });
    }),
    get('/containers/:id/changes', async (request) => {
      const changes = await containers.files.changes(request.params['id']!);
      return json(
        200,
        changes.length === 0 ? null : changes.map(({ path, kind }) => ({ Path: path, Kind: kinds[kind] })),
      );
    }),
    post('/commit', async (request) => {
      const { query, signal } = request;
      // The name of the image is looked at before anything else.
      const name = nameOf(query);
      const container = query.get('container') ?? '';
      if (container === '') throw new EngineError('invalid', 'invalid name or ID supplied: ""');
      const body = await request.json();
      refuseNul(body);
      const fields = body === undefined || body === null ? undefined : createFields(body);
      const id = await containers.commit({
        container,
        name,
        comment: query.get('comment') ?? '',
        author: query.get('author') ?? '',
        pause: !query.get('pause') || queryBoolean(query.get('pause')),
        changes: query.getAll('changes'),
        config: fields && Object.keys(fields).length > 0 ? imageDefaults(fields) : undefined,
        signal,
      });
      return json(201, { Id: id });
    }),
  ];
}

/** Of a container that is there: that it is not is told first. */
function pathOf(containers: Containers, { params, query }: ApiRequest): string {
  const path = query.get('path') ?? '';
  if (path === '') throw new EngineError('invalid', 'bad parameter: path cannot be empty');
  if (path.includes('\0')) throw new EngineError('invalid', 'bad parameter: path contains a NUL byte');
  containers.get(params['id']!);
  return path;
}

function statHeader({ name, size, mode, mtime, linkTarget }: PathStat): readonly string[] {
  const text = JSON.stringify({ name, size, mode, mtime, linkTarget });
  return ['X-Docker-Container-Path-Stat', Buffer.from(text).toString('base64')];
}

/** However the answer ends, and also when it never begins, nothing is held for it any more. */
function tarReply(
  { signal }: ApiRequest,
  tar: TarOut,
  { type, headers = [] }: { readonly type: string; readonly headers?: readonly string[] },
): StreamReply {
  const end = () => void tar[Symbol.asyncDispose]();
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  return {
    status: 200,
    type,
    headers,
    run: async (out) => {
      await using _held = tar;
      for await (const piece of tar.pieces) await out.write(piece);
    },
  };
}

function nameOf(query: URLSearchParams): string {
  const repository = query.get('repo') ?? '';
  const tag = query.get('tag') ?? '';
  if (repository === '') return '';
  if (repository.includes('@')) throw new EngineError('invalid', 'cannot import digest reference');
  const given = parseReference(repository);
  if (tag === '') return repository;
  if (!isTag(tag)) throw new EngineError('invalid', 'invalid tag format');
  return `${familiarRepository(given)}:${tag}`;
}
