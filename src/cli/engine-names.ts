import type { EngineClient } from '../client/client.ts';
import type { NameKind } from './complete.ts';
import { plain } from './terminal.ts';

interface Item {
  readonly Name?: string;
  readonly Names?: readonly string[];
  readonly RepoTags?: readonly string[] | null;
}

const paths: Readonly<Record<NameKind, readonly [path: string, query: Readonly<Record<string, string>>]>> = {
  containers: ['/containers/json', { all: '1' }],
  running: ['/containers/json', {}],
  stopped: ['/containers/json', { all: '1', filters: '{"status":["created","exited"]}' }],
  images: ['/images/json', {}],
  networks: ['/networks', {}],
  volumes: ['/volumes', {}],
};

/** A container's own name of those in a list, which has the names of links to it too (`/web/db`). */
export function ownName(names: readonly string[]): string {
  return (names.find((name) => !name.includes('/', 1)) ?? names[0] ?? '').replace(/^\//, '');
}

/** What the engine has names for. */
export async function engineNames(
  client: EngineClient,
  kind: NameKind,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const [path, query] = paths[kind];
  const answer = await client.json<readonly Item[] | { readonly Volumes: readonly Item[] | null }>('GET', path, {
    query,
    ...(signal && { signal }),
  });
  const items = 'Volumes' in answer ? (answer.Volumes ?? []) : answer;
  return items
    .flatMap(({ Name, Names, RepoTags }) => [
      ...(Name ? [Name] : []),
      ...(Names ? [ownName(Names)] : []),
      ...(RepoTags ?? []),
    ])
    .map(plain)
    .filter((name) => /^\S+$/.test(name));
}
