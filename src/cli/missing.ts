import { closest } from '../base/edit-distance.ts';
import { type EngineClient, ResponseError } from '../client/client.ts';
import type { NameKind } from './complete.ts';
import { engineNames } from './engine-names.ts';

const kinds: readonly (readonly [message: RegExp, kind: NameKind])[] = [
  [/No such container: (\S+)$/i, 'containers'],
  [/No such image: (\S+)$/i, 'images'],
  [/network (\S+) not found$/i, 'networks'],
  [/(?:no such volume: |get )(\S+)(?:: no such volume)?$/i, 'volumes'],
];

/** The same refusal with the name that was meant, when something that is there is close to what was asked for. */
export async function withNearName(client: EngineClient, error: unknown): Promise<unknown> {
  if (!(error instanceof ResponseError) || error.status !== 404 || error.hint !== undefined) return error;
  for (const [message, kind] of kinds) {
    const asked = message.exec(error.message)?.[1];
    if (asked === undefined) continue;
    const near = nearest(asked, await engineNames(client, kind).catch(() => []));
    if (near === undefined) return error;
    return new ResponseError(error.status, error.message, {
      cause: error,
      hint: `did you mean ${near}?`,
    });
  }
  return error;
}

/** An image is meant by its name without the registry and the tag too. */
export function nearest(asked: string, names: readonly string[]): string | undefined {
  const short = (name: string) => name.replace(/^docker\.io\/(?:library\/)?/, '').replace(/:latest$/, '');
  const byShort = new Map(names.map((name) => [short(name), name]));
  const near = closest(short(asked), byShort.keys());
  return near === undefined ? undefined : byShort.get(near);
}
