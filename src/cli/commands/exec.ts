import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { converse } from '../streams.ts';

export const exec: Command = {
  usage: 'exec [OPTIONS] CONTAINER COMMAND [ARG...]',
  about: 'Runs a command in a running container.',
  options: {
    detach: { short: '-d', about: 'leave it running' },
    interactive: { short: '-i', about: 'keep stdin open' },
    tty: { short: '-t', about: 'give it a terminal' },
    env: { short: '-e', value: 'NAME=VALUE', many: true, about: 'an environment variable' },
    user: { short: '-u', value: 'USER[:GROUP]', about: 'who runs it' },
    workdir: { short: '-w', value: 'DIR', about: 'the working directory' },
    privileged: { about: 'no confinement' },
  },
  operands: { least: 2, most: Number.POSITIVE_INFINITY },
  passThrough: true,
  async run(parsed) {
    const [container, ...command] = parsed.operands;
    const detach = parsed.flag('detach');
    const tty = parsed.flag('tty');
    const stdin = parsed.flag('interactive') && !detach;
    return await withEngine(async (client) => {
      const { Id } = await client.json<{ Id: string }>('POST', `/containers/${encodeURIComponent(container!)}/exec`, {
        json: {
          Cmd: command,
          AttachStdin: stdin,
          AttachStdout: !detach,
          AttachStderr: !detach,
          Tty: tty,
          Env: parsed.values('env'),
          User: parsed.value('user') ?? '',
          WorkingDir: parsed.value('workdir') ?? '',
          Privileged: parsed.flag('privileged'),
        },
      });
      const start = { json: { Detach: detach, Tty: tty } };
      if (detach) {
        await client.json('POST', `/exec/${Id}/start`, start);
        return 0;
      }
      const { stream, multiplexed } = await client.hijack(`/exec/${Id}/start`, start);
      await converse({ client, stream, multiplexed, stdin, tty, resizePath: `/exec/${Id}/resize` });
      return (await client.json<{ ExitCode: number | null }>('GET', `/exec/${Id}/json`)).ExitCode ?? 1;
    });
  },
};
