import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { EngineError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Containers, ExecState } from '../../containers/containers.ts';
import { boolean, list, object, string, strings, unsigned } from '../../protocol/decode.ts';
import { parseDetachKeys } from '../../protocol/detach-keys.ts';
import { queryBoolean } from '../../protocol/query.ts';
import { textOfError } from '../errors.ts';
import { headerLines } from '../flat-headers.ts';
import { join, rawStream, readTakenBody, streamType } from '../hijack.ts';
import { empty, json } from '../reply.ts';
import { get, post, type Route } from '../router.ts';
import { TakenClient } from '../taken-client.ts';
import { takenReply } from '../taken-reply.ts';
import { terminalSize } from './containers.ts';

const createFields = object('ExecOptions', {
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  Tty: boolean,
  Detach: boolean,
  DetachKeys: string,
  Cmd: strings,
  Env: strings,
  User: string,
  WorkingDir: string,
  Privileged: boolean,
  ConsoleSize: list(unsigned, { type: '[2]uint', zero: 0 }),
});

const startFields = object('ExecStartOptions', {
  Detach: boolean,
  Tty: boolean,
  ConsoleSize: list(unsigned, { type: '[2]uint', zero: 0 }),
});

/** A parameter of our own of `POST /exec/{id}/start`, which Docker does not know and passes over. */
const endWithClient = 'endWithClient';

export interface ExecRouteDeps {
  readonly containers: Containers;
  /** Headers that every answer carries. */
  readonly common: readonly string[];
  readonly log: Log;
}

export function execRoutes({ containers, common, log }: ExecRouteDeps): Route[] {
  const prepare = (id: string, body: unknown) => {
    const start = startFields(body) ?? {};
    const { request } = containers.execInspect(id);
    const tty = start.Tty ?? request.Tty;
    const detach = start.Detach ?? false;
    const size = sizeOf(start.ConsoleSize);
    const begin = (client?: TakenClient): Promise<Duplex | undefined> =>
      containers.execStart(id, {
        detach,
        tty,
        size: size && { rows: size[0], columns: size[1] },
        ...(client && { client }),
      });
    return { begin, detach, tty, stdin: request.AttachStdin };
  };

  /** A client that leaves before the output has ended takes the process with it; one that detached does not. */
  const endsWith = (id: string, stream: Duplex, socket: Socket) => {
    let ended = false;
    stream.once('end', () => {
      ended = true;
    });
    const gone = () => {
      if (!ended)
        containers.execEnd(id).catch((error: unknown) => log.warn('an exec without its client runs on', { id, error }));
    };
    // It may have left before the process was there.
    if (socket.destroyed) gone();
    else socket.once('close', gone);
  };

  return [
    post('/containers/:id/exec', async (request) => {
      const fields = createFields(await request.json()) ?? {};
      const id = request.params['id']!;
      if ((fields.Cmd ?? []).length === 0) throw new EngineError('invalid', 'No exec command specified');
      const { DetachKeys = '' } = fields;
      for (const text of [...(fields.Cmd ?? []), ...(fields.Env ?? []), fields.User, fields.WorkingDir])
        if (text?.includes('\0')) throw new EngineError('invalid', 'invalid exec: an argument contains a NUL byte');
      const exec = await containers.execCreate(id, {
        Cmd: fields.Cmd ?? [],
        AttachStdin: fields.AttachStdin ?? false,
        AttachStdout: fields.AttachStdout ?? false,
        AttachStderr: fields.AttachStderr ?? false,
        Tty: fields.Tty ?? false,
        Detach: fields.Detach ?? false,
        DetachKeys,
        Env: fields.Env ?? [],
        User: fields.User ?? '',
        WorkingDir: fields.WorkingDir ?? '',
        Privileged: fields.Privileged ?? false,
        ConsoleSize: sizeOf(fields.ConsoleSize),
      });
      return json(201, { Id: exec });
    }),
    post(
      '/exec/:id/start',
      async (request) => {
        const { begin, stdin } = prepare(request.params['id']!, await request.json());
        const stream = await begin();
        return stream ? takenReply(request, stream, { type: rawStream, stdin }) : empty(200);
      },
      async (request, socket, head) => {
        const body = await readTakenBody(request, socket, head);
        const { begin, detach, tty, stdin } = prepare(request.params['id']!, body);
        if (detach) {
          await begin();
          socket.resume();
          socket.end(`HTTP/1.1 200 OK\r\n${headerLines(common)}Content-Length: 0\r\nConnection: close\r\n\r\n`);
          return;
        }
        socket.write(
          `HTTP/1.1 101 UPGRADED\r\n${headerLines(common)}Content-Type: ${streamType(request, tty)}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
        );
        // Behind the head, as Docker does it: the SDK for Python loses what arrives together with it.
        const isEnded = queryBoolean(request.query.get(endWithClient));
        const client = new TakenClient(socket).open();
        // A connection that is given away is out of sight: that it has gone would not be seen.
        const stream = await begin(isEnded ? undefined : client).catch(
          (error: unknown) => void socket.end(`${textOfError(error)}\r\n`),
        );
        if (!stream) {
          socket.destroySoon();
          return;
        }
        if (isEnded) endsWith(request.params['id']!, stream, socket);
        join(stream, socket, { stdin, client });
      },
    ),
    // Not of Docker's API: for our own CLI.
    post('/exec/:id/kill', async (request) => {
      await containers.execKill(request.params['id']!, request.query.get('signal') || 'SIGKILL');
      return empty(204);
    }),
    post('/exec/:id/resize', async (request) => {
      await containers.execResize(request.params['id']!, terminalSize(request));
      return empty(200);
    }),
    get('/exec/:id/json', (request) => json(200, execInspect(containers.execInspect(request.params['id']!)))),
  ];
}

function sizeOf(given: readonly number[] | undefined): readonly [number, number] | undefined {
  return given && [given[0] ?? 0, given[1] ?? 0];
}

function execInspect({ id, containerId, request, user, running, exitCode, pid }: ExecState) {
  return {
    ID: id,
    Running: running,
    ExitCode: exitCode,
    ProcessConfig: {
      tty: request.Tty,
      entrypoint: request.Cmd[0] ?? '',
      arguments: request.Cmd.slice(1),
      privileged: request.Privileged,
      ...(user !== '' && { user }),
    },
    OpenStdin: request.AttachStdin,
    OpenStderr: request.AttachStderr,
    OpenStdout: request.AttachStdout,
    CanRemove: false,
    ContainerID: containerId,
    DetachKeys: parseDetachKeys(request.DetachKeys)?.toString('base64') ?? '',
    Pid: pid,
  };
}
