import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { project, type TestEngine } from './engines.ts';

export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const script = ['--', join(project, 'dist/cli-main.js')];

/** Our own CLI, from the bundle, as users run it. */
export class BerthCli {
  readonly env: NodeJS.ProcessEnv;
  readonly #netns: string | undefined;

  constructor(engine: TestEngine, { inside = false }: { readonly inside?: boolean } = {}) {
    this.env = { PATH: process.env.PATH, BERTH_SOCKET: engine.socket };
    // In the engine's network, as on a machine.
    this.#netns = inside ? engine.netns : undefined;
  }

  run(args: readonly string[], input = ''): CliResult {
    const [program, words] = this.#command(args);
    const { status, stdout, stderr } = spawnSync(program, words, {
      env: this.env,
      input,
      encoding: 'utf8',
      timeout: 30_000,
      maxBuffer: 64 * 1024 * 1024,
    });
    return { status, stdout, stderr };
  }

  /** One that has to succeed; its stdout. */
  must(...args: string[]): string {
    const { status, stdout, stderr } = this.run(args);
    if (status !== 0) throw new Error(`berth ${args.join(' ')}: exit ${status}: ${stderr}${stdout}`);
    return stdout;
  }

  json<T>(...args: string[]): T {
    return JSON.parse(this.must(...args)) as T;
  }

  /** On a terminal of its own, from util-linux's script. */
  onTerminal(args: readonly string[], input = ''): CliResult {
    const [program, words] = this.#command(args);
    const line = [program, ...words].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    const { status, stdout, stderr } = spawnSync('script', ['-qec', line, '/dev/null'], {
      env: { ...this.env, TERM: 'xterm' },
      input,
      encoding: 'utf8',
      timeout: 30_000,
    });
    return { status, stdout, stderr };
  }

  /** In the background, in a process group of its own. */
  start(args: readonly string[]): ChildProcess {
    const [program, words] = this.#command(args);
    return spawn(program, words, { env: this.env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Another process that listens on a port, where the CLI runs. */
  occupy(port: number): { readonly ready: Promise<void>; end(): void } {
    const source = `require('node:net').createServer().listen(${port}, () => console.log('listens'))`;
    const own = [process.execPath, '-e', source];
    const [program, ...words] = this.#netns ? ['nsenter', `--net=/run/netns/${this.#netns}`, ...own] : own;
    const child = spawn(program!, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ready = new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the listener ended with ${code}`)));
    });
    return { ready, end: () => void child.kill('SIGKILL') };
  }

  #command(args: readonly string[]): readonly [string, readonly string[]] {
    const own = [process.execPath, ...script, ...args];
    return this.#netns ? ['nsenter', [`--net=/run/netns/${this.#netns}`, ...own]] : [own[0]!, own.slice(1)];
  }
}
