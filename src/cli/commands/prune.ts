import { createInterface } from 'node:readline/promises';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import { type Command, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { filtersOf } from '../pairs.ts';
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

const nouns = {
  container: 'containers that do not run',
  image: 'images that nobody uses',
  network: 'networks that nobody uses',
  volume: 'volumes that nobody uses, with what is in them',
} as const;

/** `berth volume prune` and its like: of one kind only. */
export function pruneOf(kind: keyof typeof nouns): Command {
  const named = kind === 'image' || kind === 'volume';
  return {
    usage: `${kind} prune [OPTIONS]`,
    about: `Removes ${nouns[kind]}.`,
    options: {
      ...(named && { all: { short: '-a', about: `also ${kind}s with a name` } }),
      filter: { value: 'NAME=VALUE', many: true, about: 'only those that match: until, label' },
      force: { short: '-f', about: 'without asking' },
    },
    operands: { least: 0, most: 0 },
    async run(parsed) {
      const filters = filtersOf(parsed.values('filter'), `berth ${kind} prune --help`);
      if (kind === 'image') filters['dangling'] = [parsed.flag('all') ? 'false' : 'true'];
      if (kind === 'volume' && parsed.flag('all')) filters['all'] = ['true'];
      if (!parsed.flag('force') && !(await agreedTo(nouns[kind], `berth ${kind} prune -f`))) return 1;
      await withEngine(async (client) => {
        process.stdout.write(`freed ${humanBytes(await one(client, `/${kind}s/prune`, kind, filters))}\n`);
      });
      return 0;
    },
  };
}

async function agreed(all: boolean, volumes: boolean): Promise<boolean> {
  const what = [
    'containers that do not run',
    'networks nobody uses',
    all ? 'images nobody uses' : 'images without a name',
  ];
  if (volumes) what.push('volumes without a name and what is in them');
  return await agreedTo(what.join(', '), 'berth prune -f');
}

async function agreedTo(what: string, otherwise: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UsageError('prune removes things and there is nobody to ask', otherwise);
  const ask = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await ask.question(`Remove ${what}? [y/N] `)).trim());
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
