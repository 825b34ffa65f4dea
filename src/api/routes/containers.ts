import { EngineError } from '../../base/errors.ts';
import type { Container, Containers, WaitCondition } from '../../containers/containers.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { readCreateRequest } from '../../protocol/create-request.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { readUpdateRequest } from '../../protocol/update-request.ts';
import type { ApiVersion } from '../../protocol/version.ts';
import { empty, json, jsonBytes, jsonText, type Reply, stream } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { del, get, post, type Route } from '../router.ts';
import type { SystemInfo } from '../system.ts';
import { containerInspect } from '../wire/container-inspect.ts';

export interface ContainerRouteDeps {
  readonly containers: Containers;
  readonly system: SystemInfo;
}

/** Of a container, or of a link: `web/db`. */
const name = ({ params }: ApiRequest) =>
  params['alias'] === undefined ? params['id']! : `${params['id']}/${params['alias']}`;

export function containerRoutes({ containers, system }: ContainerRouteDeps): Route[] {
  const inspect = inspector({ containers, system });
  const remove = async (request: ApiRequest) => {
    const { query } = request;
    await containers.remove(name(request), {
      force: queryBoolean(query.get('force')),
      volumes: queryBoolean(query.get('v')),
      link: queryBoolean(query.get('link')),
    });
    return empty(204);
  };
  return [
    post('/containers/create', async (request) => {
      const body = await request.json();
      const platformText = request.query.get('platform') ?? '';
      const platform = platformText === '' ? undefined : parsePlatform(platformText);
      if (platformText !== '' && !platform)
        throw new EngineError('invalid', `"${platformText}": cannot parse platform specifier: invalid argument`);
      if (body === undefined) throw new EngineError('invalid', 'invalid JSON: got EOF while reading request body');
      const spec = readCreateRequest(body, request.version, system.createDefaults);
      const created = await containers.create(request.query.get('name') ?? '', spec, platform);
      return json(201, { Id: created.id, Warnings: created.warnings });
    }),
    get('/containers/:id/json', inspect),
    // By the name of a link.
    get('/containers/:id/:alias/json', inspect),
    post('/containers/:id/start', async (request) => {
      await containers.start(name(request), startOptions(request));
      return empty(204);
    }),
    post('/containers/:id/stop', async (request) => {
      await containers.stop(name(request), stopOptions(request));
      return empty(204);
    }),
    post('/containers/:id/restart', async (request) => {
      await containers.restart(name(request), stopOptions(request));
      return empty(204);
    }),
    post('/containers/:id/kill', async (request) => {
      await containers.kill(name(request), request.query.get('signal') || 'SIGKILL');
      return empty(204);
    }),
    post('/containers/:id/pause', async (request) => {
      await containers.pause(name(request));
      return empty(204);
    }),
    post('/containers/:id/unpause', async (request) => {
      await containers.unpause(name(request));
      return empty(204);
    }),
    post('/containers/:id/rename', async (request) => {
      const to = request.query.get('name') ?? '';
      if (to === '') throw new EngineError('invalid', 'Neither old nor new names may be empty');
      await containers.rename(name(request), to);
      return empty(204);
    }),
    post('/containers/:id/update', async (request) => {
      const body = await request.json();
      const warnings = await containers.update(name(request), readUpdateRequest(body, request.version));
      // None is null here, as Docker has it.
      return json(200, { Warnings: warnings.length > 0 ? warnings : null });
    }),
    post('/containers/:id/wait', (request) => wait(containers, request)),
    post('/containers/:id/resize', async (request) => {
      await containers.resize(name(request), terminalSize(request));
      return empty(200);
    }),
    get('/containers/:id/top', async (request) => {
      return json(200, await containers.top(name(request), request.query.get('ps_args') ?? ''));
    }),
    del('/containers/:id', remove),
    del('/containers/:id/:alias', remove),
  ];
}

/** The answer is made once for a record and a version. As a string: node then sends it in one piece with its head. */
function inspector({ containers, system }: ContainerRouteDeps) {
  const made = new WeakMap<Container, Map<ApiVersion, string>>();
  // Asked for once: all the facts together are dear, and this one cannot change.
  let storageDriver: string | undefined;
  const driver = () => (storageDriver ??= system.facts().storageDriver);
  return (request: ApiRequest): Reply | Promise<Reply> => {
    const container = containers.get(name(request));
    const execs = containers.execIds(container.id);
    if (request.queryText !== '' && queryBoolean(request.query.get('size'))) {
      return containers.size(container.id).then(({ rw, rootFs }) =>
        json(200, {
          ...containerInspect(container, request.version, driver(), execs),
          SizeRw: rw,
          SizeRootFs: rootFs,
        }),
      );
    }
    // They come and go without a change of the record.
    if (execs.length > 0) return json(200, containerInspect(container, request.version, driver(), execs));
    let versions = made.get(container);
    if (!versions) made.set(container, (versions = new Map()));
    let body = versions.get(request.version);
    if (!body) {
      body = jsonText(containerInspect(container, request.version, driver()));
      versions.set(request.version, body);
    }
    return jsonBytes(body);
  };
}

/** The headers leave before the container ends: `docker run` starts it only then. */
function wait(containers: Containers, request: ApiRequest): Reply | Promise<Reply> {
  const condition = readCondition(request);
  const { result } = containers.wait(name(request), condition);
  const answer = result.then(({ code, error }) =>
    jsonText({ StatusCode: code, ...(error !== undefined && error !== '' && { Error: { Message: error } }) }),
  );
  if (request.version < 1030) return answer.then(jsonBytes);
  return stream('application/json', async (out) => {
    const gone = Promise.withResolvers<undefined>();
    const leave = () => gone.resolve(undefined);
    out.signal.addEventListener('abort', leave, { once: true });
    if (out.signal.aborted) leave();
    const body = await Promise.race([answer, gone.promise]);
    // The watch in the room ends with the container; nothing is held but this promise.
    answer.catch(() => {});
    if (body === undefined) throw new EngineError('canceled', 'the client went away, or the engine stops');
    await out.write(body);
  });
}

function readCondition({ query, version }: ApiRequest): WaitCondition {
  const text = version < 1030 ? '' : (query.get('condition') ?? '');
  switch (text) {
    case '':
      return 'not-running';
    case 'not-running':
    case 'next-exit':
    case 'removed':
      return text;
    default:
      throw new EngineError('invalid', `invalid condition: "${text}"`);
  }
}

function startOptions({ query }: ApiRequest): { detachKeys?: string } {
  const detachKeys = query.get('detachKeys');
  return detachKeys ? { detachKeys } : {};
}

function stopOptions({ query }: ApiRequest): { timeout: number | undefined; signal: string | undefined } {
  const text = query.get('t') ?? '';
  if (!/^(-?[0-9]{1,9})?$/.test(text))
    throw new EngineError('invalid', `invalid value for "t": strconv.Atoi: parsing "${text}": invalid syntax`);
  return { timeout: text === '' ? undefined : Number(text), signal: query.get('signal') || undefined };
}

export function terminalSize({ query }: ApiRequest): { rows: number; columns: number } {
  const read = (key: string) => {
    const text = query.get(key) ?? '';
    if (!/^[0-9]{1,9}$/.test(text) || Number(text) > 65535)
      throw new EngineError('invalid', `invalid resize ${key === 'h' ? 'height' : 'width'} "${text}": invalid syntax`);
    return Number(text);
  };
  return { rows: read('h'), columns: read('w') };
}
