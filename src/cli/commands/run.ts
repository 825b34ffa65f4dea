import { writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { EngineError, messageOf } from '../../base/errors.ts';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import type { Command, Parsed } from '../command.ts';
import { UsageError } from '../command.ts';
import { withAddressHolder } from '../conflicts.ts';
import { withEngine } from '../connect.ts';
import { type ContainerInfo, inspectContainer } from '../container-info.ts';
import { createBody } from '../create-body.ts';
import { createOptions } from '../create-options.ts';
import { engineNames } from '../engine-names.ts';
import { runInForeground, StartError, startOrRemove } from '../foreground.ts';
import { nearest } from '../missing.ts';
import { pullImage } from '../pull-progress.ts';
import { outerAddresses, reachOf, reachText } from '../reach.ts';
import { paint, plain, plainLine, printJson } from '../terminal.ts';

const unhealthy = { value: 'restart|stop|none', about: 'what is done when it becomes unhealthy (none)' } as const;

const protections =
  'Published ports are open to this machine only, unless --public or an address is given; a first process reaps\n(--init=false); at most 4096 processes (--pids-limit); no raw sockets (--cap-add NET_RAW); no new privileges\n(--security-opt no-new-privileges=false).';

export const run: Command = {
  usage: 'run [OPTIONS] IMAGE [COMMAND] [ARG...]',
  about: `Creates a container from an image and starts it.\n${protections}`,
  options: {
    detach: { short: '-d', about: 'leave it running and print what to do next' },
    ...createOptions,
    'on-unhealthy': unhealthy,
    'sig-proxy': { about: 'signals go to its program (true)' },
    'detach-keys': { value: 'KEYS', about: 'what leaves it running (ctrl-p,ctrl-q)' },
    json: { about: 'with -d: its id, name, ports and whether it runs, as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  passThrough: true,
  examples: [
    'berth run -d -p 8080:80 berth/welcome',
    'berth run -it --rm debian:12 bash',
    'berth run -d --health-cmd "wget -qO- localhost" --on-unhealthy restart web:1',
  ],
  async run(parsed) {
    const detach = parsed.flag('detach');
    const body = createBody(parsed, { help: 'berth run --help', detach });
    return await withEngine(async (client) => {
      const id = await createContainer(client, parsed, body);
      if (detach) {
        await startOrRemove(client, id).catch(async (error: unknown) => {
          throw await withAddressHolder(client, error, addressesOf(body));
        });
        await sayStarted(await inspectContainer(client, id), parsed);
        return 0;
      }
      const { AttachStdin, AttachStdout, AttachStderr } = body as Readonly<Record<string, boolean>>;
      return await runInForeground(client, id, {
        stdin: parsed.flag('interactive') && AttachStdin === true,
        tty: parsed.flag('tty'),
        autoRemove: parsed.flag('rm'),
        outputs: { stdout: AttachStdout === true, stderr: AttachStderr === true },
        signals: parsed.flag('sig-proxy', true),
        detachKeys: parsed.value('detach-keys'),
      }).catch(async (error: unknown) => {
        throw await withAddressHolder(client, error, addressesOf(body));
      });
    }).catch((error: unknown) => {
      throw new StartError(error);
    });
  },
};

export const create: Command = {
  usage: 'create [OPTIONS] IMAGE [COMMAND] [ARG...]',
  about: `Creates a container from an image, to be started later; prints its id.\n${protections}`,
  options: { ...createOptions, 'on-unhealthy': unhealthy, json: { about: 'its id as JSON' } },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  passThrough: true,
  async run(parsed) {
    const body = createBody(parsed, { help: 'berth create --help', detach: false });
    const id = await withEngine((client) => createContainer(client, parsed, body));
    if (parsed.flag('json')) printJson({ id });
    else process.stdout.write(`${id}\n`);
    return 0;
  },
};

/** Its ID. The image is fetched where it is not here, or as `--pull` says. */
async function createContainer(
  client: EngineClient,
  parsed: Parsed,
  body: Readonly<Record<string, unknown>>,
): Promise<string> {
  const image = parsed.operands[0]!;
  const pull = parsed.value('pull') ?? 'missing';
  if (!['always', 'missing', 'never'].includes(pull))
    throw new UsageError(`--pull ${pull}: expected always, missing or never`, 'berth run --help');
  const cidfile = parsed.value('cidfile');
  if (cidfile !== undefined) claim(cidfile);
  const platform = parsed.value('platform');
  const quiet = parsed.flag('quiet') || parsed.flag('json');
  if (pull === 'always') await pullImage(client, image, { platform, quiet });
  const make = async () => {
    const json = await onLoopback(client, image, parsed, body);
    const query = { name: parsed.value('name'), platform };
    return await client.json<{ Id: string; Warnings: readonly string[] | null }>('POST', '/containers/create', {
      query,
      json,
    });
  };
  let made: Awaited<ReturnType<typeof make>>;
  try {
    made = await make();
  } catch (error) {
    if (pull !== 'missing' || !isMissingImage(error)) throw error;
    if (!quiet) process.stderr.write(`${plain(image)} is not here: getting it from its registry\n`);
    await pullImage(client, image, { platform, quiet }).catch(async (failed: unknown) => {
      const near = nearest(image, await engineNames(client, 'images').catch(() => []));
      if (near === undefined || !(failed instanceof EngineError)) throw failed;
      throw new EngineError(failed.kind, failed.message, {
        cause: failed,
        hint: `did you mean ${near}, which is here?`,
      });
    });
    made = await make();
  }
  for (const warning of made.Warnings ?? [])
    process.stderr.write(`${paint('yellow', 'warning:', process.stderr)} ${plain(warning)}\n`);
  if (cidfile !== undefined) writeFileSync(cidfile, made.Id);
  return made.Id;
}

/** Those that were asked for in its networks. */
function addressesOf(body: Readonly<Record<string, unknown>>): readonly string[] {
  const { EndpointsConfig } = body['NetworkingConfig'] as NetworkingFields;
  return Object.values(EndpointsConfig).flatMap(({ IPAMConfig }) =>
    [IPAMConfig?.IPv4Address, IPAMConfig?.IPv6Address].filter((address) => address !== undefined),
  );
}

interface NetworkingFields {
  readonly EndpointsConfig: Readonly<
    Record<string, { readonly IPAMConfig?: { readonly IPv4Address?: string; readonly IPv6Address?: string } }>
  >;
}

const isMissingImage = (error: unknown) =>
  error instanceof ResponseError && error.status === 404 && /no such image/i.test(error.message);

/** The file of `--cidfile` must be new. */
function claim(path: string): void {
  try {
    writeFileSync(path, '', { flag: 'wx', mode: 0o644 });
  } catch (error) {
    throw new UsageError(`--cidfile ${path} cannot be made: ${messageOf(error)}`, 'name a file that is not there');
  }
}

/** With -P and without --public, each port that is exposed is published on loopback, at a free port. */
async function onLoopback(
  client: EngineClient,
  image: string,
  parsed: Parsed,
  body: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  if (!parsed.flag('publish-all') || parsed.flag('public')) return body;
  const { Config } = await client.json<{ Config: { ExposedPorts?: Record<string, unknown> } | null }>(
    'GET',
    `/images/${image}/json`,
  );
  const { ExposedPorts, HostConfig } = body as {
    ExposedPorts?: Record<string, unknown>;
    HostConfig: { PortBindings: Record<string, unknown> };
  };
  const free = Object.keys({ ...Config?.ExposedPorts, ...ExposedPorts })
    .filter((port) => !(port in HostConfig.PortBindings))
    .map((port) => [port, [{ HostIp: '127.0.0.1', HostPort: '' }]] as const);
  return {
    ...body,
    ExposedPorts: { ...Config?.ExposedPorts, ...ExposedPorts },
    HostConfig: {
      ...HostConfig,
      PublishAllPorts: false,
      PortBindings: { ...HostConfig.PortBindings, ...Object.fromEntries(free) },
    },
  };
}

/** What runs now, where it answers and to whom, and what may be done next. */
async function sayStarted({ Id, Name, NetworkSettings, State }: ContainerInfo, parsed: Parsed): Promise<void> {
  const name = plain(Name.slice(1));
  if (parsed.flag('json')) {
    const ended = State.Running ? {} : { exitCode: State.ExitCode };
    printJson({ id: Id, name, running: State.Running, ...ended, ports: NetworkSettings.Ports });
    return;
  }
  const lines = [
    `${paint('green', '✓')} ${name}  ${State.Running ? 'running' : `ended already, exit code ${State.ExitCode}`}`,
  ];
  const host = outerAddresses(networkInterfaces(), '');
  for (const [inside, bindings] of Object.entries(NetworkSettings.Ports)) {
    const [port, protocol] = inside.split('/');
    for (const group of Map.groupBy(bindings ?? [], ({ HostPort }) => HostPort).values()) {
      const addresses = group.map(({ HostIp }) => HostIp);
      const reach = reachText(reachOf(addresses, host));
      const any = addresses.some((address) => ['0.0.0.0', '127.0.0.1', '::', '::1'].includes(address));
      const at = any ? 'localhost' : addresses[0]!.includes(':') ? `[${addresses[0]}]` : addresses[0];
      const where =
        protocol === 'tcp' ? `http://${at}:${group[0]!.HostPort}` : `${protocol} ${at}:${group[0]!.HostPort}`;
      lines.push(`  ${where}  → ${port}  open to ${plainLine(reach)}`);
    }
  }
  const local = Object.values(NetworkSettings.Ports).some((bindings) =>
    bindings?.every(({ HostIp }) => HostIp === '127.0.0.1'),
  );
  if (local) lines.push('  (--public opens ports to others)');
  lines.push(State.Running ? `  logs: berth logs ${name}   stop: berth stop ${name}` : `  why: berth why ${name}`);
  process.stdout.write(`${lines.join('\n')}\n`);
}
