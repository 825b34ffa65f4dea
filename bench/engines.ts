import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startBerth, startReference, type TestEngine } from '../test/lib/engines.ts';

/** An engine in the benchmark, and the processor time that it and all below it used. */
export interface Contestant extends AsyncDisposable {
  readonly name: string;
  readonly engine: TestEngine;
  /** Milliseconds of processor time since it was started: engine, monitors, runtimes, containers; not the client. */
  cpu(): number;
  /** Bytes of memory in proportion to sharing (PSS): every process that the engine needs, without the containers' own. */
  memory(): number;
  /** After it was killed. */
  restart(): Promise<void>;
}

const accounting = existsSync('/sys/fs/cgroup/cpuacct') ? '/sys/fs/cgroup/cpuacct' : undefined;

/** Starts an engine in an accounting group of its own. */
export async function enter(
  name: string,
  start: (cgroupParent: string) => Promise<TestEngine | undefined>,
): Promise<Contestant | undefined> {
  const group = `bench-${process.pid}-${name.replace(/\W/g, '')}`;
  const own = accounting && join(accounting, group);
  const parent = `/${group}-containers`;
  if (own) mkdirSync(own, { recursive: true });
  // Children are born where their parent is: the engine starts in its group, this process goes back.
  const inside = async <T>(work: () => Promise<T>) => {
    if (own) writeFileSync(join(own, 'cgroup.procs'), String(process.pid));
    try {
      return await work();
    } finally {
      if (accounting) writeFileSync(join(accounting, 'cgroup.procs'), String(process.pid));
    }
  };
  const engine = await inside(() => start(parent));
  if (!engine) return undefined;
  const groups = own ? [own, `${accounting}${parent}`] : [];
  return {
    name,
    engine,
    cpu: () =>
      groups
        .filter(existsSync)
        .reduce((sum, path) => sum + Number(readFileSync(join(path, 'cpuacct.usage'), 'utf8')) / 1e6, 0),
    restart: () => inside(() => engine.restart()),
    memory: () => (own ? processesOf(own).reduce((sum, pid) => sum + pss(pid), 0) : pss(engine.pid)),
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]();
      for (const path of groups) {
        try {
          rmdirSync(path);
        } catch {
          // A process of it has not ended yet: the group goes with the machine.
        }
      }
    },
  };
}

export const startContestants = {
  'berth crun': (flags: readonly string[]) =>
    enter('berth crun', (parent) =>
      startBerth({ flags: ['--default-runtime', 'crun', '--cgroup-parent', parent, ...flags] }),
    ),
  'berth runc': (flags: readonly string[]) =>
    enter('berth runc', (parent) =>
      startBerth({ flags: ['--default-runtime', 'runc', '--cgroup-parent', parent, ...flags] }),
    ),
  'docker 28': (flags: readonly string[]) =>
    enter('docker 28', (parent) =>
      startReference('newest', ['--cgroup-parent', parent, ...flags], { inMemory: false }),
    ),
  'docker 20.10': (flags: readonly string[]) =>
    enter('docker 20.10', (parent) =>
      startReference('debian', ['--cgroup-parent', parent, ...flags], { inMemory: false }),
    ),
};

function processesOf(group: string): number[] {
  return readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
}

function pss(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
