import { EngineError, messageOf } from '../../base/errors.ts';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { type ContainerInfo, inspectContainer } from '../container-info.ts';
import { runInForeground, startFailureCode } from '../foreground.ts';
import { pullImage } from '../pull-progress.ts';
import { imageWithShell } from '../shell-images.ts';
import { paint, plain, printError } from '../terminal.ts';

export const debug: Command = {
  usage: 'debug [OPTIONS] CONTAINER [COMMAND] [ARG...]',
  about:
    'Opens a shell beside a running container, for those that have none: another container from an image with a shell, in\nthe same processes, network and (where it is shareable) IPC. Its files are below /proc/1/root. Removed afterwards.',
  options: {
    image: { value: 'IMAGE', about: 'the image with the tools (a local one that has a shell)' },
    user: { short: '-u', value: 'USER[:GROUP]', about: 'who runs it (0)' },
    env: { short: '-e', value: 'NAME=VALUE', many: true, about: 'an environment variable' },
    privileged: { about: 'no confinement: to trace, mount, load' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  passThrough: true,
  examples: ['berth debug web', 'berth debug --image nicolaka/netshoot web tcpdump -i eth0'],
  async run(parsed) {
    const [name, ...command] = parsed.operands;
    return await withEngine(async (client) => {
      const target = await inspectContainer(client, name!);
      const title = plain(target.Name.slice(1));
      if (target.State.Status !== 'running')
        throw new EngineError(
          'conflict',
          `${title} does not run (${target.State.Status}): there is nothing to look into`,
          {
            hint:
              target.State.Status === 'paused' ? `berth unpause ${title}` : `berth why ${title}, berth start ${title}`,
          },
        );
      const image = parsed.value('image') ?? (await imageWithShell(client, target.Config.Image));
      if (image === undefined)
        throw new EngineError('not-found', 'no image with a shell is on this machine', {
          hint: `berth debug --image busybox ${title}   (fetches it)`,
        });
      const interactive = process.stdin.isTTY === true || command.length === 0;
      const tty = process.stdin.isTTY === true && process.stdout.isTTY === true;
      const body = {
        ...debugBody(target, command),
        Image: image,
        User: parsed.value('user') ?? '0',
        Env: parsed.values('env'),
        Tty: tty,
        OpenStdin: interactive,
        StdinOnce: interactive,
        AttachStdin: interactive,
        AttachStdout: true,
        AttachStderr: true,
      };
      if (parsed.flag('privileged'))
        Object.assign(body.HostConfig, { Privileged: true, CapAdd: null, SecurityOpt: null });
      const id = await createOrPull(client, image, body);
      if (tty)
        process.stderr.write(
          `${paint('dim', `in the processes and network of ${title}, with the tools of ${plain(image)}; its files: /proc/1/root`, process.stderr)}\n`,
        );
      try {
        return await runInForeground(client, id, { stdin: interactive, tty, autoRemove: true });
      } catch (error) {
        printError(messageOf(error), `is ${command[0] ?? 'sh'} in ${image}? berth debug --image IMAGE ${title}`);
        return startFailureCode(error);
      }
    });
  },
};

/** A shell that is found by itself, the better one where there is one. */
const anyShell = 'if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi';

export function debugBody({ Id, HostConfig }: ContainerInfo, command: readonly string[]) {
  const { IpcMode: ipc } = HostConfig;
  return {
    Entrypoint: command.length > 0 ? [command[0]!] : ['sh'],
    Cmd: command.length > 0 ? command.slice(1) : ['-c', anyShell],
    Labels: { 'berth.debug': Id },
    // The image's own check would be a health check of the shell.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      AutoRemove: true,
      PidMode: `container:${Id}`,
      NetworkMode: `container:${Id}`,
      ...(ipc === 'shareable' ? { IpcMode: `container:${Id}` } : ipc === 'private' ? {} : { IpcMode: ipc }),
      // To see /proc/1/root and to trace.
      CapAdd: ['SYS_PTRACE'],
    },
  };
}

async function createOrPull(client: EngineClient, image: string, json: object): Promise<string> {
  const create = async () => (await client.json<{ Id: string }>('POST', '/containers/create', { json })).Id;
  try {
    return await create();
  } catch (error) {
    if (!(error instanceof ResponseError) || error.status !== 404 || !/no such image/i.test(error.message)) throw error;
    await pullImage(client, image);
    return await create();
  }
}
