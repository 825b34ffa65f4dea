import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import type { Image, Images } from '../../images/images.ts';
import { isDigest } from '../../oci/digest.ts';
import { parseReference } from '../../oci/reference.ts';
import { Filters } from '../../protocol/filters.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { nowNano, parseMoment, parseTime, unixSeconds } from '../../protocol/time.ts';
import { readPlatform } from '../platform.ts';
import { progressReply } from '../progress.ts';
import { empty, json } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { del, get, post, type Route } from '../router.ts';
import type { SystemInfo } from '../system.ts';
import { familiar, imageInspect, imageListItem, repositoryName } from '../wire/image.ts';
import { importImage } from './image-archives.ts';
import { readCredentials } from './image-registry.ts';

export interface ImageRouteDeps {
  readonly images: Images;
  readonly containers: Containers;
  readonly system: SystemInfo;
}

export function imageRoutes({ images, containers, system }: ImageRouteDeps): Route[] {
  // Asked for once: all the facts together are dear, and this one cannot change.
  let storageDriver: string | undefined;
  const driver = () => (storageDriver ??= system.facts().storageDriver);
  const usersOf = (image: Image) =>
    containers.list().flatMap((container) => (container.image === image.id ? [container.id] : []));
  const shape = (request: ApiRequest, image: Image) => ({
    version: request.version,
    containers: usersOf(image),
    manifests: queryBoolean(request.query.get('manifests')) ? manifestsOf(image) : undefined,
  });
  /** With the containers that run each of them. */
  const manifestsOf = (image: Image) =>
    images.manifests(image.id).map((manifest) => ({
      manifest,
      containers: containers
        .list()
        .filter(({ imageManifest }) => imageManifest.digest === manifest.descriptor.digest)
        .map(({ id }) => id),
    }));

  return [
    get('/images/json', async (request) => {
      const found = await selectImages(images, request);
      const shared = queryBoolean(request.query.get('shared-size')) ? (await images.usage()).shared : undefined;
      return json(
        200,
        found.map((image) => imageListItem(image, { ...shape(request, image), shared: shared?.get(image.id) })),
      );
    }),
    post('/images/create', (request) => pull(images, request)),
    post('/images/prune', (request) => prune(images, request)),
    get('/images/*name/json', async (request) => {
      const image = await images.get(request.params['name']!, readPlatform(request));
      return json(200, imageInspect(image, shape(request, image), driver()));
    }),
    get('/images/*name/history', async (request) => {
      const layers = await images.history(request.params['name']!, readPlatform(request));
      return json(
        200,
        layers.map(({ id, created, created_by, names, size, comment }) => ({
          Id: id === '' ? '<missing>' : id,
          Created: created === undefined ? 0 : unixSeconds(created),
          CreatedBy: created_by ?? '',
          Tags: names.length > 0 ? names.map(familiar) : null,
          Size: size,
          Comment: comment ?? '',
        })),
      );
    }),
    post('/images/*name/tag', async (request) => {
      const repository = request.query.get('repo') ?? '';
      const tag = request.query.get('tag') ?? '';
      if (repository === '') throw new EngineError('invalid', 'invalid reference format');
      await images.tag(request.params['name']!, tag === '' ? repository : `${repository}:${tag}`);
      return empty(201);
    }),
    del('/images/*name', async (request) => {
      const { query } = request;
      const { untagged, deleted } = await images.remove(request.params['name']!, {
        force: queryBoolean(query.get('force')),
        prune: !queryBoolean(query.get('noprune')),
      });
      return json(200, [
        ...untagged.map((name) => ({ Untagged: familiar(name) })),
        ...deleted.map((digest) => ({ Deleted: digest })),
      ]);
    }),
  ];
}

function pull(images: Images, request: ApiRequest) {
  const { query } = request;
  const from = query.get('fromImage') ?? '';
  if (from === '') {
    if (query.get('fromSrc')) return importImage(images, request);
    throw new EngineError('invalid', 'invalid reference format');
  }
  const tag = query.get('tag') ?? '';
  const given = parseReference(from);
  // No tag at all asks for every one.
  const allTags = tag === '' && !given.tag && !given.digest;
  // A tag beside a name that has one replaces it.
  const bare = tag === '' ? from : `${given.domain}/${given.path}`;
  const name = tag === '' ? from : isDigest(tag) ? `${bare}@${tag}` : `${bare}:${tag}`;
  parseReference(name);
  const platform = readPlatform(request);
  const credentials = readCredentials(request);
  return progressReply(request, (signal) =>
    images.pull(name, {
      signal,
      ...(allTags && { allTags }),
      ...(platform && { platform }),
      ...(credentials && { credentials }),
    }),
  );
}

async function prune(images: Images, { query }: ApiRequest) {
  const filters = Filters.parse(query.get('filters'), ['dangling', 'label', 'label!', 'until']);
  const dangling = filters.boolean('dangling') ?? true;
  const until = readUntil(filters);
  const { untagged, deleted, bytes } = await images.prune({
    all: !dangling,
    matches: (image) =>
      filters.labels(image.config.config?.Labels ?? {}) && !until.some((time) => timeOf(image) >= time),
  });
  const gone = [...untagged.map((name) => ({ Untagged: name })), ...deleted.map((digest) => ({ Deleted: digest }))];
  return json(200, { ImagesDeleted: gone.length > 0 ? gone : null, SpaceReclaimed: bytes });
}

function readUntil(filters: Filters): readonly bigint[] {
  return filters.get('until').map((text) => {
    const moment = parseMoment(text, nowNano());
    if (moment === undefined) throw new EngineError('invalid', `invalid filter 'until=${text}'`);
    return moment;
  });
}

const known = ['reference', 'dangling', 'label', 'label!', 'before', 'since', 'until'] as const;

async function selectImages(images: Images, { query }: ApiRequest): Promise<Image[]> {
  const filters = Filters.parse(query.get('filters'), known);
  // Before 1.25, one name to look for.
  const old = query.get('filter');
  const dangling = filters.boolean('dangling');
  const bound = async (key: string) =>
    Promise.all(filters.get(key).map(async (name) => timeOf(await images.get(name))));
  const before = await bound('before');
  const since = await bound('since');
  const until = readUntil(filters);
  const references = [...filters.get('reference'), ...(old ? [old] : [])];
  const found: Image[] = [];
  for (const image of await images.list()) {
    const isDangling = image.names.length === 0;
    const made = timeOf(image);
    if (dangling !== undefined && dangling !== isDangling) continue;
    if (!filters.labels(image.config.config?.Labels ?? {})) continue;
    if (before.some((time) => made >= time) || since.some((time) => made <= time)) continue;
    if (until.some((time) => made >= time)) continue;
    if (references.length === 0) {
      found.push(image);
      continue;
    }
    const matches = (name: string) => references.some((pattern) => matchesReference(pattern, name));
    const names = image.names.filter((name) => matches(familiar(name)));
    const repoDigests = image.repoDigests.filter((name) => matches(familiar(name)));
    if (names.length > 0 || repoDigests.length > 0) found.push({ ...image, names, repoDigests });
  }
  return found.sort((a, b) => (timeOf(a) === timeOf(b) ? 0 : timeOf(a) < timeOf(b) ? 1 : -1));
}

const timeOf = (image: Image) => parseTime(image.created) ?? 0n;

/** `nginx`, `nginx:1.*`, `nginx:[12]`: `*` stands for anything but a slash. With and without the tag. */
export function matchesReference(pattern: string, name: string): boolean {
  const wanted = glob(pattern);
  return wanted.test(name) || wanted.test(repositoryName(name));
}

function glob(pattern: string): RegExp {
  // Stars that touch are one: else a stranger's pattern could take for ever.
  const source = pattern
    .slice(0, 512)
    .replace(/\*+/g, '*')
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\\\[(\\\^)?([\w.\\-]+)\\\]/g, (_, not, set) => `[${not ? '^' : ''}${set}]`)
    .replace(/\*/g, '[^/]*')
    .replace(/\?/g, '[^/]');
  return (source.match(/\*/g)?.length ?? 0) > 8 ? /(?!)/ : new RegExp(`^${source}$`);
}
