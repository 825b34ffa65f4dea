import { EngineError } from '../../base/errors.ts';
import { type Command, type Option, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { inspectContainer } from '../container-info.ts';
import { attachTo, runInForeground } from '../foreground.ts';
import { plain } from '../terminal.ts';
import { startAll } from './lifecycle.ts';

const detachKeys: Option = { value: 'KEYS', about: 'what leaves it running (ctrl-p,ctrl-q)' };
const signals: Option = { about: 'signals go to its program (true)' };

export const attach: Command = {
  usage: 'attach [OPTIONS] CONTAINER',
  about:
    'Connects this terminal with a running container: its output, its keyboard where it has one. Ctrl-P Ctrl-Q leaves it\nrunning. Ends with the exit code of the container.',
  options: {
    'no-stdin': { about: 'only look' },
    'detach-keys': detachKeys,
    'sig-proxy': signals,
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    return await withEngine(async (client) => {
      const { Id, Name, Config, State, HostConfig } = await inspectContainer(client, parsed.operands[0]!);
      const name = plain(Name.slice(1));
      if (State.Status === 'paused')
        throw new EngineError('conflict', `${name} is paused`, { hint: `berth unpause ${name}` });
      if (!State.Running)
        throw new EngineError('conflict', `${name} does not run (${State.Status})`, { hint: `berth start -a ${name}` });
      return await attachTo(client, Id, {
        stdin: Config.OpenStdin && !parsed.flag('no-stdin'),
        tty: Config.Tty,
        autoRemove: HostConfig.AutoRemove,
        detachKeys: parsed.value('detach-keys'),
        signals: parsed.flag('sig-proxy', true),
      });
    });
  },
};

export const start: Command = {
  usage: 'start [OPTIONS] CONTAINER...',
  about: 'Starts containers that do not run; with -a this terminal shows one of them until it ends.',
  options: {
    attach: { short: '-a', about: 'show its output, pass signals on, end with its exit code' },
    interactive: { short: '-i', about: 'the same, and give it the keyboard' },
    'detach-keys': detachKeys,
    'sig-proxy': signals,
    json: { about: 'what became of each, as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    if (!parsed.flag('attach') && !parsed.flag('interactive')) return await startAll(parsed);
    if (parsed.operands.length > 1) throw new UsageError('one container is attached at a time', 'berth start --help');
    return await withEngine(async (client) => {
      const { Id, Config, State, HostConfig } = await inspectContainer(client, parsed.operands[0]!);
      const how = {
        stdin: Config.OpenStdin && parsed.flag('interactive'),
        tty: Config.Tty,
        autoRemove: HostConfig.AutoRemove,
        detachKeys: parsed.value('detach-keys'),
        signals: parsed.flag('sig-proxy', true),
        removeUnstarted: false,
      };
      return State.Running ? await attachTo(client, Id, how) : await runInForeground(client, Id, how);
    });
  },
};
