import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { authHeader } from '../credentials.ts';
import { type FailureLine, failedLine, splitTag } from '../pull-progress.ts';
import { humanBytes, paint, plain, printJson } from '../terminal.ts';

interface Line extends FailureLine {
  readonly status?: string;
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly aux?: { readonly manifestPushedInsteadOfIndex?: boolean };
}

export const push: Command = {
  usage: 'push [OPTIONS] IMAGE',
  about:
    'Puts an image into a registry; what is there already is not sent again, what was cut goes on where it stopped.',
  options: {
    'all-tags': { short: '-a', about: 'every tag of the repository' },
    platform: { value: 'OS/ARCH', about: 'only the image for this platform' },
    'disable-content-trust': { about: 'has no meaning here' },
    quiet: { short: '-q', about: 'only the digests' },
    json: { about: 'what was pushed, as JSON' },
  },
  operands: { least: 1, most: 1 },
  async run(parsed) {
    const name = parsed.operands[0]!;
    const [repository, tag] = parsed.flag('all-tags') ? [name, undefined] : splitTag(name);
    const platform = parsed.value('platform');
    const headers = await authHeader(repository);
    const live = process.stderr.isTTY === true && !parsed.flag('quiet');
    const layers = new Map<string, number>();
    const done: { image: string; digest: string }[] = [];
    let shown = 0;
    await withEngine(async (client) => {
      for await (const line of client.stream<Line>('POST', `/images/${repository}/push`, {
        query: { tag, platform },
        headers: { 'X-Registry-Auth': 'e30=', ...headers },
      })) {
        if (line.error) {
          if (live) process.stderr.write('\r\x1b[K');
          throw failedLine('unavailable', line);
        }
        if (line.id) layers.set(line.id, line.progressDetail?.current ?? layers.get(line.id) ?? 0);
        const [, pushed, digest] = /^(\S+): digest: (\S+) size: \d+$/.exec(line.status ?? '') ?? [];
        if (digest !== undefined) {
          if (live) process.stderr.write('\r\x1b[K');
          if (parsed.flag('json')) done.push({ image: `${repository}:${pushed}`, digest });
          else if (parsed.flag('quiet')) process.stdout.write(`${plain(digest)}\n`);
          else process.stdout.write(`${paint('green', '✓')} ${plain(repository)}:${plain(pushed!)} ${plain(digest)}\n`);
        }
        if (line.aux?.manifestPushedInsteadOfIndex)
          process.stderr.write('only the image for one platform is here and was pushed, not the index\n');
        if (!live || performance.now() - shown < 80) continue;
        shown = performance.now();
        const bytes = [...layers.values()].reduce((sum, current) => sum + current, 0);
        process.stderr.write(`\r\x1b[K↑ ${plain(name)}  ${humanBytes(bytes)}  ${layers.size} layers`);
      }
    });
    if (parsed.flag('json')) printJson(done);
    return 0;
  },
};
