/**
 * Real engines to test against: Berth from the bundle, and the reference engine (Debian's dockerd, and the newest that any
 * Debian suite has), each with roots of its own and in a network namespace of its own, so that they neither see nor disturb
 * each other or the machine.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { request } from 'node:http';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../src/base/errors.ts';
import { engineNodeFlags } from '../../src/cli/engine-process.ts';
import { assertNoLeaks, nothing, processesOf } from './leaks.ts';

export const project = fileURLToPath(new URL('../../', import.meta.url));
/** What is expensive to make and stays the same: the newer Docker, base images. */
export const cache = process.env.BERTH_TEST_CACHE ?? join(tmpdir(), 'berth-test-cache');

export interface CommandResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface TestEngine extends AsyncDisposable {
  readonly name: string;
  readonly isBerth: boolean;
  readonly socket: string;
  /** The network namespace that it lives in. */
  readonly netns: string;
  readonly pid: number;
  readonly dir: string;
  /** The environment for a docker CLI. */
  readonly env: NodeJS.ProcessEnv;
  docker(
    args: readonly string[],
    options?: { input?: string | Buffer; timeout?: number; env?: NodeJS.ProcessEnv },
  ): CommandResult;
  /** docker that has to succeed; its stdout, trimmed. */
  must(...args: string[]): string;
  api(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<ApiAnswer>;
  /** The cgroup above its containers'; '' of the reference. */
  readonly cgroupParent: string;
  /** SIGKILL, as a crash would. */
  kill(): Promise<void>;
  /** SIGTERM; returns the exit code once it has ended. */
  stop(): Promise<number | null>;
  /** The same engine again on the same roots. */
  restart(): Promise<void>;
  log(): string;
}

/**
 * The docker CLI to drive engines with: what is installed where that speaks to newer engines, else the newest that can be had,
 * else Debian's own.
 */
export function dockerCli(): string {
  cli ??= installedCli() ?? (newerDocker() ? join(newerDocker()!, 'usr/bin/docker') : '/usr/bin/docker');
  return cli;
}

let cli: string | undefined;

function installedCli(): string | undefined {
  const { stdout } = spawnSync('sh', ['-c', 'command -v docker && docker --version'], { encoding: 'utf8' });
  const [path, version = ''] = (stdout ?? '').split('\n');
  return Number(/version (\d+)/.exec(version)?.[1] ?? 0) >= 28 ? path : undefined;
}

/** The folder with the newest Docker of all Debian suites; undefined when it cannot be had here. */
export function newerDocker(): string | undefined {
  const dir = join(cache, 'newer-docker');
  if (!existsSync(join(dir, 'versions'))) {
    mkdirSync(cache, { recursive: true });
    const made = spawnSync(
      'flock',
      [join(cache, 'newer-docker.lock'), 'sh', join(project, 'test/lib/newer-docker.sh'), dir],
      { encoding: 'utf8' },
    );
    if (made.status !== 0) return undefined;
  }
  return join(dir, 'root');
}

let counter = 0;

class RunningEngine implements TestEngine {
  readonly name: string;
  readonly isBerth: boolean;
  readonly socket: string;
  readonly netns: string;
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly cgroupParent: string;
  readonly #command: readonly string[];
  readonly #environment: NodeJS.ProcessEnv;
  #process: ChildProcess | undefined;

  constructor(options: {
    name: string;
    isBerth: boolean;
    dir: string;
    netns: string;
    command: readonly string[];
    environment: NodeJS.ProcessEnv;
    cgroupParent?: string;
  }) {
    this.cgroupParent = options.cgroupParent ?? '';
    this.name = options.name;
    this.isBerth = options.isBerth;
    this.dir = options.dir;
    this.netns = options.netns;
    this.socket = join(options.dir, 'engine.sock');
    this.#command = options.command;
    this.#environment = options.environment;
    this.env = {
      ...process.env,
      DOCKER_HOST: `unix://${this.socket}`,
      DOCKER_CONFIG: join(options.dir, 'docker-config'),
    };
    delete this.env.DOCKER_CONTEXT;
  }

  /** 0 when it does not run. */
  get pid(): number {
    return this.#isRunning ? (this.#process?.pid ?? 0) : 0;
  }

  get #isRunning(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  async start(): Promise<void> {
    const out = openSync(join(this.dir, 'engine.log'), 'a');
    // nsenter, not `ip netns exec`: that mounts a /sys of its own, without the cgroups.
    this.#process = spawn('nsenter', [`--net=/run/netns/${this.netns}`, ...this.#command], {
      stdio: ['ignore', out, out],
      env: this.#environment,
      detached: true,
    });
    closeSync(out);
    const deadline = Date.now() + 60_000;
    for (;;) {
      if (!this.#isRunning) throw new Error(`${this.name} did not start:\n${this.log().slice(-2000)}`);
      const answer = await this.api('GET', '/_ping').catch(() => undefined);
      if (answer?.status === 200) return;
      if (Date.now() > deadline) throw new Error(`${this.name} does not answer:\n${this.log().slice(-2000)}`);
      await sleep(20);
    }
  }

  docker(
    args: readonly string[],
    options: { input?: string | Buffer; timeout?: number; env?: NodeJS.ProcessEnv } = {},
  ): CommandResult {
    const result = spawnSync(dockerCli(), args, {
      env: { ...this.env, ...options.env },
      input: options.input ?? '',
      encoding: 'utf8',
      timeout: options.timeout ?? 60_000,
      maxBuffer: 256 * 1024 * 1024,
    });
    return { status: result.status, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
  }

  must(...args: string[]): string {
    const result = this.docker(args);
    if (result.status !== 0)
      throw new Error(
        `${this.name}: docker ${args.join(' ')}: exit ${result.status}: ${result.stderr}${result.stdout}`,
      );
    return result.stdout.trim();
  }

  api(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<ApiAnswer> {
    const raw = typeof body === 'string' || Buffer.isBuffer(body);
    const content = body === undefined ? undefined : raw ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          socketPath: this.socket,
          method,
          path,
          headers: { ...(content === undefined || raw ? {} : { 'Content-Type': 'application/json' }), ...headers },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks).toString(),
            }),
          );
        },
      );
      sent.on('error', reject);
      sent.end(content);
    });
  }

  async #ended(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise((resolve) => child.once('exit', resolve));
  }

  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await this.#ended();
  }

  async stop(): Promise<number | null> {
    this.#process?.kill('SIGTERM');
    const late = setTimeout(() => this.#process?.kill('SIGKILL'), 20_000);
    await this.#ended();
    clearTimeout(late);
    return this.#process?.exitCode ?? null;
  }

  async restart(): Promise<void> {
    await this.start();
  }

  log(): string {
    return readFileSync(join(this.dir, 'engine.log'), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#isRunning;
    if (running) await removeContainers(this);
    const code = await this.stop();
    let leaks: unknown;
    if (this.isBerth && running && code === 0)
      await assertNoLeaks(this, { ...nothing, volumes: 'any' }).catch((error: unknown) => {
        leaks = error;
      });
    else if (this.isBerth) removeWhatIsLeft(this);
    spawnSync('ip', ['netns', 'del', this.netns]);
    for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n').reverse()) {
      const target = line.split(' ')[1]?.replace(/\\040/g, ' ');
      if (target === this.dir || target?.startsWith(`${this.dir}/`)) spawnSync('umount', ['-l', target]);
    }
    rmSync(this.dir, { recursive: true, force: true });
    if (leaks === undefined) return;
    // Said here too: behind a check that failed before, the reporter shows neither of the two.
    console.error(`${this.name}: ${messageOf(leaks)}`);
    throw leaks;
  }
}

/** All of them, with their anonymous volumes. Without the CLI, which takes its time. */
export async function removeContainers(engine: TestEngine): Promise<void> {
  const { status, body } = await engine.api('GET', '/containers/json?all=1');
  if (status !== 200) return;
  const found = JSON.parse(body) as readonly { readonly Id: string }[];
  await Promise.all(found.map(({ Id }) => engine.api('DELETE', `/containers/${Id}?force=1&v=1`)));
}

/** Of an engine that was killed: its containers, its helper, its cgroups. */
function removeWhatIsLeft({ dir, cgroupParent }: TestEngine): void {
  for (const { pid } of processesOf(dir)) end(pid);
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    const parent = join('/sys/fs/cgroup', controller, cgroupParent);
    const groups = spawnSync('find', [parent, '-depth', '-type', 'd'], { encoding: 'utf8' }).stdout.split('\n');
    for (const group of groups.filter(Boolean)) {
      const inside = spawnSync('cat', [join(group, 'cgroup.procs')], { encoding: 'utf8' }).stdout.split('\n');
      for (const pid of inside.filter(Boolean)) end(Number(pid));
      for (let attempt = 0; attempt < 20 && spawnSync('rmdir', [group]).status !== 0; attempt++)
        spawnSync('sleep', ['0.05']);
    }
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function makeNetns(): string {
  const name = `bt-${process.pid}-${counter++}`;
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return name;
}

/** Berth as users run it, from the bundle. `flags` are the engine's own; `under` is a program that becomes it. */
export async function startBerth({
  flags = [] as readonly string[],
  under = [] as readonly string[],
  name = 'berth',
} = {}): Promise<TestEngine> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-engine-'));
  // As /run is: root of a user namespace comes through it to the files of its container.
  chmodSync(dir, 0o711);
  const netns = makeNetns();
  const command = [
    ...under,
    process.execPath,
    ...engineNodeFlags,
    join(project, 'dist/daemon-main.js'),
    '--socket',
    join(dir, 'engine.sock'),
    '--root',
    join(dir, 'root'),
    '--run-dir',
    join(dir, 'run'),
    '--cgroup-parent',
    `/${netns}`,
    ...flags,
  ];
  const engine = new RunningEngine({
    name,
    isBerth: true,
    dir,
    netns,
    command,
    environment: process.env,
    cgroupParent: `/${netns}`,
  });
  await engine.start();
  return engine;
}

export type ReferenceName = 'debian' | 'newest';

/** The reference engine; undefined when it cannot be had on this machine. */
export async function startReference(
  which: ReferenceName,
  flags: readonly string[] = [],
  { inMemory = freemem() > 8 * 2 ** 30 }: { readonly inMemory?: boolean } = {},
): Promise<TestEngine | undefined> {
  const newer = which === 'newest' ? newerDocker() : undefined;
  if (which === 'newest' && !newer) return undefined;
  const dockerd = newer ? join(newer, 'usr/sbin/dockerd') : '/usr/sbin/dockerd';
  if (!existsSync(dockerd)) return undefined;
  const dir = mkdtempSync(join(tmpdir(), 'docker-engine-'));
  // In memory where there is plenty: what it syncs to a slow disk is a third of its time, and its speed is no matter to a test.
  if (inMemory) execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'docker', dir]);
  const netns = makeNetns();
  const path = newer ? `${newer}/usr/bin:${newer}/usr/sbin:${process.env.PATH}` : process.env.PATH;
  const command = [
    dockerd,
    '--data-root',
    join(dir, 'root'),
    '--exec-root',
    join(dir, 'exec'),
    '--pidfile',
    join(dir, 'pid'),
    '-H',
    `unix://${join(dir, 'engine.sock')}`,
    ...flags,
  ];
  const engine = new RunningEngine({
    name: `docker-${which}`,
    isBerth: false,
    dir,
    netns,
    command,
    environment: { ...process.env, PATH: path },
  });
  await engine.start();
  return engine;
}
