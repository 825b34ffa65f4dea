import { codeOf, EngineError } from '../base/errors.ts';
import { EngineClient } from '../client/client.ts';
import { withHolder } from './conflicts.ts';
import { engineConfig } from './engine-config.ts';
import { withNearName } from './missing.ts';

/** The engine that commands talk to: BERTH_SOCKET, the configuration file, or the usual place. */
export function engineSocket(): string {
  return process.env.BERTH_SOCKET ?? engineConfig(undefined).socket;
}

/** Runs `use` with a client, and says in plain words when there is no engine. */
export async function withEngine<T>(use: (client: EngineClient) => Promise<T>): Promise<T> {
  const socket = engineSocket();
  await using client = new EngineClient({ socket });
  try {
    return await use(client);
  } catch (error) {
    throw explain(await withHolder(client, await withNearName(client, error)), socket);
  }
}

function explain(error: unknown, socket: string): unknown {
  const code = codeOf(error) ?? codeOf(error instanceof Error ? error.cause : undefined);
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return new EngineError('unavailable', `no engine answers on ${socket}`, {
      cause: error,
      hint: 'berth engine start',
    });
  if (code === 'EACCES')
    return new EngineError('forbidden', `${socket} is not yours to use`, {
      cause: error,
      hint: 'run this as root, or join the group that the engine is configured with',
    });
  return error;
}
