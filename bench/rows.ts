import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cache } from '../test/lib/engines.ts';
import { minbaseTar } from '../test/lib/minbase.ts';
import type { Contestant } from './engines.ts';
import { everydayRows } from './everyday-rows.ts';
import { call, cli, inParallel, numbers, timed, withTalker } from './measure.ts';
import { median } from './report.ts';

export interface Row {
  readonly name: string;
  readonly about: string;
  readonly unit: 'ms' | 's' | 'req/s' | 'MB/s' | 'MiB' | 'µs';
  readonly better: 'less' | 'more';
  /** What it must be of the better reference engine. */
  readonly bar: string;
  readonly rounds: number;
  /** Whether processor time is shown, and over how many operations it is spread. */
  readonly cpu?: boolean;
  readonly operations?: number;
  readonly prepare?: (contestant: Contestant, surroundings: Surroundings) => Promise<void> | void;
  readonly measure: (contestant: Contestant, surroundings: Surroundings) => Promise<number> | number;
  readonly clean?: (contestant: Contestant, surroundings: Surroundings) => Promise<void> | void;
}

const port = 5005;
const debian = `127.0.0.1:${port}/bench/debian:1`;

/** What rows need besides engines: a Debian image as an archive, and a registry in each engine's network. */
export class Surroundings implements AsyncDisposable {
  readonly archive: string;
  readonly #folder: string;
  readonly #registries = new Map<string, ChildProcess>();
  #empty: ChildProcess | undefined;

  constructor(archive: string, folder: string) {
    this.archive = archive;
    this.#folder = folder;
  }

  flagsFor(name: string): readonly string[] {
    return name.startsWith('berth') ? ['--log-level', 'warn'] : ['--log-level', 'error'];
  }

  /** A real registry that holds the Debian image, on loopback as this engine sees it. */
  async registryFor({ engine }: Contestant): Promise<void> {
    if (this.#registries.has(engine.netns)) return;
    const filled = this.#registries.size > 0;
    this.#registries.set(engine.netns, await this.#serve(engine.netns, port, 'data'));
    const inside = [`--net=/run/netns/${engine.netns}`];
    if (!filled)
      execFileSync(
        'nsenter',
        [
          ...inside,
          'skopeo',
          'copy',
          '-q',
          '--insecure-policy',
          '--dest-tls-verify=false',
          `docker-archive:${this.archive}`,
          `docker://${debian}`,
        ],
        { stdio: ['ignore', 'ignore', 'inherit'] },
      );
  }

  /** Another registry with nothing in it, where what is pushed can neither be there nor be mounted. */
  async emptyRegistryFor({ engine }: Contestant): Promise<string> {
    this.#empty?.kill();
    if (this.#empty?.exitCode === null) await once(this.#empty, 'exit');
    rmSync(join(this.#folder, 'empty'), { recursive: true, force: true });
    this.#empty = await this.#serve(engine.netns, port + 1, 'empty');
    return `127.0.0.1:${port + 1}`;
  }

  async #serve(netns: string, on: number, folder: string): Promise<ChildProcess> {
    const config = join(this.#folder, `${folder}.json`);
    writeFileSync(
      config,
      JSON.stringify({
        version: 0.1,
        log: { level: 'error', accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: join(this.#folder, folder) } },
        http: { addr: `127.0.0.1:${on}` },
      }),
    );
    const registry = spawn('nsenter', [`--net=/run/netns/${netns}`, 'docker-registry', 'serve', config], {
      stdio: 'ignore',
    });
    await sleep(500);
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#empty?.kill();
    for (const registry of this.#registries.values()) registry.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function openRows(): Promise<Surroundings> {
  return new Surroundings(debianArchive(), mkdtempSync(join(tmpdir(), 'berth-bench-')));
}

/** A Debian minbase with three layers on top, 210 MB in all, as a docker-archive; made once. */
function debianArchive(): string {
  mkdirSync(cache, { recursive: true });
  const archive = join(cache, 'bench-debian.tar');
  if (existsSync(archive)) return archive;
  const work = mkdtempSync(join(cache, 'bench-'));
  const file = (name: string) => join(work, name);
  linkSync(minbaseTar(), file('0.tar'));
  for (const layer of [1, 2, 3]) {
    mkdirSync(file(`tree${layer}/opt/app${layer}`), { recursive: true });
    for (let index = 0; index < 100; index++)
      execFileSync('sh', [
        '-c',
        `head -c ${layer * 40_000} /dev/urandom | base64 > '${file(`tree${layer}/opt/app${layer}/file${index}`)}'`,
      ]);
    execFileSync('tar', ['-C', file(`tree${layer}`), '--owner=0', '--group=0', '-cf', file(`${layer}.tar`), '.']);
  }
  const layers = ['0.tar', '1.tar', '2.tar', '3.tar'];
  const digests = layers.map((name) => execFileSync('sha256sum', [file(name)], { encoding: 'utf8' }).slice(0, 64));
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
  writeFileSync(
    file('config.json'),
    JSON.stringify({
      architecture,
      os: 'linux',
      config: { Cmd: ['bash'], Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] },
      rootfs: { type: 'layers', diff_ids: digests.map((digest) => `sha256:${digest}`) },
    }),
  );
  writeFileSync(
    file('manifest.json'),
    JSON.stringify([{ Config: 'config.json', RepoTags: ['bench/debian:1'], Layers: layers }]),
  );
  execFileSync('tar', ['-C', work, '-cf', `${archive}.tmp`, 'manifest.json', 'config.json', ...layers]);
  renameSync(`${archive}.tmp`, archive);
  rmSync(work, { recursive: true });
  return archive;
}

const sleeper = { Image: 'bb:1', Cmd: ['sleep', '3600'], StopSignal: 'SIGKILL' };

async function createMany(contestant: Contestant, count: number, extra: object = {}): Promise<void> {
  await inParallel(count, 8, (index) =>
    call(contestant, 'POST', `/containers/create?name=many${index}`, { ...sleeper, ...extra }),
  );
}

const startMany = (contestant: Contestant, count: number) =>
  inParallel(count, 8, (index) => call(contestant, 'POST', `/containers/many${index}/start`));
const removeMany = (contestant: Contestant, count: number) =>
  inParallel(
    count,
    8,
    async (index) => void (await contestant.engine.api('DELETE', `/containers/many${index}?force=1`)),
  );

const runRow = (name: string, about: string, flags: readonly string[], bar: string): Row => ({
  name,
  about,
  unit: 'ms',
  better: 'less',
  bar,
  rounds: 20,
  cpu: true,
  measure: (contestant) => timed(() => cli(contestant, ['run', '--rm', ...flags, 'bb:1', 'true'])),
});

/** Requests a second on 16 connections for a while, by a client that only counts. */
async function hammer({ engine }: Contestant, path: string, seconds: number): Promise<number> {
  const request = `GET ${path} HTTP/1.1\r\nHost: docker\r\n\r\n`;
  let answered = 0;
  const from = performance.now();
  const until = from + seconds * 1000;
  await Promise.all(
    numbers(16).map(
      () =>
        new Promise<void>((resolve, reject) => {
          const socket = connect(engine.socket);
          let left = -1;
          let head = '';
          socket.on('connect', () => socket.write(request));
          socket.on('error', reject);
          socket.on('close', () => resolve());
          socket.on('data', (chunk) => {
            let at = 0;
            while (at < chunk.length) {
              if (left < 0) {
                // Docker answers long lists in chunks, whose end is an empty one.
                head += chunk.toString('latin1', at);
                const end = head.indexOf('\r\n\r\n');
                if (end < 0) return;
                const length = /content-length: (\d+)/i.exec(head)?.[1];
                if (length === undefined) {
                  if (!head.endsWith('0\r\n\r\n')) return;
                  left = 0;
                } else {
                  left = Number(length) - (head.length - end - 4);
                }
                at = chunk.length;
              } else {
                const taken = Math.min(left, chunk.length - at);
                left -= taken;
                at += taken;
              }
              if (left > 0) continue;
              answered++;
              left = -1;
              head = '';
              if (performance.now() < until) socket.write(request);
              else socket.destroy();
            }
          });
        }),
    ),
  );
  return answered / ((performance.now() - from) / 1000);
}

const bulk = 200;

export const rows: readonly Row[] = [
  runRow('run-bridge', '`docker run --rm`, bridge', [], '<= 0.25, aim 0.18'),
  runRow('run-none', '`docker run --rm`, no network', ['--network', 'none'], '<= 0.35'),
  runRow('run-host', "`docker run --rm`, the host's network", ['--network', 'host'], '<= 0.35'),
  {
    name: 'api-cycle',
    about: 'API: create, start, wait, delete; bridge',
    unit: 'ms',
    better: 'less',
    bar: '<= 0.2',
    rounds: 20,
    cpu: true,
    measure: (contestant) =>
      timed(async () => {
        const { Id } = JSON.parse(
          await call(contestant, 'POST', '/containers/create', { Image: 'bb:1', Cmd: ['true'] }),
        ) as { Id: string };
        await call(contestant, 'POST', `/containers/${Id}/start`);
        await call(contestant, 'POST', `/containers/${Id}/wait`);
        await call(contestant, 'DELETE', `/containers/${Id}`);
      }),
  },
  {
    name: 'exec',
    about: '`docker exec true`',
    unit: 'ms',
    better: 'less',
    bar: '<= 0.6',
    rounds: 20,
    cpu: true,
    prepare: (contestant) => void contestant.engine.docker(['run', '-d', '--name', 'exec', 'bb:1', 'sleep', '3600']),
    measure: (contestant) => timed(() => cli(contestant, ['exec', 'exec', 'true'])),
  },
  {
    name: 'start-50',
    about: 'start 50, 8 at a time',
    unit: 's',
    better: 'less',
    bar: '<= 0.35',
    rounds: 3,
    cpu: true,
    prepare: (contestant) => createMany(contestant, 50),
    measure: async (contestant) => (await timed(() => startMany(contestant, 50))) / 1000,
    clean: (contestant) => removeMany(contestant, 50),
  },
  {
    name: 'list-starting',
    about: 'API: list while 50 start, 8 at a time; the 95th of 100',
    unit: 'ms',
    better: 'less',
    bar: '<= 1, < 100 ms',
    rounds: 3,
    prepare: (contestant) => createMany(contestant, 50),
    measure: async (contestant) => {
      const times: number[] = [];
      let done = false;
      const all = startMany(contestant, 50).finally(() => {
        done = true;
      });
      while (!done) {
        times.push(await timed(() => call(contestant, 'GET', '/containers/json')));
        await sleep(5);
      }
      await all;
      return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.95)]!;
    },
    clean: (contestant) => removeMany(contestant, 50),
  },
  {
    name: 'start-10-ports',
    about: 'start 10 with a published port each',
    unit: 's',
    better: 'less',
    bar: '<= 0.35',
    rounds: 3,
    cpu: true,
    prepare: (contestant) =>
      createMany(contestant, 10, {
        ExposedPorts: { '80/tcp': {} },
        HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '' }] } },
      }),
    measure: async (contestant) => (await timed(() => startMany(contestant, 10))) / 1000,
    clean: (contestant) => removeMany(contestant, 10),
  },
  {
    name: 'stop-50',
    about: 'stop 50, 8 at a time',
    unit: 's',
    better: 'less',
    bar: '<= 0.5',
    rounds: 3,
    cpu: true,
    prepare: async (contestant) => {
      await createMany(contestant, 50);
      await startMany(contestant, 50);
    },
    measure: async (contestant) =>
      (await timed(() => inParallel(50, 8, (index) => call(contestant, 'POST', `/containers/many${index}/stop`)))) /
      1000,
    clean: (contestant) => removeMany(contestant, 50),
  },
  {
    name: 'remove-50',
    about: 'remove 50 that are stopped, 8 at a time',
    unit: 's',
    better: 'less',
    bar: '<= 1',
    rounds: 3,
    cpu: true,
    prepare: async (contestant) => {
      await createMany(contestant, 50);
      await startMany(contestant, 50);
      await inParallel(50, 8, (index) => call(contestant, 'POST', `/containers/many${index}/stop`));
    },
    measure: async (contestant) => (await timed(() => removeMany(contestant, 50))) / 1000,
  },
  {
    name: 'list-100',
    about: 'list 100 containers, 16 connections',
    unit: 'req/s',
    better: 'more',
    bar: '>= 10',
    rounds: 3,
    prepare: (contestant) => createMany(contestant, 100),
    measure: (contestant) => hammer(contestant, '/v1.41/containers/json?all=1', 2),
    clean: (contestant) => removeMany(contestant, 100),
  },
  {
    name: 'inspect',
    about: 'inspect, 16 connections',
    unit: 'req/s',
    better: 'more',
    bar: '>= 0.5, stretch 1',
    rounds: 3,
    prepare: (contestant) => createMany(contestant, 1),
    measure: (contestant) => hammer(contestant, '/v1.41/containers/many0/json', 2),
    clean: (contestant) => removeMany(contestant, 1),
  },
  {
    name: 'pull',
    about: 'pull 4 layers of Debian from a registry on loopback',
    unit: 's',
    better: 'less',
    bar: '<= 0.4',
    rounds: 3,
    cpu: true,
    prepare: async (contestant, surroundings) => {
      await surroundings.registryFor(contestant);
      contestant.engine.docker(['rmi', '-f', debian]);
    },
    measure: async (contestant) => (await timed(() => cli(contestant, ['pull', '-q', debian]))) / 1000,
  },
  {
    name: 'load',
    about: 'load a 210 MB archive',
    unit: 's',
    better: 'less',
    bar: '<= 0.3',
    rounds: 3,
    cpu: true,
    prepare: (contestant) => void contestant.engine.docker(['rmi', '-f', 'bench/debian:1', debian]),
    measure: async (contestant, { archive }) =>
      (await timed(() => cli(contestant, ['load', '-q', '-i', archive]))) / 1000,
    clean: (contestant) => void contestant.engine.docker(['rmi', '-f', 'bench/debian:1']),
  },
  {
    name: 'attach',
    about: '`docker run -i cat`, throughput',
    unit: 'MB/s',
    better: 'more',
    bar: '>= 3',
    rounds: 3,
    measure: async (contestant) => {
      const input = join(cache, 'bench-input');
      if (!existsSync(input) || statSync(input).size !== bulk * 1e6)
        execFileSync('sh', [
          '-c',
          `yes 'the quick brown fox jumps over the lazy dog' | head -c ${bulk * 1e6} > '${input}'`,
        ]);
      const from = openSync(input, 'r');
      const to = openSync('/dev/null', 'w');
      try {
        // Without a log of its own: what is measured is the way through.
        return (
          (bulk * 1000) /
          (await timed(() =>
            cli(contestant, ['run', '--rm', '-i', '--log-driver', 'none', 'bb:1', 'cat'], [from, to, 'ignore']),
          ))
        );
      } finally {
        closeSync(from);
        closeSync(to);
      }
    },
  },
  {
    name: 'logs',
    about: 'read 50 MB of log back',
    unit: 'MB/s',
    better: 'more',
    bar: '>= 5',
    rounds: 3,
    prepare: withTalker,
    measure: async (contestant) => 50_000 / (await timed(() => cli(contestant, ['logs', 'talker']))),
  },
  {
    name: 'follow',
    about: '`logs -f`: from the write to the reader',
    unit: 'ms',
    better: 'less',
    bar: '<= 2',
    rounds: 3,
    // What the program writes comes from a FIFO, so that this process knows when: a busybox's date has no nanoseconds.
    prepare: (contestant) => {
      contestant.engine.docker(['rm', '-f', 'echoer']);
      const folder = join(contestant.engine.dir, 'echo');
      mkdirSync(folder, { recursive: true });
      if (!existsSync(join(folder, 'in'))) execFileSync('mkfifo', [join(folder, 'in')]);
      contestant.engine.must('run', '-d', '--name', 'echoer', '-v', `${folder}:/echo`, 'bb:1', 'cat', '/echo/in');
    },
    measure: followLatency,
    clean: (contestant) => void contestant.engine.docker(['rm', '-f', 'echoer']),
  },
  ...everydayRows,
  {
    name: 'memory-50',
    about: 'memory of everything with 50 containers (PSS)',
    unit: 'MiB',
    better: 'less',
    bar: '<= 0.5',
    rounds: 1,
    prepare: async (contestant) => {
      await removeMany(contestant, 50);
      await createMany(contestant, 50);
      await startMany(contestant, 50);
      await sleep(12_000);
    },
    measure: (contestant) => contestant.memory() / 1024 ** 2,
    clean: (contestant) => removeMany(contestant, 50),
  },
  {
    name: 'idle-50',
    about: 'processor time of everything in 10 s with 50 containers that sleep',
    unit: 'ms',
    better: 'less',
    bar: '< 100 ms',
    rounds: 1,
    prepare: async (contestant) => {
      await createMany(contestant, 50);
      await startMany(contestant, 50);
      await sleep(5_000);
    },
    measure: async (contestant) => {
      const before = contestant.cpu();
      await sleep(10_000);
      return contestant.cpu() - before;
    },
    clean: (contestant) => removeMany(contestant, 50),
  },
  {
    name: 'restart-50',
    about: 'engine killed and started, 50 running, all of them alive (Docker with live-restore)',
    unit: 's',
    better: 'less',
    bar: '<= 1 s',
    rounds: 1,
    prepare: async (contestant) => {
      await createMany(contestant, 50);
      await startMany(contestant, 50);
    },
    measure: async (contestant) => {
      await contestant.engine.kill();
      const ms = await timed(() => contestant.engine.restart());
      const alive = contestant.engine.must('ps', '-q').split('\n').filter(Boolean).length;
      if (alive < 50) throw new Error(`${alive} of 50 alive after ${(ms / 1000).toFixed(1)} s`);
      return ms / 1000;
    },
    clean: (contestant) => removeMany(contestant, 50),
  },
];

/** Median of the milliseconds between the write of a line and its arrival at a reader of the API. */
async function followLatency({ engine }: Contestant): Promise<number> {
  const delays: number[] = [];
  const into = openSync(join(engine.dir, 'echo/in'), constants.O_RDWR);
  const socket = connect(engine.socket);
  try {
    const failed = once(socket, 'close').then(() => {
      throw new Error('the log ended');
    });
    failed.catch(() => {});
    socket.write('GET /v1.41/containers/echoer/logs?follow=1&stdout=1&tail=0 HTTP/1.1\r\nHost: docker\r\n\r\n');
    // Not before the reader waits at the end of the log.
    await Promise.race([sleep(500), failed]);
    socket.resume();
    for (let index = 0; index < 60; index++) {
      const line = `line ${index}.`;
      const arrived = new Promise<number>((resolve) => {
        const look = (chunk: Buffer) => {
          if (!chunk.includes(line)) return;
          socket.off('data', look);
          resolve(performance.now());
        };
        socket.on('data', look);
      });
      const from = performance.now();
      writeSync(into, `${line}\n`);
      const late = sleep(5000).then(() => Number.NaN);
      const at = await Promise.race([arrived, failed, late]);
      if (Number.isNaN(at)) throw new Error(`line ${index} did not come for 5 s`);
      delays.push(at - from);
      await sleep(10);
    }
  } finally {
    socket.destroy();
    closeSync(into);
  }
  return median(delays);
}
