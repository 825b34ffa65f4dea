import { createInterface } from 'node:readline/promises';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import { type Command, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { humanBytes, plain } from '../terminal.ts';

interface Pruned {
  readonly ContainersDeleted?: readonly string[] | null;
  readonly VolumesDeleted?: readonly string[] | null;
  readonly NetworksDeleted?: readonly string[] | null;
  readonly ImagesDeleted?: readonly { readonly Untagged?: string; readonly Deleted?: string }[] | null;
  readonly SpaceReclaimed?: number;
}

export const prune: Command = {
  usage: 'prune [OPTIONS]',
  about:
    'Removes containers that do not run, networks that nobody uses and images without a name; with --volumes the\nvolumes without a name that nobody uses, with what is in them.',
  options: {
    all: { short: '-a', about: 'also images with a name, where no container uses them' },
    volumes: { about: 'also volumes without a name' },
    force: { short: '-f', about: 'without asking' },
  },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const all = parsed.flag('all');
    const volumes = parsed.flag('volumes');
    if (!parsed.flag('force') && !(await agreed(all, volumes))) return 1;
    await withEngine(async (client) => {
      // Containers first: what they used is then in use no more.
      let bytes = await one(client, '/containers/prune', 'container');
      await one(client, '/networks/prune', 'network');
      if (volumes) bytes += await one(client, '/volumes/prune', 'volume');
      bytes += await one(client, '/images/prune', 'image', { dangling: [all ? 'false' : 'true'] });
      process.stdout.write(`freed ${humanBytes(bytes)}\n`);
    });
    return 0;
  },
};

async function agreed(all: boolean, volumes: boolean): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UsageError('prune removes things and there is nobody to ask', 'berth prune -f');
  const what = [
    'containers that do not run',
    'networks nobody uses',
    all ? 'images nobody uses' : 'images without a name',
  ];
  if (volumes) what.push('volumes without a name and what is in them');
  const ask = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await ask.question(`Remove ${what.join(', ')}? [y/N] `)).trim());
  } finally {
    ask.close();
  }
}

/** The bytes that were freed. What this engine cannot prune it has none of that is not in use. */
async function one(
  client: EngineClient,
  path: string,
  noun: string,
  filters: Readonly<Record<string, readonly string[]>> = {},
): Promise<number> {
  const pruned = await client
    .json<Pruned>('POST', path, { query: { filters: JSON.stringify(filters) } })
    .catch((error: unknown): Pruned => {
      if (error instanceof ResponseError && error.status === 501) return {};
      throw error;
    });
  for (const name of [
    ...(pruned.ContainersDeleted ?? []).map((id) => id.slice(0, 12)),
    ...(pruned.NetworksDeleted ?? []),
    ...(pruned.VolumesDeleted ?? []),
    ...(pruned.ImagesDeleted ?? []).flatMap(({ Deleted }) => (Deleted ? [Deleted] : [])),
  ])
    process.stdout.write(`removed ${noun} ${plain(name)}\n`);
  return pruned.SpaceReclaimed ?? 0;
}
