import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { removeDirectory } from '../base/remove-directory.ts';
import type { Spec } from '../oci/runtime-spec.ts';
import type { Cgroups } from './cgroups.ts';
import { socketName } from './monitor.ts';

/** What is written into a bundle besides the spec. */
const bundleFiles = ['config.json', 'pid', 'runtime.log', 'console', 'exit', 'exit.tmp', socketName];

/** Where a container is whose spec does not say it. */
export const defaultCgroup = (id: string) => `/berth/${id}`;

/** What runtimes and monitors keep of containers on the disk and in the kernel, and taking it away. */
export class RuntimeState {
  readonly #deps: {
    readonly root: string;
    /** The runtimes' names. */
    readonly names: readonly string[];
    readonly cgroups: Cgroups;
    /** The directory of the monitors' binaries. */
    readonly monitors: string;
    readonly log: Log;
  };

  constructor(deps: {
    readonly root: string;
    readonly names: readonly string[];
    readonly cgroups: Cgroups;
    readonly monitors: string;
    readonly log: Log;
  }) {
    this.#deps = deps;
  }

  /** A runtime's own state root: never shared with another engine's containers. */
  of(name: string): string {
    return join(this.#deps.root, 'state', name);
  }

  /** The name of the runtime that has this container. */
  runtimeOf(id: string): string | undefined {
    return this.#deps.names.find((name) => existsSync(join(this.of(name), id)));
  }

  /**
   * By hand and not by the runtime's delete, which is a process of 4 ms for the same: it kills what is left, removes the
   * control group and its state directory. Hooks, which it would run, are in no spec of ours.
   */
  async remove({
    id,
    bundle,
    cgroupsPath,
  }: {
    readonly id: string;
    readonly bundle: string | undefined;
    /** Undefined: it is gone. */
    readonly cgroupsPath: string | undefined;
  }): Promise<void> {
    if (cgroupsPath !== undefined) await this.#deps.cgroups.remove(cgroupsPath);
    // At once: a handful of small files take 0.2 ms, and twenty calls by way of the pool ten times that.
    for (const name of this.#deps.names) await removeDirectory(join(this.of(name), id));
    if (bundle) for (const name of bundleFiles) rmSync(join(bundle, name), { force: true });
  }

  /**
   * Ends and removes every container, monitor and exec session of this root whose container is not in `known`. Returns the
   * directories of the exec sessions that go on.
   */
  async recover(known: ReadonlySet<string>): Promise<readonly string[]> {
    for (const { id, pid } of this.#monitors()) {
      if (known.has(id)) continue;
      this.#deps.log.info('ending a monitor that nobody knows', { id, pid });
      killIfThere(pid);
    }
    for (const name of this.#deps.names)
      for (const id of await namesIn(this.of(name))) {
        if (known.has(id)) continue;
        this.#deps.log.info('removing a container that nobody knows', { id, runtime: name });
        const bundle = await this.#bundleIn(name, id);
        const cgroupsPath = bundle && (await this.cgroupsPathIn(bundle, id));
        await this.remove({ id, bundle, cgroupsPath: cgroupsPath ?? defaultCgroup(id) });
      }
    const sessions: string[] = [];
    const execs = await namesIn(join(this.#deps.root, 'exec'));
    const alive = new Set(execs.length > 0 ? this.#monitors().map((monitor) => monitor.exec) : []);
    for (const exec of execs) {
      const directory = join(this.#deps.root, 'exec', exec);
      if (alive.has(exec)) sessions.push(directory);
      else await removeDirectory(directory);
    }
    await removeDirectory(join(this.#deps.root, 'probe'));
    return sessions;
  }

  /** By force: of a container, or of an exec session with this id. */
  async endMonitor({ id, container }: { readonly id: string; readonly container: boolean }): Promise<void> {
    for (const monitor of this.#monitors())
      if (container ? monitor.id === id && monitor.exec === undefined : monitor.exec === id) killIfThere(monitor.pid);
  }

  /**
   * What is left of a start whose monitor or runtime was killed: a detached runtime works in a process of its own, which
   * goes on and would make control groups that nobody removes.
   */
  async endRuntime(directory: string): Promise<void> {
    const pidFile = join(directory, 'pid');
    // In the middle of an execve a process has no command line: one look is not enough.
    for (let attempt = 0, clean = 0; attempt < 50; attempt++) {
      let found = false;
      for (const name of await readdir('/proc')) {
        if (!/^\d+$/.test(name)) continue;
        const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
        if (!words.includes('--pid-file') || !words.includes(pidFile)) continue;
        found = true;
        killIfThere(Number(name));
      }
      clean = found ? 0 : clean + 1;
      if (clean === 2) return;
      await sleep(20);
    }
    this.#deps.log.error('a runtime could not be ended', { directory });
  }

  async cgroupsPathIn(bundle: string, id: string): Promise<string> {
    try {
      const spec = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as Spec;
      return spec.linux.cgroupsPath ?? defaultCgroup(id);
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return defaultCgroup(id);
      throw error;
    }
  }

  /** Where the runtime found the spec, by its own state file: crun's `status`, runc's `state.json`. */
  async #bundleIn(name: string, id: string): Promise<string | undefined> {
    const directory = join(this.of(name), id);
    const [status, state] = await Promise.all([
      readJson(join(directory, 'status')),
      readJson(join(directory, 'state.json')),
    ]);
    const { bundle } = (status ?? {}) as { bundle?: string };
    const { config } = (state ?? {}) as { config?: { labels?: readonly string[] } };
    return bundle ?? config?.labels?.find((label) => label.startsWith('bundle='))?.slice('bundle='.length);
  }

  /**
   * The monitors of this root that are running, by their command lines. Read at once: some 10 µs for each process of the
   * machine, and ten times that by way of the pool.
   */
  #monitors(): { pid: number; id: string; exec: string | undefined }[] {
    const found: { pid: number; id: string; exec: string | undefined }[] = [];
    const directory = this.#deps.monitors;
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const words = commandOf(name);
      if (dirname(words[0]!) !== directory || !words.includes(`root=${this.#deps.root}`)) continue;
      const value = (key: string) => words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1);
      const id = value('id');
      if (id) found.push({ pid: Number(name), id, exec: value('session') });
    }
    return found;
  }
}

/** A process's arguments; none when it has ended. */
function commandOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [''];
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch((error) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
}
