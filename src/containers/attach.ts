import { EngineError } from '../base/errors.ts';
import type { AttachRequest, AttachStream } from '../runtime/runtime.ts';
import { AttachPoint } from './attach-point.ts';
import type { AttachOptions } from './containers.ts';
import { defaultDetachKeys } from './detach-keys.ts';
import { readLogs } from './logs.ts';
import { isRunning } from './record.ts';
import type { Room } from './room.ts';

/** Subscribed when this returns; on a container that was not started, connected by its start. */
export async function attach(room: Room, name: string, options: AttachOptions): Promise<AttachStream> {
  const container = room.store.get(name);
  const { id, config } = container;
  const { status } = container.state;
  if (status === 'paused')
    throw new EngineError('conflict', `container ${id} is paused, unpause the container before attach`, {
      code: 'E_PAUSED',
    });
  if (status === 'restarting')
    throw new EngineError('conflict', `container ${id} is restarting, wait until the container is running`);
  const stdin = options.stdin && config.OpenStdin;
  const live = isRunning(container) ? room.live.get(id) : undefined;
  // A terminal's keys are looked through, and a log comes first: both by the engine.
  const isDirect = options.stream && !live && !options.logs && !config.Tty;
  const point = new AttachPoint({
    // Keys are typed on terminals; what comes through a pipe is data, which may have any bytes in it.
    detachKeys: stdin && config.Tty ? (options.detachKeys ?? defaultDetachKeys) : undefined,
    client: isDirect ? options.client : undefined,
    onDetach: () => {
      const now = room.store.byId(id);
      if (now) room.emit(now, 'detach');
    },
  });
  if (options.stream) {
    const request = { stdin, stdout: options.stdout, stderr: options.stderr };
    if (live) {
      const stream = await live.task.attach(request);
      try {
        if (options.logs) await replay(room, point, id, options);
      } catch (error) {
        // Nobody would read it, and that holds the process back.
        stream.destroy();
        throw error;
      }
      point.connect(stream);
    } else {
      if (options.logs) await replay(room, point, id, options);
      pend(room, id, { point, request: point.request(request) });
    }
  } else {
    if (options.logs) await replay(room, point, id, options);
    point.close();
  }
  room.emit(container, 'attach');
  return point;
}

function pend(room: Room, id: string, pending: { readonly point: AttachPoint; readonly request: AttachRequest }): void {
  let set = room.pending.get(id);
  if (!set) {
    set = new Set();
    room.pending.set(id, set);
  }
  set.add(pending);
  // A client that went away before the start is not waited for.
  pending.point.once('close', () => set.delete(pending));
}

async function replay(room: Room, point: AttachPoint, id: string, { stdout, stderr }: AttachOptions): Promise<void> {
  const log = readLogs(room, id, {
    follow: false,
    stdout,
    stderr,
    since: undefined,
    until: undefined,
    timestamps: false,
    details: false,
    tail: undefined,
    signal: AbortSignal.timeout(60_000),
  });
  for await (const chunk of log) if (!point.destroyed) point.push(chunk);
}
