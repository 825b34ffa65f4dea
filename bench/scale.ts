/**
 * `npm run bench:scale -- PART [COUNT] [ENGINE]`: how figures grow with how much there is. One engine at a time, `berth crun`
 * unless another is named. Processor time is that of everything the engine needs, without this client and the docker CLI.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../test/lib/busybox-image.ts';
import { benchCli } from './cli.ts';
import { type Contestant, startContestants } from './engines.ts';
import { call, inParallel, numbers, timed } from './measure.ts';
import { machineLine } from './report.ts';

const say = (line: string) => void process.stdout.write(`${line}\n`);
const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** p50, p95 and the most of it. */
function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
  return `p50 ${at(0.5).toFixed(1)}, p95 ${at(0.95).toFixed(1)}, max ${at(1).toFixed(1)} ms (${sorted.length} times)`;
}

/** Milliseconds of the clock and of the processor. */
async function costs(contestant: Contestant, work: () => unknown): Promise<{ ms: number; cpu: number }> {
  const before = contestant.cpu();
  const ms = await timed(work);
  return { ms, cpu: contestant.cpu() - before };
}

async function sayCosts(contestant: Contestant, what: string, work: () => unknown, operations = 1): Promise<void> {
  const { ms, cpu } = await costs(contestant, work);
  const each = operations > 1 ? ` of ${operations}` : '';
  say(`${what}: ${(ms / operations).toFixed(2)} ms, ${(cpu / operations).toFixed(2)} ms cpu${each}`);
}

/** Percent of one core over some seconds in which nobody asks for anything. */
async function sayIdle(contestant: Contestant, what: string, seconds: number): Promise<void> {
  const before = contestant.cpu();
  await sleep(seconds * 1000);
  const percent = (contestant.cpu() - before) / seconds / 10;
  say(`${what}: ${percent.toFixed(2)} % of one core over ${seconds} s, PSS ${mib(contestant.memory())}`);
}

/** Killed and started again, until the first list is answered. */
async function sayRestart(contestant: Contestant, list: string): Promise<void> {
  await contestant.engine.kill();
  await sayCosts(contestant, 'killed and started again, to the first list', async () => {
    await contestant.restart();
    await call(contestant, 'GET', list);
  });
}

async function networks(contestant: Contestant, count: number): Promise<void> {
  const create = (index: number) => call(contestant, 'POST', '/networks/create', { Name: `scale${index}` });
  const window = Math.min(50, count);
  for (let made = 0; made < count; ) {
    const until = [window, 100 - window, 100, 300 - window, 300, 1000 - window, 1000, count - window, count].find(
      (edge) => edge > made && edge <= count,
    )!;
    const name = `networks ${made} to ${until}, each`;
    await sayCosts(contestant, name, () => inParallel(until - made, 1, (index) => create(made + index)), until - made);
    made = until;
  }
  await sayCosts(contestant, 'list of all', () => call(contestant, 'GET', '/networks'));
  await sayCosts(contestant, 'inspect of one', () => call(contestant, 'GET', `/networks/scale${count - 1}`));
  await sayCosts(contestant, 'run --rm in the last one', () =>
    contestant.engine.must('run', '--rm', '--network', `scale${count - 1}`, 'bb:1', 'true'),
  );
  say(`PSS ${mib(contestant.memory())}`);
  await sleep(3000);
  await sayIdle(contestant, 'idle', 60);
  await sayRestart(contestant, '/networks');
  await sayCosts(contestant, 'the first create after that', () => create(count));
  await sayCosts(contestant, 'its removal', () => call(contestant, 'DELETE', `/networks/scale${count}`));
  const one = (index: number) => call(contestant, 'DELETE', `/networks/scale${index}`);
  await sayCosts(contestant, 'removal, each', () => inParallel(window, 1, one), window);
  await sayCosts(contestant, 'prune of the rest', () => call(contestant, 'POST', '/networks/prune'));
}

async function idle(contestant: Contestant, count: number): Promise<void> {
  await sayIdle(contestant, 'idle with none', 30);
  await sayCosts(
    contestant,
    'start, each',
    () => inParallel(count, 4, (index) => start(contestant, `idle${index}`)),
    count,
  );
  await sleep(5000);
  await sayIdle(contestant, `idle with ${count}`, 60);
}

async function start(contestant: Contestant, name: string): Promise<void> {
  await call(contestant, 'POST', `/containers/create?name=${name}`, { Image: 'bb:1', Cmd: ['sleep', '3600'] });
  await call(contestant, 'POST', `/containers/${name}/start`);
}

/** How long the CLI takes, in milliseconds; asynchronously, so that this process goes on. */
async function cliTime({ engine }: Contestant, ...args: readonly string[]): Promise<number> {
  const from = performance.now();
  const [code] = await once(spawn(benchCli(), args, { env: engine.env, stdio: 'ignore' }), 'exit');
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: exit ${code}`);
  return performance.now() - from;
}

async function starting(contestant: Contestant, count: number): Promise<void> {
  const version: number[] = [];
  for (const _ of numbers(10)) version.push(await cliTime(contestant, 'version'));
  say(`docker version, nothing else happens: ${spread(version)}`);
  for (const [what, look] of [
    ['API: list', () => timed(() => call(contestant, 'GET', '/containers/json'))],
    ['docker ps', () => cliTime(contestant, 'ps')],
  ] as const) {
    const times: number[] = [];
    let done = false;
    const all = inParallel(count, 8, (index) => start(contestant, `s${index}`)).finally(() => {
      done = true;
    });
    while (!done) {
      times.push(await look());
      await sleep(5);
    }
    await all;
    say(`${what} while ${count} start, 8 at a time: ${spread(times)}`);
    await inParallel(count, 8, (index) => call(contestant, 'DELETE', `/containers/s${index}?force=1`));
  }
}

async function created(contestant: Contestant, count: number): Promise<void> {
  const create = (index: number) =>
    call(contestant, 'POST', `/containers/create?name=c${index}`, { Image: 'bb:1', Cmd: ['true'] });
  await sayCosts(contestant, 'create, each', () => inParallel(count, 4, create), count);
  const looks = {
    'list of all': '/containers/json?all=1',
    'list of ten': '/containers/json?all=1&limit=10',
    'list of those running': '/containers/json',
    inspect: `/containers/c${count - 1}/json`,
  };
  for (const [what, path] of Object.entries(looks)) {
    const times: number[] = [];
    for (const _ of numbers(50)) times.push(await timed(() => call(contestant, 'GET', path)));
    say(`${what}: ${spread(times)}`);
  }
  say(`PSS ${mib(contestant.memory())}`);
  await sayRestart(contestant, '/containers/json?all=1');
  await sayIdle(contestant, 'idle', 30);
  await sayCosts(
    contestant,
    'removal, each',
    () => inParallel(count, 4, (index) => call(contestant, 'DELETE', `/containers/c${index}`)),
    count,
  );
}

/** By then an engine has given back what it needed for a moment. */
const atRestMs = 20_000;

async function ports(contestant: Contestant, count: number): Promise<void> {
  await start(contestant, 'before');
  await sleep(atRestMs);
  const before = contestant.memory();
  for (const protocol of ['tcp', 'udp']) {
    const range = `20000-${20_000 + count - 1}`;
    const args = ['-p', `0.0.0.0:${range}:${range}/${protocol}`, '--name', protocol, 'bb:1', 'sleep', '3600'];
    for (const round of [1, 2]) {
      await sayCosts(contestant, `${protocol}: docker create`, () => cliTime(contestant, 'create', ...args));
      await sayCosts(contestant, `${protocol}: start, ${round}`, () =>
        call(contestant, 'POST', `/containers/${protocol}/start`),
      );
      say(`PSS more than before, at once: ${mib(contestant.memory() - before)}`);
      if (round === 1) {
        await sleep(atRestMs);
        say(`PSS more than before, at rest: ${mib(contestant.memory() - before)}`);
      }
      await sayCosts(contestant, `${protocol}: rm -f`, () =>
        call(contestant, 'DELETE', `/containers/${protocol}?force=1`),
      );
    }
  }
}

const parts = {
  networks: { measure: networks, count: 4000 },
  idle: { measure: idle, count: 200 },
  starting: { measure: starting, count: 50 },
  created: { measure: created, count: 1000 },
  ports: { measure: ports, count: 10_000 },
};

const [part, count, engine = 'berth crun'] = process.argv.slice(2);
if (!Object.hasOwn(parts, part ?? '') || !Object.hasOwn(startContestants, engine)) {
  process.stderr.write(
    `usage: bench/scale.ts PART [COUNT] [ENGINE]\nparts: ${Object.keys(parts).join(', ')}\nengines: ${Object.keys(startContestants).join(', ')}\n`,
  );
  process.exit(2);
}
const chosen = parts[part as keyof typeof parts];
const quiet = engine.startsWith('berth') ? 'warn' : 'error';
// Docker's own pools hold some thirty networks.
const pools = part === 'networks' && quiet === 'error' ? ['--default-address-pool', 'base=10.0.0.0/8,size=24'] : [];
const flags = ['--log-level', quiet, ...pools];
await using contestant = await startContestants[engine as keyof typeof startContestants](flags);
if (!contestant) throw new Error(`${engine}: cannot be had here`);
contestant.engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
say(`${engine}, ${part}, ${machineLine().replace('at the end', 'at the start')}`);
await chosen.measure(contestant, Number(count) || chosen.count);
say(machineLine());
