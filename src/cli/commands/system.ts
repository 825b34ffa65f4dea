import { EngineError } from '../../base/errors.ts';
import { type Command, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { formatOption, formatted, formattedOne } from '../format.ts';
import { historyView } from '../list-views.ts';
import { filtersOf } from '../pairs.ts';
import { humanBytes, jsonText, paint, plain, plainLine, printJson, table } from '../terminal.ts';
import { platformJson } from '../values.ts';
import { clock, span } from '../words.ts';
import { shortened } from './images.ts';

interface Layer {
  readonly Id: string;
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Size: number;
  readonly Comment: string;
}

export const history: Command = {
  usage: 'history [OPTIONS] IMAGE',
  about: 'Lists the steps that made an image, the last one first, with what each added.',
  options: {
    human: { short: '-H', about: 'sizes and dates for people (true)' },
    'no-trunc': { about: 'has no meaning here: nothing is cut' },
    platform: { value: 'OS/ARCH', about: 'which of the image’s platforms' },
    quiet: { short: '-q', about: 'only the ids' },
    format: formatOption,
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const format = parsed.value('format');
    const steps = await withEngine((client) =>
      client.json<readonly Layer[]>('GET', `/images/${parsed.operands[0]!}/history`, {
        query: { platform: platformJson(parsed.value('platform')) },
      }),
    );
    const human = parsed.flag('human', true);
    if (parsed.flag('json')) printJson(steps);
    else if (parsed.flag('quiet'))
      process.stdout.write(steps.map(({ Id }) => `${Id.startsWith('sha256:') ? shortened(Id) : Id}\n`).join(''));
    else if (format !== undefined) process.stdout.write(formatted(format, steps.map(historyView)));
    else
      process.stdout.write(
        table(
          ['MADE', 'ADDED', 'BY'],
          steps.map(({ Created, Size, CreatedBy, Comment }) => [
            human ? `${span(Date.now() - Created * 1000)} ago` : new Date(Created * 1000).toISOString(),
            human ? humanBytes(Size) : String(Size),
            CreatedBy || Comment || '-',
          ]),
        ),
      );
    return 0;
  },
};

interface Event {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
  readonly time: number;
}

export const events: Command = {
  usage: 'events [OPTIONS]',
  about:
    'Shows what happens to containers, images, networks and volumes as it happens; with --since what the engine\nremembers too.',
  options: {
    since: { value: 'TIME', about: 'from a time on: 2026-11-23T10:00:00Z, 10m, or seconds since 1970' },
    until: { value: 'TIME', about: 'up to a time, then end' },
    filter: {
      ...{ short: '-f', value: 'NAME=VALUE', many: true },
      about: 'only those that match: container, image, event, type, label, network, volume',
    },
    format: { value: 'TEMPLATE', about: "a Go template of the event, as '{{.Actor.Attributes.name}}', or json" },
    json: { about: 'an object a line, as the engine says it' },
  },
  operands: { least: 0, most: 0 },
  examples: ['berth events --since 1h --until 0s', 'berth events -f container=web -f event=die'],
  async run(parsed) {
    const filters = JSON.stringify(filtersOf(parsed.values('filter'), 'berth events --help'));
    const format = parsed.value('format');
    const query = { filters, since: parsed.value('since'), until: parsed.value('until') };
    await withEngine(async (client) => {
      for await (const event of client.stream<Event>('GET', '/events', { query }))
        process.stdout.write(
          format !== undefined
            ? formattedOne(format, event)
            : `${parsed.flag('json') ? jsonText(event) : eventLine(event)}\n`,
        );
    });
    return 0;
  },
};

function eventLine({ Type, Action, Actor, time }: Event): string {
  const { name, image, ...others } = Actor.Attributes;
  const who = name ?? (/^(?:sha256:)?[0-9a-f]{64}$/.test(Actor.ID) ? shortened(Actor.ID) : Actor.ID);
  const more = Object.entries(others).flatMap(([key, value]) =>
    ['exitCode', 'signal', 'container', 'execID', 'destination'].includes(key)
      ? [`${key} ${/^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) : value}`]
      : [],
  );
  const tail = [...(image && Type === 'container' ? [image] : []), ...more].join(', ');
  return `${paint('dim', clock(time * 1000))}  ${Type.padEnd(9)}  ${plainLine(Action)}  ${paint('bold', plainLine(who))}${tail ? `  (${plainLine(tail)})` : ''}`;
}

interface Info {
  readonly Name: string;
  readonly ServerVersion: string;
  readonly OperatingSystem: string;
  readonly KernelVersion: string;
  readonly Architecture: string;
  readonly NCPU: number;
  readonly MemTotal: number;
  readonly DockerRootDir: string;
  readonly Driver: string;
  readonly LoggingDriver: string;
  readonly CgroupDriver: string;
  readonly CgroupVersion?: string;
  readonly DefaultRuntime: string;
  readonly Runtimes: Readonly<Record<string, unknown>>;
  readonly SecurityOptions: readonly string[];
  readonly Containers: number;
  readonly ContainersRunning: number;
  readonly ContainersPaused: number;
  readonly ContainersStopped: number;
  readonly Images: number;
  readonly HttpProxy?: string;
  readonly HttpsProxy?: string;
  readonly NoProxy?: string;
  readonly Warnings: readonly string[] | null;
}

export const info: Command = {
  usage: 'info [OPTIONS]',
  about: 'Shows what the engine says of itself and of this machine. `berth doctor` says what is wrong with it.',
  options: {
    format: { short: '-f', value: 'TEMPLATE', about: "a Go template of what the engine says, as '{{.NCPU}}', or json" },
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const format = parsed.value('format');
    const found = await withEngine((client) => client.json<Info>('GET', '/info'));
    if (format !== undefined) {
      process.stdout.write(formattedOne(format, found));
      return 0;
    }
    if (parsed.flag('json')) {
      printJson(found);
      return 0;
    }
    const rows: [string, string | undefined][] = [
      [
        'machine',
        `${found.Name}: ${found.NCPU} processors, ${humanBytes(found.MemTotal)} of memory, ${found.Architecture}`,
      ],
      ['system', `${found.OperatingSystem}, kernel ${found.KernelVersion}`],
      ['engine', `${found.ServerVersion}, data in ${found.DockerRootDir}`],
      [
        'containers',
        `${found.Containers}: ${found.ContainersRunning} running, ${found.ContainersPaused} paused, ${found.ContainersStopped} stopped`,
      ],
      ['images', String(found.Images)],
      ['layers', found.Driver],
      ['logs', found.LoggingDriver],
      ['cgroups', `v${found.CgroupVersion ?? '1'}, by ${found.CgroupDriver}`],
      ['runtimes', `${Object.keys(found.Runtimes).join(', ')}; ${found.DefaultRuntime} where none is named`],
      ['security', found.SecurityOptions.map((option) => option.replace(/^name=/, '')).join('; ') || 'none'],
      ['proxy', [found.HttpProxy, found.HttpsProxy].filter(Boolean).join(' ') || undefined],
    ];
    const width = Math.max(...rows.map(([label]) => label.length));
    for (const [label, text] of rows)
      if (text !== undefined) process.stdout.write(`${paint('dim', label.padEnd(width))}  ${plainLine(text)}\n`);
    for (const warning of found.Warnings ?? [])
      process.stderr.write(`${paint('yellow', 'warning:', process.stderr)} ${plain(warning)}\n`);
    return 0;
  },
};

interface Hit {
  readonly name: string;
  readonly description: string;
  readonly star_count: number;
  readonly is_official: boolean;
}

export const search: Command = {
  usage: 'search [OPTIONS] TERM',
  about: 'Searches a registry for images: Docker Hub, or the one whose name stands before the term.',
  options: {
    filter: { short: '-f', value: 'NAME=VALUE', many: true, about: 'only those that match: stars, is-official' },
    limit: { value: 'NUMBER', about: 'most of them (25)' },
    'no-trunc': { about: 'has no meaning here: nothing is cut' },
    json: { about: 'what the registry says, as JSON' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const limit = parsed.value('limit');
    if (limit !== undefined && !/^\d{1,3}$/.test(limit))
      throw new UsageError(`--limit ${limit}: expected a number up to 100`, 'berth search --help');
    const query = {
      term: parsed.operands[0]!,
      limit,
      filters: JSON.stringify(filtersOf(parsed.values('filter'), 'berth search --help')),
    };
    const { authHeader } = await import('../credentials.ts');
    const hits = await withEngine(async (client) =>
      client.json<readonly Hit[]>('GET', '/images/search', { query, headers: await authHeader(query.term) }),
    );
    if (!Array.isArray(hits)) throw new EngineError('corrupt', 'the engine gave no list of images');
    if (parsed.flag('json')) printJson(hits);
    else
      process.stdout.write(
        table(
          ['IMAGE', 'STARS', 'OFFICIAL', 'WHAT IT IS'],
          hits.map((hit) => [hit.name, String(hit.star_count), hit.is_official ? 'yes' : '-', hit.description]),
        ),
      );
    return 0;
  },
};
