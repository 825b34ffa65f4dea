import type { EngineClient } from '../../client/client.ts';
import { FrameReader } from '../../protocol/frames.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { inspectContainer } from '../container-info.ts';
import { logOfRemoved, removedContainer } from '../removed.ts';
import { coloured, jsonText, PlainOutput, plainLine } from '../terminal.ts';
import { span } from '../words.ts';

export const logs: Command = {
  usage: 'logs [OPTIONS] CONTAINER',
  about:
    'Shows what a container wrote, on the streams where it wrote it. What would move the cursor, set a title or the\nclipboard is left out; colours stay on a terminal. --raw gives every byte. Of a container that was removed, too, as long\nas its log is kept.',
  options: {
    follow: { short: '-f', about: 'go on with what comes' },
    tail: { short: '-n', value: 'LINES', about: 'only the last lines' },
    since: { value: 'TIME', about: 'from a time on: 2026-11-23T10:00:00Z or seconds since 1970' },
    until: { value: 'TIME', about: 'up to a time' },
    timestamps: { short: '-t', about: 'with the time of each line' },
    details: { about: 'with what its log options say of each line' },
    raw: { about: 'every byte as it was written' },
    json: { about: 'an object a line: time, stream, text' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const json = parsed.flag('json');
    await withEngine(async (client) => {
      const { body, tty } = await logOf(client, parsed.operands[0]!, {
        stdout: 1,
        stderr: 1,
        follow: parsed.flag('follow') ? 1 : 0,
        timestamps: json || parsed.flag('timestamps') ? 1 : 0,
        tail: parsed.value('tail') ?? 'all',
        since: parsed.value('since'),
        until: parsed.value('until'),
        details: parsed.flag('details') ? 1 : undefined,
      });
      const sinks = json
        ? [new JsonLines('stdout'), new JsonLines('stderr')]
        : [process.stdout, process.stderr].map((stream) => (parsed.flag('raw') ? rawTo(stream) : plainTo(stream)));
      const reader = new FrameReader((type, payload) => sinks[type === 2 ? 1 : 0]!.push(payload));
      for await (const chunk of body) {
        if (tty) sinks[0]!.push(chunk);
        else reader.push(chunk);
      }
      for (const sink of sinks) sink.end();
    });
    return 0;
  },
};

/** Of a container that is here, or of one that is gone, perhaps just now, and whose log is kept. */
async function logOf(client: EngineClient, name: string, query: Readonly<Record<string, string | number | undefined>>) {
  try {
    const { Id, Config } = await inspectContainer(client, name);
    const { body } = await client.request('GET', `/containers/${Id}/logs`, { query });
    return { body, tty: Config.Tty };
  } catch (error) {
    const gone = await removedContainer(client, name, error);
    const ago = span(Date.now() - Date.parse(gone.removed));
    process.stderr.write(`${plainLine(gone.name)} was removed ${ago} ago; this is what it wrote\n`);
    const { path, tty } = logOfRemoved(gone);
    const { body } = await client.request('GET', path, { query });
    return { body, tty };
  }
}

interface Sink {
  push(chunk: Buffer): void;
  end(): void;
}

function rawTo(stream: NodeJS.WriteStream): Sink {
  return { push: (chunk) => void stream.write(chunk), end: () => {} };
}

function plainTo(stream: NodeJS.WriteStream): Sink {
  const colours = coloured(stream);
  const output = new PlainOutput({ colours });
  return {
    push: (chunk) => void stream.write(output.push(chunk)),
    end: () => void stream.write(`${output.end()}${colours ? '\x1b[0m' : ''}`),
  };
}

/** Lines with the time before them, as JSON. A frame ends anywhere, a line at its newline. */
class JsonLines implements Sink {
  readonly #stream: string;
  readonly #decoder = new TextDecoder();
  #rest = '';

  constructor(stream: string) {
    this.#stream = stream;
  }

  push(chunk: Buffer): void {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#write(line);
  }

  end(): void {
    if (this.#rest !== '') this.#write(this.#rest);
  }

  #write(line: string): void {
    const space = line.indexOf(' ');
    const text = line.slice(space + 1).replace(/\r$/, '');
    process.stdout.write(`${jsonText({ time: line.slice(0, space), stream: this.#stream, text })}\n`);
  }
}
