import { EngineError, messageOf } from '../../base/errors.ts';
import { ResponseError } from '../../client/client.ts';
import { type Command, type Parsed, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { engineNames } from '../engine-names.ts';
import { environmentOf } from '../environment.ts';
import { runInForeground, startFailureCode, startOrRemove } from '../foreground.ts';
import { nearest } from '../missing.ts';
import { pullImage } from '../pull-progress.ts';
import { paint, plain, printError, printJson } from '../terminal.ts';

const help = 'berth run --help';

/**
 * `berth run`. Its defaults protect, which through the API they may not: ports are published on loopback unless an address
 * is given, an init process reaps, processes are limited, raw sockets and new privileges are withheld.
 */
export const run: Command = {
  usage: 'run [OPTIONS] IMAGE [COMMAND] [ARG...]',
  about:
    'Creates a container from an image and starts it. Published ports are open to this machine only, unless --public or an\naddress is given; an init process is added; at most 4096 processes; no raw sockets; no new privileges.',
  options: {
    detach: { short: '-d', about: 'leave it running and print what to do next' },
    interactive: { short: '-i', about: 'keep stdin open' },
    tty: { short: '-t', about: 'give it a terminal' },
    rm: { about: 'remove it when it ends' },
    name: { value: 'NAME', about: 'its name; one is made up when none is given' },
    env: { short: '-e', value: 'NAME=VALUE', many: true, about: 'an environment variable' },
    'env-file': { value: 'FILE', many: true, about: 'environment variables, one a line' },
    volume: { short: '-v', value: 'SOURCE:TARGET[:ro]', many: true, about: 'a host directory or a volume' },
    publish: { short: '-p', value: '[ADDRESS:]HOST:PORT', many: true, about: 'a port, reachable from this machine' },
    public: { about: 'published ports are reachable from everywhere' },
    workdir: { short: '-w', value: 'DIR', about: 'the working directory' },
    user: { short: '-u', value: 'USER[:GROUP]', about: 'who runs it' },
    entrypoint: { value: 'PROGRAM', about: 'instead of the one of the image' },
    hostname: { short: '-h', value: 'NAME', about: 'its host name' },
    network: { value: 'MODE', about: 'bridge, host, none, container:NAME, or a network of your own' },
    memory: { short: '-m', value: 'BYTES', about: 'its memory, as 64m' },
    cpus: { value: 'N', about: 'how many processors, as 0.5' },
    label: { short: '-l', value: 'NAME=VALUE', many: true, about: 'a label' },
    runtime: { value: 'NAME', about: 'crun, runc or another that is configured' },
    'read-only': { about: 'its file system cannot be written' },
    privileged: { about: 'no confinement at all' },
    platform: { value: 'OS/ARCH', about: 'which of the image’s platforms' },
    json: { about: 'with -d: its id, name and ports as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  passThrough: true,
  examples: ['berth run -d -p 8080:80 berth/welcome', 'berth run -it --rm debian:12 bash'],
  async run(parsed) {
    const body = createBody(parsed);
    const [image] = parsed.operands;
    const detach = parsed.flag('detach');
    const stdin = parsed.flag('interactive');
    const tty = parsed.flag('tty');
    return await withEngine(async (client) => {
      const create = () =>
        client.json<{ Id: string }>('POST', '/containers/create', {
          query: { name: parsed.value('name'), platform: parsed.value('platform') },
          json: body,
        });
      let id: string;
      try {
        ({ Id: id } = await create());
      } catch (error) {
        if (!(error instanceof ResponseError) || error.status !== 404 || !/no such image/i.test(error.message))
          throw error;
        process.stderr.write(`${plain(image!)} is not here: getting it from its registry\n`);
        await pullImage(client, image!, { platform: parsed.value('platform') }).catch(async (failed: unknown) => {
          const near = nearest(image!, await engineNames(client, 'images').catch(() => []));
          if (near === undefined || !(failed instanceof EngineError)) throw failed;
          throw new EngineError(failed.kind, failed.message, {
            cause: failed,
            hint: `did you mean ${near}, which is here?`,
          });
        });
        ({ Id: id } = await create());
      }
      if (detach) {
        await startOrRemove(client, id);
        const { Name, NetworkSettings } = await client.json<{
          Name: string;
          NetworkSettings: { Ports: Record<string, { HostIp: string; HostPort: string }[] | null> };
        }>('GET', `/containers/${id}/json`);
        const name = Name.slice(1);
        const ports = Object.values(NetworkSettings.Ports).flatMap((bindings) => bindings ?? []);
        if (parsed.flag('json')) {
          printJson({ id, name, ports: NetworkSettings.Ports });
          return 0;
        }
        const where = [...new Set(ports.map(({ HostPort }) => `http://localhost:${HostPort}`))].join(' ');
        process.stdout.write(
          `${paint('green', '✓')} ${plain(name)}  running${where ? `  ${where}${parsed.flag('public') ? '' : '  (only this machine; --public to open)'}` : ''}\n`,
        );
        process.stdout.write(`  logs: berth logs ${plain(name)}   stop: berth stop ${plain(name)}\n`);
        return 0;
      }
      return await runInForeground(client, id, { stdin, tty, autoRemove: parsed.flag('rm') });
    }).catch((error: unknown) => {
      printError(messageOf(error), error instanceof EngineError ? error.hint : undefined);
      return startFailureCode(error);
    });
  },
};

function createBody(parsed: Parsed): Record<string, unknown> {
  const [image, ...command] = parsed.operands;
  const stdin = parsed.flag('interactive');
  const detach = parsed.flag('detach');
  const published = publishedPorts(parsed.values('publish'), parsed.flag('public') ? '' : '127.0.0.1');
  const privileged = parsed.flag('privileged');
  const entrypoint = parsed.value('entrypoint');
  return {
    Image: image,
    ...(command.length > 0 ? { Cmd: command } : {}),
    ...(entrypoint === undefined ? {} : { Entrypoint: [entrypoint] }),
    Env: environmentOf(parsed, help),
    Tty: parsed.flag('tty'),
    OpenStdin: stdin,
    StdinOnce: stdin && !detach,
    AttachStdin: stdin && !detach,
    AttachStdout: !detach,
    AttachStderr: !detach,
    WorkingDir: parsed.value('workdir') ?? '',
    User: parsed.value('user') ?? '',
    Hostname: parsed.value('hostname') ?? '',
    Labels: Object.fromEntries(parsed.values('label').map((entry) => splitOnce(entry, '='))),
    ExposedPorts: Object.fromEntries(Object.keys(published).map((port) => [port, {}])),
    HostConfig: {
      Binds: parsed.values('volume'),
      PortBindings: published,
      AutoRemove: parsed.flag('rm'),
      NetworkMode: parsed.value('network') ?? 'bridge',
      Memory: bytesOf(parsed.value('memory')),
      NanoCpus: cpusOf(parsed.value('cpus')),
      ReadonlyRootfs: parsed.flag('read-only'),
      Runtime: parsed.value('runtime') ?? '',
      Privileged: privileged,
      Init: true,
      PidsLimit: 4096,
      ...(privileged ? {} : { CapDrop: ['NET_RAW'], SecurityOpt: ['no-new-privileges'] }),
    },
  };
}

/** `[ADDRESS:]HOST:PORT[/PROTOCOL]` or `PORT`; without an address `fallback` is taken. */
export function publishedPorts(
  texts: readonly string[],
  fallback: string,
): Record<string, { HostIp: string; HostPort: string }[]> {
  const ports: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const text of texts) {
    const match = /^(?:(?:(\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(\d*):)?(\d+)(?:\/(tcp|udp|sctp))?$/.exec(text);
    if (!match) throw new UsageError(`-p ${text}: expected [ADDRESS:]HOST:PORT[/PROTOCOL]`, help);
    const [, address, host = '', port, protocol = 'tcp'] = match;
    const bindings = (ports[`${port}/${protocol}`] ??= []);
    bindings.push({ HostIp: address?.replace(/[[\]]/g, '') ?? fallback, HostPort: host });
  }
  return ports;
}

function splitOnce(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

export function bytesOf(text: string | undefined, flag = '--memory'): number {
  if (text === undefined) return 0;
  const match = /^(\d+(?:\.\d+)?)([bkmgt]?)b?$/i.exec(text);
  if (!match) throw new UsageError(`${flag} ${text}: expected a size as 64m or 1g`, help);
  return Math.round(Number(match[1]) * 1024 ** Math.max(0, 'bkmgt'.indexOf(match[2]!.toLowerCase() || 'b')));
}

export function cpusOf(text: string | undefined): number {
  const cpus = Number(text ?? 0);
  if (Number.isNaN(cpus) || cpus < 0) throw new UsageError(`--cpus ${text}: expected a number as 0.5 or 2`, help);
  return Math.round(cpus * 1e9);
}
