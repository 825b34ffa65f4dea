import { setTimeout as sleep } from 'node:timers/promises';
import { Semaphore } from '../../base/async.ts';
import type { EngineClient } from '../../client/client.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { type ContainerState, inspectContainer } from '../container-info.ts';
import { ownName } from '../engine-names.ts';
import { formatOption, formatted } from '../format.ts';
import { containerView, type ListedContainer, sizesText } from '../list-views.ts';
import { filtersOf } from '../pairs.ts';
import {
  healthText,
  isFailure,
  type Listed,
  portsText,
  type StoppingNow,
  stateText,
  stoppingText,
  type Tries,
} from '../ps-words.ts';
import { cpuShare, type Usage, usageOf } from '../stats.ts';
import { humanMemory, printJson, table } from '../terminal.ts';
import { wholeNumber } from '../values.ts';

export const ps: Command = {
  usage: 'ps [OPTIONS]',
  about: 'Lists running containers: name, state, health, what they use, ports, image, id.',
  options: {
    all: { short: '-a', about: 'those that do not run too' },
    last: { short: '-n', value: 'NUMBER', about: 'the newest so many, in any state' },
    latest: { short: '-l', about: 'the newest one' },
    size: { short: '-s', about: 'with the bytes that they wrote' },
    quiet: { short: '-q', about: 'only the ids' },
    'no-trunc': { about: 'whole ids' },
    format: formatOption,
    json: { about: 'what the engine says, as JSON' },
    filter: {
      short: '-f',
      value: 'NAME=VALUE',
      many: true,
      about: 'only those that match: status, name, label, ancestor, exited ...',
    },
  },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const help = 'berth ps --help';
    const filters = filtersOf(parsed.values('filter'), help);
    const last = parsed.value('last');
    const limit = parsed.flag('latest') ? 1 : last === undefined ? undefined : wholeNumber(last, '--last', help);
    const format = parsed.value('format');
    const whole = parsed.flag('no-trunc');
    const size = parsed.flag('size') || (format !== undefined && /\.Size\b/.test(format));
    await withEngine(async (client) => {
      const listed = await client.json<readonly (Listed & ListedContainer)[]>('GET', '/containers/json', {
        query: { all: parsed.flag('all') ? 1 : 0, limit, size: size ? 1 : undefined, filters: JSON.stringify(filters) },
      });
      if (parsed.flag('json')) printJson(listed);
      else if (parsed.flag('quiet'))
        process.stdout.write(listed.map(({ Id }) => `${whole ? Id : Id.slice(0, 12)}\n`).join(''));
      else if (format !== undefined)
        process.stdout.write(
          formatted(
            format,
            listed.map((one) => containerView(one, whole)),
          ),
        );
      else process.stdout.write(await asTable(client, listed, whole));
    });
    return 0;
  },
};

interface Column {
  readonly head: string;
  readonly cell: (container: Listed & Pick<ListedContainer, 'SizeRw' | 'SizeRootFs'>) => string;
  /** Left out where no container has anything to say in it. */
  readonly optional?: boolean;
}

export async function asTable(
  client: EngineClient,
  listed: readonly (Listed & Pick<ListedContainer, 'SizeRw' | 'SizeRootFs'>)[],
  whole = false,
): Promise<string> {
  const [failures, usage, stops] = await Promise.all([
    failuresOf(client, listed),
    usageOfAll(client, listed),
    stopsOf(client, listed),
  ]);
  const columns: Column[] = [
    { head: 'NAME', cell: ({ Names }) => ownName(Names) },
    {
      head: 'STATE',
      cell: (one) => {
        const stop = stops.get(one.Id);
        if (stop) return stoppingText(stop);
        const known = failures.get(one.Id);
        const state = stateText(one, known?.State, known?.tries);
        return isFailure(one, known?.State) ? `${state} → berth why ${ownName(one.Names)}` : state;
      },
    },
    { head: 'HEALTH', cell: healthText, optional: true },
    { head: 'CPU', cell: ({ Id }) => usage.get(Id)?.cpu ?? '', optional: true },
    { head: 'MEMORY', cell: ({ Id }) => usage.get(Id)?.memory ?? '', optional: true },
    { head: 'PORTS', cell: ({ Ports }) => portsText(Ports) },
    { head: 'IMAGE', cell: ({ Image }) => Image },
    { head: 'SIZE', cell: (one) => (one.SizeRw === undefined ? '' : sizesText(one)), optional: true },
    { head: 'ID', cell: ({ Id }) => (whole ? Id : Id.slice(0, 12)) },
  ];
  const shown = columns.filter(({ optional, cell }) => !optional || listed.some((one) => cell(one) !== ''));
  return table(
    shown.map(({ head }) => head),
    listed.map((one) => shown.map(({ optional, cell }) => cell(one) || (optional ? '-' : ''))),
  );
}

/** The stops that wait. Another engine than ours does not say. */
async function stopsOf(client: EngineClient, listed: readonly Listed[]): Promise<ReadonlyMap<string, StoppingNow>> {
  if (!listed.some(({ State }) => State === 'running')) return new Map();
  const found = await client.json<readonly StoppingNow[]>('GET', '/berth/stopping').catch(() => []);
  return new Map(found.map((one) => [one.id, one]));
}

/** Connections that are opened for it. */
const mostAtOnce = 16;

/** So many are looked at one by one; a list of more is read for other things. */
const mostLooked = 100;

/** What is known of those that may have failed: whether memory ran out, and whether they started at all. */
async function failuresOf(
  client: EngineClient,
  listed: readonly Listed[],
): Promise<ReadonlyMap<string, { readonly State: ContainerState; readonly tries: Tries }>> {
  const doubtful = listed
    .filter(({ State, Status }) => State === 'created' || State === 'dead' || /\((?!0\))\d+\)/.test(Status))
    .slice(0, mostLooked);
  const looks = new Semaphore(mostAtOnce);
  const states = await Promise.all(
    doubtful.map(async ({ Id }) => {
      // Removed meanwhile: then there is nothing more to say of it.
      const found = await looks.run(() => inspectContainer(client, Id).catch(() => undefined));
      if (!found) return [];
      const tries = { count: found.RestartCount, most: found.HostConfig.RestartPolicy.MaximumRetryCount };
      return [[Id, { State: found.State, tries }]] as const;
    }),
  );
  return new Map(states.flat());
}

/** Time between two looks at the processor's clock; the list waits for it. */
const lookInterval = 120;

async function usageOfAll(
  client: EngineClient,
  listed: readonly Listed[],
): Promise<ReadonlyMap<string, { readonly cpu: string; readonly memory: string }>> {
  const running = listed.filter(({ State }) => State === 'running').slice(0, mostLooked);
  if (running.length === 0) return new Map();
  // One is asked first: an engine without statistics need not say so a hundred times.
  if ((await usageOf(client, running[0]!.Id)) === 'unbuilt') return new Map();
  const looks = new Semaphore(mostAtOnce);
  const look = async () => {
    const found = await Promise.all(
      running.map(async ({ Id }) => [Id, await looks.run(() => usageOf(client, Id))] as const),
    );
    return new Map(found.filter((entry): entry is readonly [string, Usage] => typeof entry[1] === 'object'));
  };
  let after = await look();
  let before: ReadonlyMap<string, Pick<Usage, 'at' | 'cpu'>> = after;
  if ([...after.values()].every((usage) => usage.before)) {
    before = new Map([...after].map(([id, usage]) => [id, usage.before!]));
  } else {
    await sleep(lookInterval);
    after = await look();
  }
  return new Map(
    [...after].map(([id, usage]) => {
      const first = before.get(id);
      const share = first && cpuShare(first, usage);
      return [id, { cpu: share === undefined ? '-' : `${share.toFixed(1)} %`, memory: humanMemory(usage.memory) }];
    }),
  );
}
