import { EngineError } from '../../base/errors.ts';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { ownName } from '../engine-names.ts';
import { formatOption, formatted } from '../format.ts';
import type { ListedContainer, ListedImage } from '../list-views.ts';
import { humanBytes, plainLine, printJson, table } from '../terminal.ts';
import { shortened } from './images.ts';

interface Report {
  readonly root: string;
  readonly rooms: readonly { readonly name: string; readonly count: number; readonly bytes: number }[];
  readonly unaccounted: readonly { readonly path: string; readonly bytes: number }[];
  readonly total: number;
  readonly walked?: number;
}

/** `GET /system/df`. */
interface Usage {
  readonly Images: readonly (ListedImage & { readonly SharedSize: number })[] | null;
  readonly Containers: readonly ListedContainer[] | null;
  readonly Volumes:
    | readonly { readonly Name: string; readonly UsageData: { readonly RefCount: number; readonly Size: number } }[]
    | null;
}

export const df: Command = {
  usage: 'df [OPTIONS]',
  about:
    'Shows what the engine has on the disk: rooms that add up to what du says of its data root, and what a prune would free.\n--verify walks over all of it once more, compares, and names what no record of the engine knows.',
  options: {
    verbose: { short: '-v', about: 'each image, container and volume' },
    verify: { about: 'compare with a second walk; exit code 1 when something is unaccounted for' },
    format: formatOption,
    json: { about: 'as JSON' },
  },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    return await withEngine(async (client) => {
      const format = parsed.value('format');
      if (format !== undefined) {
        process.stdout.write(formatted(format, dockerRows(await client.json<Usage>('GET', '/system/df'))));
        return 0;
      }
      const verify = parsed.flag('verify');
      const report = await reportOf(client, verify);
      const usage = parsed.flag('verbose') ? await client.json<Usage>('GET', '/system/df') : undefined;
      if (parsed.flag('json')) printJson({ ...report, ...(usage && { usage }) });
      else process.stdout.write(`${summary(report)}${usage ? details(usage) : ''}${await freeable(client)}`);
      return verify && report.unaccounted.length > 0 ? 1 : 0;
    });
  },
};

async function reportOf(client: EngineClient, verify: boolean): Promise<Report> {
  try {
    return await client.json<Report>('GET', '/berth/df', { query: { verify: verify ? 1 : undefined } });
  } catch (error) {
    if (error instanceof ResponseError && error.status === 404)
      throw new EngineError(
        'unsupported',
        'this engine does not say what it has on the disk: it is no Berth, or an older one',
        {
          cause: error,
          hint: 'docker system df',
        },
      );
    throw error;
  }
}

function summary({ root, rooms, unaccounted, total, walked }: Report): string {
  const left = unaccounted.reduce((sum, { bytes }) => sum + bytes, 0);
  const rows = rooms.map(({ name, count, bytes }) => [name, count > 0 ? String(count) : '-', humanBytes(bytes)]);
  if (left > 0) rows.push(['unaccounted for', String(unaccounted.length), humanBytes(left)]);
  const lines = [table(['ROOM', 'COUNT', 'TAKES'], rows), `${humanBytes(total)} in ${plainLine(root)}\n`];
  for (const { path, bytes } of unaccounted)
    lines.push(`  no record knows ${plainLine(path)} (${humanBytes(bytes)})\n`);
  if (walked !== undefined) {
    const difference = walked - total;
    lines.push(
      difference === 0
        ? `a second walk found the same ${humanBytes(walked)}, to the byte\n`
        : `a second walk found ${humanBytes(walked)}: ${humanBytes(Math.abs(difference))} ${difference > 0 ? 'came' : 'went'} meanwhile\n`,
    );
  }
  return lines.join('');
}

function details({ Images, Containers, Volumes }: Usage): string {
  const images = (Images ?? []).map(({ Id, RepoTags, Size, SharedSize, Containers: users }) => [
    RepoTags?.[0] ?? shortened(Id),
    humanBytes(Size),
    humanBytes(SharedSize),
    humanBytes(Size - SharedSize),
    String(users),
  ]);
  const containers = (Containers ?? []).map(({ Names, Image, SizeRw = 0, State }) => [
    ownName(Names),
    humanBytes(SizeRw),
    State,
    Image,
  ]);
  const volumes = (Volumes ?? []).map(({ Name, UsageData }) => [
    Name,
    humanBytes(UsageData.Size),
    String(UsageData.RefCount),
  ]);
  return [
    ['', table(['IMAGE', 'SIZE', 'SHARED', 'OWN', 'CONTAINERS'], images)],
    ['', table(['CONTAINER', 'WROTE', 'STATE', 'IMAGE'], containers)],
    ['', table(['VOLUME', 'TAKES', 'CONTAINERS'], volumes)],
  ]
    .map(([head, text]) => `${head}\n${text}`)
    .join('');
}

/** What `berth prune -a --volumes` would show. Of what is shared each says it once. */
async function freeable(client: EngineClient): Promise<string> {
  const query = { containers: 1, networks: 1, images: 'all', volumes: 'anonymous' };
  const plan = await client.json<Readonly<Record<string, readonly { readonly Size?: number }[]>>>(
    'GET',
    '/berth/prune',
    {
      query,
    },
  );
  const bytes = Object.values(plan)
    .flat()
    .reduce((sum, { Size = 0 }) => sum + Size, 0);
  return bytes > 0 ? `\nberth prune -a --volumes would free about ${humanBytes(bytes)}; it shows what first\n` : '';
}

/** The rows of `docker system df` for its `--format`. */
function dockerRows({ Images, Containers, Volumes }: Usage): readonly Readonly<Record<string, string>>[] {
  const row = (
    Type: string,
    items: readonly { readonly active: boolean; readonly size: number; readonly own?: number }[],
  ) => {
    const sum = (chosen: typeof items) => chosen.reduce((total, { size, own = size }) => total + own, 0);
    return {
      Type,
      TotalCount: String(items.length),
      Active: String(items.filter(({ active }) => active).length),
      Size: humanBytes(items.reduce((total, { size }) => total + size, 0)),
      Reclaimable: humanBytes(sum(items.filter(({ active }) => !active))),
    };
  };
  return [
    row(
      'Images',
      (Images ?? []).map(({ Size, SharedSize, Containers: users }) => ({
        active: users > 0,
        size: Size,
        own: Size - SharedSize,
      })),
    ),
    row(
      'Containers',
      (Containers ?? []).map(({ State, SizeRw = 0 }) => ({
        active: ['running', 'paused', 'restarting'].includes(State),
        size: SizeRw,
      })),
    ),
    row(
      'Local Volumes',
      (Volumes ?? []).map(({ UsageData }) => ({ active: UsageData.RefCount > 0, size: UsageData.Size })),
    ),
    row('Build Cache', []),
  ];
}
