import { EngineError, messageOf } from '../../base/errors.ts';
import type { EngineClient } from '../../client/client.ts';
import type { Command, Option, Parsed } from '../command.ts';
import { withEngine } from '../connect.ts';
import { withNearName } from '../missing.ts';
import { plain, printError, printJson } from '../terminal.ts';

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
      const outcomes: { container: string; done: boolean; error?: string }[] = [];
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
            outcomes.push({ container, done: false, error: messageOf(error) });
            const told = await withNearName(client, error);
            printError(messageOf(told), told instanceof EngineError ? told.hint : undefined);
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

const time: Option = { short: '-t', value: 'SECONDS', about: 'how long it may take before it is killed' };
const signal: Option = { short: '-s', value: 'SIGNAL', about: 'by name or number' };

export const start = each('start', 'Starts containers that do not run.', {}, (client, container) =>
  post(client, container, 'start'),
);
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
    volumes: { short: '-v', about: 'with their anonymous volumes' },
  },
  (client, container, parsed) =>
    client.json('DELETE', `/containers/${encodeURIComponent(container)}`, {
      query: { force: parsed.flag('force') ? 1 : 0, v: parsed.flag('volumes') ? 1 : 0 },
    }),
);
