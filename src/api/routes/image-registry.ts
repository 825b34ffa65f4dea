import { EngineError } from '../../base/errors.ts';
import { describeRemote, type RemoteDeps } from '../../images/describe-remote.ts';
import type { Images } from '../../images/images.ts';
import { isTag, parseReference } from '../../oci/reference.ts';
import { Filters } from '../../protocol/filters.ts';
import { parseRegistryAuth } from '../../protocol/registry-auth.ts';
import type { Credentials, Registry } from '../../remotes/registry.ts';
import { readPlatform } from '../platform.ts';
import { progressReply } from '../progress.ts';
import { json } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, post, type Route } from '../router.ts';

export interface ImageRegistryDeps {
  readonly images: Images;
  readonly registry: RemoteDeps['registry'] & Pick<Registry, 'search'>;
}

/** What goes to registries and what is asked of them. */
export const imageRegistryRoutes = ({ images, registry }: ImageRegistryDeps): Route[] => [
  post('/images/*name/push', (request) => {
    const name = request.params['name']!;
    const tag = request.query.get('tag') ?? '';
    const given = parseReference(name);
    if (tag !== '' && !isTag(tag)) throw new EngineError('invalid', 'invalid tag format');
    const platform = readPlatform(request);
    const credentials = readCredentials(request);
    return progressReply(request, (signal) =>
      images.push(tag === '' ? name : `${given.domain}/${given.path}:${tag}`, {
        // No tag at all asks for every one.
        allTags: tag === '' && !given.tag && !given.digest,
        signal,
        ...(platform && { platform }),
        ...(credentials && { credentials }),
      }),
    );
  }),
  get('/distribution/*name/json', async (request) => {
    const credentials = readCredentials(request);
    const reference = parseReference(request.params['name']!);
    const options = { signal: request.signal, ...(credentials && { credentials }) };
    const { descriptor, platforms } = await describeRemote(reference, { registry, ...options });
    return json(200, { Descriptor: descriptor, Platforms: platforms });
  }),
  get('/images/search', async (request) => {
    const { query } = request;
    const filters = Filters.parse(query.get('filters'), ['is-automated', 'is-official', 'stars']);
    const official = filters.boolean('is-official');
    const automated = filters.boolean('is-automated');
    const stars = Math.max(0, ...filters.get('stars').map(readStars));
    const credentials = readCredentials(request);
    const found = await registry.search(query.get('term') ?? '', readLimit(query.get('limit')), {
      signal: request.signal,
      ...(credentials && { credentials }),
    });
    return json(
      200,
      found
        .filter((one) => official === undefined || one.official === official)
        // The registry has no automated builds any more; who asks for them gets none.
        .filter((one) => automated === undefined || one.automated === automated)
        .filter((one) => one.stars >= stars)
        .map(({ name, description, ...one }) => ({
          star_count: one.stars,
          is_official: one.official,
          name,
          is_automated: one.automated,
          description,
        })),
    );
  }),
];

/** What the client sent in X-Registry-Auth. */
export function readCredentials(request: ApiRequest): Credentials | undefined {
  const auth = parseRegistryAuth(request.header('x-registry-auth'));
  if (!auth) return undefined;
  return {
    ...(auth.username !== undefined && { username: auth.username }),
    ...(auth.password !== undefined && { password: auth.password }),
    ...(auth.identitytoken !== undefined && { identityToken: auth.identitytoken }),
    ...(auth.registrytoken !== undefined && { registryToken: auth.registrytoken }),
  };
}

function readLimit(text: string | null): number {
  if (text === null || text === '') return 25;
  if (!/^[+-]?\d+$/.test(text))
    throw new EngineError(
      'invalid',
      `invalid limit specified: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  const limit = Number(text);
  // 0 is what clients send for "as usual".
  if (limit === 0) return 25;
  if (limit < 1 || limit > 100) throw new EngineError('invalid', `limit ${limit} is outside the range of [1, 100]`);
  return limit;
}

function readStars(text: string): number {
  if (!/^[+-]?\d+$/.test(text)) throw new EngineError('invalid', `invalid filter 'stars=${text}'`);
  return Number(text);
}
