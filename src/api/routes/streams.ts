import { EngineError } from '../../base/errors.ts';
import type { AttachOptions, Container, Containers, LogOptions } from '../../containers/containers.ts';
import { parseDetachKeys } from '../../protocol/detach-keys.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { readMoment } from '../../protocol/time.ts';
import { join, rawStream, refuseAttach, skipTakenBody, streamType, switchProtocols } from '../hijack.ts';
import { json, stream } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, post, type Route } from '../router.ts';
import { TakenClient } from '../taken-client.ts';
import { takenReply } from '../taken-reply.ts';
import { serveWebSocket } from '../websocket.ts';

/** Attach and logs: what a container says, as it says it. */
export function streamRoutes({ containers }: { readonly containers: Containers }): Route[] {
  return [
    post(
      '/containers/:id/attach',
      async (request) => {
        const container = containers.get(request.params['id']!);
        const options = attachOptions(request, container);
        const attached = await containers.attach(container.id, options);
        return takenReply(request, attached, { type: rawStream, stdin: options.stdin });
      },
      async (request, socket, head) => {
        try {
          await skipTakenBody(request, socket, head);
          const container = containers.get(request.params['id']!);
          const options = attachOptions(request, container);
          const client = new TakenClient(socket);
          const attached = await containers.attach(container.id, { ...options, client });
          switchProtocols(socket, streamType(request, container.config.Tty));
          join(attached, socket, { stdin: options.stdin, client: client.open() });
        } catch (error) {
          refuseAttach(socket, error);
        }
      },
    ),
    get(
      '/containers/:id/attach/ws',
      () => {
        throw new EngineError('invalid', 'this is for WebSocket clients: ask with Upgrade: websocket');
      },
      async (request, socket, head) => {
        const container = containers.get(request.params['id']!);
        const options = attachOptions(request, container);
        await serveWebSocket(request, socket, head, () => containers.attach(container.id, options));
      },
    ),
    get('/containers/:id/logs', (request) => {
      checkStreams(request);
      const container = containers.get(request.params['id']!);
      return logStream(request, (options) => ({
        tty: container.config.Tty,
        lines: containers.logs(container.id, options),
      }));
    }),
    // Of our own, which no client of Docker asks for: the stops that wait, and what containers wrote that are gone.
    get('/berth/stopping', async () => json(200, await containers.stopping())),
    get('/berth/removed', () => json(200, containers.removed())),
    get('/berth/removed/:id/logs', (request) =>
      logStream(request, (options) => containers.removedLog(request.params['id']!, options)),
    ),
  ];
}

function logStream(
  request: ApiRequest,
  open: (options: LogOptions) => { readonly tty: boolean; readonly lines: AsyncIterable<Buffer> },
) {
  const controller = new AbortController();
  const log = open(logOptions(request, controller.signal));
  const lines = log.lines[Symbol.asyncIterator]();
  return stream(streamType(request, log.tty), async (out) => {
    const stop = () => controller.abort();
    out.signal.addEventListener('abort', stop, { once: true });
    if (out.signal.aborted) stop();
    try {
      for (;;) {
        const { value, done } = await lines.next();
        if (done) return;
        await out.write(value);
      }
    } finally {
      controller.abort();
      await lines.return?.(undefined);
    }
  });
}

function attachOptions({ query }: ApiRequest, container: Container): AttachOptions {
  const options = {
    // Reading what is not open would hold the client's side for nothing.
    stdin: queryBoolean(query.get('stdin')) && container.config.OpenStdin,
    stdout: queryBoolean(query.get('stdout')),
    stderr: queryBoolean(query.get('stderr')),
    logs: queryBoolean(query.get('logs')),
    stream: queryBoolean(query.get('stream')),
    detachKeys: parseDetachKeys(query.get('detachKeys') ?? ''),
  };
  if (container.state.status === 'paused')
    throw new EngineError('conflict', `container ${container.id} is paused, unpause the container before attach`, {
      code: 'E_PAUSED',
    });
  if (container.state.status === 'restarting')
    throw new EngineError('conflict', `container ${container.id} is restarting, wait until the container is running`);
  return options;
}

function checkStreams({ query }: ApiRequest): void {
  if (!queryBoolean(query.get('stdout')) && !queryBoolean(query.get('stderr')))
    throw new EngineError('invalid', 'Bad parameters: you must choose at least one stream');
}

function logOptions(request: ApiRequest, signal: AbortSignal): LogOptions {
  checkStreams(request);
  const { query } = request;
  const stdout = queryBoolean(query.get('stdout'));
  const stderr = queryBoolean(query.get('stderr'));
  const tail = query.get('tail') ?? '';
  return {
    follow: queryBoolean(query.get('follow')),
    stdout,
    stderr,
    since: readMoment('since', query.get('since')),
    until: readMoment('until', query.get('until')),
    timestamps: queryBoolean(query.get('timestamps')),
    details: queryBoolean(query.get('details')),
    // What is no number is all, as it always was.
    tail: /^[0-9]{1,15}$/.test(tail) ? Number(tail) : undefined,
    signal,
  };
}
