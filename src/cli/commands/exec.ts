import type { EngineClient } from '../../client/client.ts';
import { type Command, type Parsed, parseArguments, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { inspectContainer } from '../container-info.ts';
import { environmentOf } from '../environment.ts';
import type { Listed } from '../ps-words.ts';
import { converse } from '../streams.ts';
import { plain, printJson, table } from '../terminal.ts';

export const exec: Command = {
  usage: 'exec [OPTIONS] CONTAINER COMMAND [ARG...]',
  about:
    'Runs a command in a running container. It ends with this client: on a closed terminal, a kill, or a second Ctrl-C; a\nfirst Ctrl-C is the command’s own. With --detach or --keep it goes on without.\n\n  berth exec ls [CONTAINER]             lists the commands that run by exec\n  berth exec kill [-s SIGNAL] ID...     ends them, with what they started',
  options: {
    detach: { short: '-d', about: 'leave it running' },
    keep: { about: 'let it run on when this client goes' },
    interactive: { short: '-i', about: 'keep stdin open' },
    tty: { short: '-t', about: 'give it a terminal' },
    env: { short: '-e', value: 'NAME=VALUE', many: true, about: 'an environment variable' },
    user: { short: '-u', value: 'USER[:GROUP]', about: 'who runs it' },
    'env-file': { value: 'FILE', many: true, about: 'environment variables, one a line' },
    workdir: { short: '-w', value: 'DIR', about: 'the working directory' },
    'detach-keys': { value: 'KEYS', about: 'what leaves it running (ctrl-p,ctrl-q)' },
    privileged: { about: 'no confinement' },
    json: { about: 'with -d: its id as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  passThrough: true,
  get commands() {
    return { ls, kill };
  },
  async run(parsed) {
    const [first, ...rest] = parsed.operands;
    const plainly = Object.keys(exec.options).every((name) => parsed.values(name).length === 0);
    // With an option before them these words are containers.
    const own = plainly ? exec.commands![first!] : undefined;
    if (own) return await own.run(parseArguments(`exec ${first}`, own, rest));
    if (rest.length === 0)
      throw new UsageError('berth exec takes a container and a command, got 1', 'berth exec --help');
    return await withEngine((client) => execute(client, first!, rest, parsed));
  },
};

async function execute(
  client: EngineClient,
  container: string,
  command: readonly string[],
  parsed: Parsed,
): Promise<number> {
  const detach = parsed.flag('detach');
  const tty = parsed.flag('tty');
  const stdin = parsed.flag('interactive') && !detach;
  const detachKeys = parsed.value('detach-keys');
  const { Id } = await client.json<{ Id: string }>('POST', `/containers/${encodeURIComponent(container)}/exec`, {
    json: {
      Cmd: command,
      AttachStdin: stdin,
      AttachStdout: !detach,
      AttachStderr: !detach,
      Tty: tty,
      Env: environmentOf(parsed, 'berth exec --help'),
      ...(detachKeys !== undefined && { DetachKeys: detachKeys }),
      User: parsed.value('user') ?? '',
      WorkingDir: parsed.value('workdir') ?? '',
      Privileged: parsed.flag('privileged'),
    },
  });
  const start = { json: { Detach: detach, Tty: tty } };
  if (detach) {
    await client.json('POST', `/exec/${Id}/start`, start);
    if (parsed.flag('json')) printJson({ id: Id });
    return 0;
  }
  const query = { endWithClient: parsed.flag('keep') ? undefined : 1 };
  const { stream, multiplexed } = await client.hijack(`/exec/${Id}/start`, { ...start, query });
  // On a terminal of its own it reads Ctrl-C itself.
  if (!tty) passSignals(client, Id);
  const left = await converse({
    ...{ client, stream, multiplexed, stdin, tty, detachKeys },
    resizePath: `/exec/${Id}/resize`,
  });
  if (left) return 0;
  return (await client.json<{ ExitCode: number | null }>('GET', `/exec/${Id}/json`)).ExitCode ?? 1;
}

/** How long a command may take over a Ctrl-C before one is told how to leave. */
const patience = 1500;

/** The first goes to the command. With the second this client leaves, and the engine ends the command behind it. */
function passSignals(client: EngineClient, id: string): void {
  let passed = false;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGQUIT', 131],
  ] as const)
    process.on(signal, () => {
      if (passed) process.exit(code);
      passed = true;
      void client.json('POST', `/exec/${id}/kill`, { query: { signal } }).catch(() => {});
      if (process.stderr.isTTY)
        setTimeout(() => void process.stderr.write('berth: it still runs; Ctrl-C again ends it\n'), patience).unref();
    });
}

interface Running {
  readonly ID: string;
  readonly Running: boolean;
  readonly Pid: number;
  readonly ContainerID: string;
  readonly ProcessConfig: {
    readonly tty: boolean;
    readonly entrypoint: string;
    readonly arguments: readonly string[];
    readonly user?: string;
  };
}

const ls: Command = {
  usage: 'exec ls [OPTIONS] [CONTAINER]',
  about: 'Lists the commands that run in containers by exec, of any client.',
  options: { quiet: { short: '-q', about: 'only the ids' }, json: { about: 'as JSON' } },
  operands: { least: 0, most: 1 },
  async run(parsed) {
    const [name] = parsed.operands;
    const found = await withEngine(async (client) => {
      const names = name
        ? [name]
        : (await client.json<readonly Listed[]>('GET', '/containers/json')).map(({ Id }) => Id);
      const containers = await Promise.all(
        names.map((one) =>
          name ? inspectContainer(client, one) : inspectContainer(client, one).catch(() => undefined),
        ),
      );
      const execs = await Promise.all(
        containers
          .filter((container) => container !== undefined)
          .flatMap(({ Name, ExecIDs }) =>
            (ExecIDs ?? []).map(async (id) => {
              // One that ended meanwhile is none that runs.
              const state = await client.json<Running>('GET', `/exec/${id}/json`).catch(() => undefined);
              return state?.Running ? { container: Name.slice(1), ...state } : undefined;
            }),
          ),
      );
      return execs.filter((one) => one !== undefined);
    });
    if (parsed.flag('json')) printJson(found);
    else if (parsed.flag('quiet')) process.stdout.write(found.map(({ ID }) => `${ID.slice(0, 12)}\n`).join(''));
    else
      process.stdout.write(
        table(
          ['ID', 'CONTAINER', 'PID', 'USER', 'COMMAND'],
          found.map(({ ID, container, Pid, ProcessConfig }) => [
            ID.slice(0, 12),
            container,
            String(Pid),
            ProcessConfig.user ?? '-',
            [ProcessConfig.entrypoint, ...ProcessConfig.arguments].join(' '),
          ]),
        ),
      );
    return 0;
  },
};

const kill: Command = {
  usage: 'exec kill [OPTIONS] ID...',
  about: 'Sends a signal to commands that run by exec and to what they started, KILL when none is named.',
  options: {
    signal: { short: '-s', value: 'SIGNAL', about: 'by name or number' },
    json: { about: 'the ids, as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    await withEngine(async (client) => {
      for (const id of parsed.operands) {
        await client.json('POST', `/exec/${encodeURIComponent(id)}/kill`, {
          query: { signal: parsed.value('signal') ?? 'KILL' },
        });
        if (!parsed.flag('json')) process.stdout.write(`${plain(id)}\n`);
      }
    });
    if (parsed.flag('json')) printJson(parsed.operands);
    return 0;
  },
};
