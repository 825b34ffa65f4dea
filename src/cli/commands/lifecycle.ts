import { type ErrorCode, errorCodeOf } from '../../base/error-codes.ts';
import { messageOf } from '../../base/errors.ts';
import type { EngineClient } from '../../client/client.ts';
import type { Command, Option, Parsed } from '../command.ts';
import { withEngine } from '../connect.ts';
import { withNearName } from '../missing.ts';
import { plain, printFailure, printJson } from '../terminal.ts';

type Query = Readonly<Record<string, string | number | undefined>>;

/** A command that does one thing to each container that is named, and goes on after one that failed. */
function each(
  name: string,
  about: string,
  options: Readonly<Record<string, Option>>,
  act: (client: EngineClient, container: string, parsed: Parsed) => Promise<unknown>,
): Command {
  return {
    usage: `${name} [OPTIONS] CONTAINER...`,
    about,
    options: { ...options, json: { about: 'what became of each, as JSON' } },
    operands: { least: 1, most: Number.POSITIVE_INFINITY },
    async run(parsed) {
      const json = parsed.flag('json');
      const outcomes: { container: string; done: boolean; error?: string; code?: ErrorCode }[] = [];
      let failed = 0;
      await withEngine(async (client) => {
        for (const container of parsed.operands) {
          try {
            await act(client, container, parsed);
            outcomes.push({ container, done: true });
            if (!json) process.stdout.write(`${plain(container)}\n`);
          } catch (error) {
            if (parsed.operands.length === 1) throw error;
            failed++;
            outcomes.push({ container, done: false, error: messageOf(error), code: errorCodeOf(error) });
            printFailure(await withNearName(client, error), json);
          }
        }
      });
      if (json) printJson(outcomes);
      return failed > 0 ? 1 : 0;
    },
  };
}

const post = (client: EngineClient, container: string, action: string, query: Query = {}) =>
  client.json('POST', `/containers/${encodeURIComponent(container)}/${action}`, { query });

const time: Option = {
  short: '-t',
  also: ['timeout'],
  value: 'SECONDS',
  about: 'how long it may take before it is killed',
};
const signal: Option = { short: '-s', value: 'SIGNAL', about: 'by name or number' };

/** `berth start` without a terminal. */
export const startAll = (parsed: Parsed) =>
  each('start', '', {}, (client, container) => post(client, container, 'start')).run(parsed);
export const stop = each(
  'stop',
  'Asks containers to end, and kills those that do not in time.',
  { time, signal },
  (client, container, parsed) =>
    post(client, container, 'stop', { t: parsed.value('time'), signal: parsed.value('signal') }),
);
export const restart = each(
  'restart',
  'Stops containers and starts them again.',
  { time, signal },
  (client, container, parsed) =>
    post(client, container, 'restart', { t: parsed.value('time'), signal: parsed.value('signal') }),
);
export const kill = each(
  'kill',
  'Sends a signal to containers, KILL when none is named.',
  { signal },
  (client, container, parsed) => post(client, container, 'kill', { signal: parsed.value('signal') ?? 'KILL' }),
);
export const rm = each(
  'rm',
  'Removes containers.',
  {
    force: { short: '-f', about: 'those that run too: they are killed' },
    link: { short: '-l', about: 'only the link of this name' },
    volumes: { short: '-v', about: 'with their anonymous volumes' },
  },
  (client, container, parsed) =>
    client.json('DELETE', `/containers/${encodeURIComponent(container)}`, {
      query: {
        force: parsed.flag('force') ? 1 : 0,
        v: parsed.flag('volumes') ? 1 : 0,
        link: parsed.flag('link') ? 1 : undefined,
      },
    }),
);

export const pause = each('pause', 'Holds all processes of containers where they are.', {}, (client, container) =>
  post(client, container, 'pause'),
);
export const unpause = each('unpause', 'Lets paused containers go on.', {}, (client, container) =>
  post(client, container, 'unpause'),
);

export const wait: Command = {
  usage: 'wait [OPTIONS] CONTAINER...',
  about: 'Waits until containers have ended, and prints their exit codes, one a line.',
  options: {
    condition: { value: 'not-running|next-exit|removed', about: 'what is waited for (not-running)' },
    json: { about: 'as JSON' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    const condition = parsed.value('condition');
    const codes = await withEngine(async (client) => {
      const all: { container: string; exitCode: number }[] = [];
      for (const container of parsed.operands) {
        const path = `/containers/${encodeURIComponent(container)}/wait`;
        const { StatusCode } = await client.json<{ StatusCode: number }>('POST', path, { query: { condition } });
        if (!parsed.flag('json')) process.stdout.write(`${StatusCode}\n`);
        all.push({ container, exitCode: StatusCode });
      }
      return all;
    });
    if (parsed.flag('json')) printJson(codes);
    return 0;
  },
};

export const rename: Command = {
  usage: 'rename [OPTIONS] CONTAINER NEW_NAME',
  about: 'Gives a container another name.',
  options: { json: { about: 'both names as JSON' } },
  operands: { least: 2, most: 2 },
  async run(parsed) {
    const [container, name] = parsed.operands;
    await withEngine((client) => post(client, container!, 'rename', { name: name! }));
    if (parsed.flag('json')) printJson({ container, name });
    return 0;
  },
};
