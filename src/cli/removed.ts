import { type EngineClient, ResponseError } from '../client/client.ts';
import type { RemovedContainer } from '../containers/removed-logs.ts';

/**
 * A container that is gone, while its log is kept: by its name, of which the last one counts, or the beginning of its ID.
 * `error` is why it was looked for; thrown again when there is none.
 */
export async function removedContainer(client: EngineClient, name: string, error: unknown): Promise<RemovedContainer> {
  if (!(error instanceof ResponseError) || error.status !== 404) throw error;
  // An engine of an older version keeps none.
  const kept = await client.json<readonly RemovedContainer[]>('GET', '/berth/removed').catch(() => []);
  const found = kept.find((one) => one.name === name) ?? kept.find(({ id }) => name.length > 3 && id.startsWith(name));
  if (!found) throw error;
  return found;
}

export const logOfRemoved = ({ id, tty }: RemovedContainer) => ({ path: `/berth/removed/${id}/logs`, tty });
