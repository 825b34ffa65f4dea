import { ResponseError } from '../../client/client.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { type ContainerInfo, inspectContainer } from '../container-info.ts';
import { pastEvents } from '../history.ts';
import { logTail, tailOf } from '../log-tail.ts';
import { logOfRemoved, removedContainer } from '../removed.ts';
import { usageOf } from '../stats.ts';
import { type Story, tell, tellOfRemoved } from '../story.ts';
import { paint, plain, plainLine, printJson } from '../terminal.ts';
import { clock } from '../words.ts';

export const why: Command = {
  usage: 'why [OPTIONS] CONTAINER',
  about:
    'Says in plain words why a container is in the state that it is in: who ended it and when, what the exit code means,\nhow its restart policy goes on, its last output and events, and what to try next.',
  options: {
    tail: { short: '-n', value: 'LINES', about: 'how many lines of its output (10)' },
    json: { about: 'as JSON' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const lines = Number(parsed.value('tail') ?? 10);
    const story = await withEngine(async (client) => {
      const name = parsed.operands[0]!;
      let container: ContainerInfo;
      try {
        container = await inspectContainer(client, name);
      } catch (error) {
        if (!(error instanceof ResponseError) || error.status !== 404) throw error;
        const kept = await removedContainer(client, name, error).catch(() => undefined);
        const events = await pastEvents(client, kept?.id ?? name);
        const log = kept && lines > 0 ? await tailOf(client, logOfRemoved(kept), lines) : undefined;
        const gone = tellOfRemoved({ name, events, kept, log, now: Date.now() });
        if (!gone) throw error;
        return gone;
      }
      const running = container.State.Status === 'running';
      const [events, log, usage] = await Promise.all([
        pastEvents(client, container.Id),
        lines > 0 ? logTail(client, container, lines) : [],
        running ? usageOf(client, container.Id) : undefined,
      ]);
      const memory = typeof usage === 'object' ? usage.memory : undefined;
      return tell({ container, events, log, memory, now: Date.now() });
    });
    if (parsed.flag('json')) printJson(story);
    else process.stdout.write(render(story));
    return 0;
  },
};

export function render({ headline, facts, log, events, advice }: Story): string {
  const width = Math.max(...facts.map(({ label }) => label.length), 'events'.length);
  const row = (label: string, text: string) => `  ${paint('dim', label.padEnd(width))}  ${text}`;
  const block = (label: string, first: string, lines: readonly string[]) => [
    row(label, first),
    ...lines.map((line) => `${' '.repeat(width + 4)}${line}`),
  ];
  const out = [
    paint('bold', plainLine(headline)),
    '',
    ...facts.map(({ label, text }) => row(label, plainLine(text))),
    ...block(
      'output',
      log === undefined ? 'none that can be read' : log.length === 0 ? 'none' : 'the last lines',
      (log ?? []).map((line) => `| ${plainLine(line)}`),
    ),
    ...(events.length > 0
      ? block(
          'events',
          'of those that the engine remembers',
          events.map(({ at, what }) => `${clock(Date.parse(at)).slice(11)}  ${plainLine(what)}`),
        )
      : []),
    ...(advice.length > 0 ? block('try', plain(advice[0]!), advice.slice(1).map(plain)) : []),
  ];
  return `${out.join('\n')}\n`;
}
