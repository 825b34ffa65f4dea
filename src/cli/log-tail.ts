import type { EngineClient } from '../client/client.ts';
import { FrameReader } from '../protocol/frames.ts';
import type { ContainerInfo } from './container-info.ts';

/** The last lines of a container's log; undefined where its log driver keeps none that can be read. */
export async function logTail(
  client: EngineClient,
  { Id, Config }: Pick<ContainerInfo, 'Id' | 'Config'>,
  lines: number,
): Promise<readonly string[] | undefined> {
  return tailOf(client, { path: `/containers/${Id}/logs`, tty: Config.Tty }, lines);
}

/** The same of whatever has a log at this path. */
export async function tailOf(
  client: EngineClient,
  { path, tty }: { readonly path: string; readonly tty: boolean },
  lines: number,
): Promise<readonly string[] | undefined> {
  const chunks: Buffer[] = [];
  try {
    const { body } = await client.request('GET', path, {
      query: { stdout: 1, stderr: 1, tail: lines },
    });
    const reader = new FrameReader((_type, payload) => void chunks.push(Buffer.from(payload)));
    for await (const chunk of body) {
      if (tty) chunks.push(chunk);
      else reader.push(chunk);
    }
  } catch {
    return undefined;
  }
  const text = Buffer.concat(chunks)
    .toString()
    .replace(/\r?\n$/, '');
  return text === '' ? [] : text.split(/\r?\n/).slice(-lines);
}
