import { createInterface } from 'node:readline/promises';
import { EngineError } from '../../base/errors.ts';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import { type Command, type Option, type Parsed, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { filtersOf } from '../pairs.ts';
import { humanBytes, plain, plainLine, printJson, table } from '../terminal.ts';
import { span } from '../words.ts';
import { shortened } from './images.ts';

/** What the engine says that it would remove, and removes when it is sent back. */
interface Plan {
  readonly Containers: readonly {
    readonly Id: string;
    readonly Name: string;
    readonly Image: string;
    readonly State: string;
    readonly ExitCode: number;
    /** Seconds since 1970; 0 or less: it never ran. */
    readonly Ended: number;
    readonly Size: number;
  }[];
  readonly Networks: readonly { readonly Id: string; readonly Name: string; readonly Driver: string }[];
  readonly Volumes: readonly { readonly Name: string; readonly CreatedAt: string; readonly Size: number }[];
  readonly Images: readonly {
    readonly Id: string;
    readonly Names: readonly string[];
    readonly Whole: boolean;
    readonly Size: number;
  }[];
}

interface Done {
  readonly Containers: readonly string[];
  readonly Networks: readonly string[];
  readonly Volumes: readonly string[];
  readonly Untagged: readonly string[];
  readonly Images: readonly string[];
  readonly SpaceReclaimed: number;
}

const common = {
  filter: { value: 'NAME=VALUE', many: true, about: 'only what matches: until=24h, label=NAME, label!=NAME' },
  'dry-run': { about: 'only show what would go' },
  force: { short: '-f', also: ['yes'], about: 'without asking, also as --yes' },
  json: { about: 'what would go, or what went, as JSON; without asking only with --force' },
} as const satisfies Readonly<Record<string, Option>>;

export const prune: Command = {
  usage: 'prune [OPTIONS]',
  about:
    'Shows containers that do not run, networks that nobody uses and images without a name, with what each takes; asks;\nand removes exactly these. With --volumes also volumes without a name that nobody uses, with what is in them.',
  options: {
    all: { short: '-a', about: 'also images with a name, where no container uses them' },
    volumes: { about: 'also volumes without a name' },
    ...common,
  },
  operands: { least: 0, most: 0 },
  examples: ['berth prune --dry-run', 'berth prune -a --filter until=72h'],
  run: (parsed) =>
    carryOut(parsed, 'berth prune', {
      containers: 1,
      networks: 1,
      images: parsed.flag('all') ? 'all' : 'dangling',
      volumes: parsed.flag('volumes') ? 'anonymous' : undefined,
    }),
};

const nouns = {
  container: 'containers that do not run',
  image: 'images without a name that no container uses',
  network: 'networks that nobody uses',
  volume: 'volumes without a name that nobody uses, with what is in them',
} as const;

/** `berth volume prune` and its like: of one kind only. */
export function pruneOf(kind: keyof typeof nouns): Command {
  const named = kind === 'image' || kind === 'volume';
  return {
    usage: `${kind} prune [OPTIONS]`,
    about: `Shows ${nouns[kind]}, asks, and removes exactly these.`,
    options: { ...(named && { all: { short: '-a', about: `also ${kind}s with a name` } }), ...common },
    operands: { least: 0, most: 0 },
    run: (parsed) => {
      const all = named && parsed.flag('all');
      const which = { container: 1, network: 1, image: all ? 'all' : 'dangling', volume: all ? 'all' : 'anonymous' };
      return carryOut(parsed, `berth ${kind} prune`, { [`${kind}s`]: which[kind] });
    },
  };
}

async function carryOut(
  parsed: Parsed,
  command: string,
  which: Readonly<Record<string, string | number | undefined>>,
): Promise<number> {
  const filters = JSON.stringify(filtersOf(parsed.values('filter'), `${command} --help`));
  const dry = parsed.flag('dry-run');
  const json = parsed.flag('json');
  if (!dry && !parsed.flag('force') && (json || !process.stdin.isTTY))
    throw new UsageError('prune removes things and there is nobody to ask', `${command} --dry-run, or ${command} -f`);
  return await withEngine(async (client) => {
    const plan = await planOf(client, { ...which, filters });
    if (json && dry) printJson(plan);
    else if (!json) process.stdout.write(shown(plan));
    if (dry || isEmpty(plan)) {
      if (json && !dry) printJson(nothingDone);
      return 0;
    }
    if (!parsed.flag('force') && !(await agreed())) {
      process.stdout.write('nothing was removed\n');
      return 1;
    }
    const done = await client.json<Done>('POST', '/berth/prune', { json: plan });
    if (json) printJson(done);
    else process.stdout.write(said(plan, done));
    return 0;
  });
}

const nothingDone: Done = { Containers: [], Networks: [], Volumes: [], Untagged: [], Images: [], SpaceReclaimed: 0 };

async function planOf(
  client: EngineClient,
  query: Readonly<Record<string, string | number | undefined>>,
): Promise<Plan> {
  try {
    return await client.json<Plan>('GET', '/berth/prune', { query });
  } catch (error) {
    if (error instanceof ResponseError && error.status === 404)
      throw new EngineError(
        'unsupported',
        'this engine cannot say what it would remove: it is no Berth, or an older one',
        {
          cause: error,
          hint: 'docker system prune',
        },
      );
    throw error;
  }
}

const isEmpty = (plan: Plan) =>
  [plan.Containers, plan.Networks, plan.Volumes, plan.Images].every(({ length }) => length === 0);

function shown(plan: Plan): string {
  if (isEmpty(plan)) return 'nothing is to be removed\n';
  const rows: string[][] = [
    ...plan.Containers.map(({ Name, Image, State, ExitCode, Ended, Size }) => [
      'container',
      Name,
      humanBytes(Size),
      Ended > 0
        ? `${Image}, exit code ${ExitCode}, ended ${span(Date.now() - Ended * 1000)} ago`
        : `${Image}, ${State}`,
    ]),
    ...plan.Networks.map(({ Name, Driver }) => ['network', Name, '-', Driver]),
    ...plan.Volumes.map(({ Name, CreatedAt, Size }) => [
      'volume',
      Name,
      humanBytes(Size),
      `made ${CreatedAt.slice(0, 10)}`,
    ]),
    ...plan.Images.map(({ Id, Names, Whole, Size }) => [
      Whole ? 'image' : 'name',
      Names.find((name) => !name.includes('@')) ?? shortened(Id),
      humanBytes(Size),
      Whole ? shortened(Id) : `another name of ${shortened(Id)}, which stays`,
    ]),
  ];
  const bytes = [...plan.Containers, ...plan.Volumes, ...plan.Images].reduce((sum, { Size }) => sum + Size, 0);
  return `${table(['WHAT', 'NAME', 'TAKES', 'DETAILS'], rows)}\n${humanBytes(bytes)} in all\n`;
}

/** What went, and how much of what was shown stayed. */
function said(plan: Plan, done: Done): string {
  const names = new Map(plan.Containers.map(({ Id, Name }) => [Id, Name]));
  const lines = [
    ...done.Containers.map((id) => `removed container ${names.get(id) ?? id.slice(0, 12)}`),
    ...done.Networks.map((name) => `removed network ${name}`),
    ...done.Volumes.map((name) => `removed volume ${name}`),
    ...done.Untagged.map((name) => `untagged ${name}`),
    ...done.Images.map((id) => `removed image ${id}`),
  ];
  const wanted = plan.Containers.length + plan.Networks.length + plan.Volumes.length;
  const stayed = wanted - done.Containers.length - done.Networks.length - done.Volumes.length;
  if (stayed > 0) lines.push(`${stayed} of what was shown stayed: in use by now, or gone already`);
  return `${lines.map((line) => `${plainLine(plain(line))}\n`).join('')}freed ${humanBytes(done.SpaceReclaimed)}\n`;
}

async function agreed(): Promise<boolean> {
  const ask = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await ask.question('Remove all of this? [y/N] ')).trim());
  } finally {
    ask.close();
  }
}
