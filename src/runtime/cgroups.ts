import { readFileSync } from 'node:fs';
import { access, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, EngineError } from '../base/errors.ts';
import { readUsage, type TaskUsage } from './usage.ts';

/** Where this machine's control groups are: version 2 alone, or version 1's hierarchies (and perhaps 2 beside them). */
export interface CgroupMounts {
  /** The v1 mount point of each controller. */
  readonly v1: ReadonlyMap<string, string>;
  readonly v2: string | undefined;
}

/** Reads the text of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export function parseCgroupMounts(mountinfo: string): CgroupMounts {
  const v1 = new Map<string, string>();
  let v2: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const type = after?.split(' ')[0];
    if (type !== 'cgroup' && type !== 'cgroup2') continue;
    const point = before!.split(' ')[4]!;
    if (type === 'cgroup2') v2 ??= point;
    else for (const name of after!.split(' ')[2]!.split(',')) if (name !== 'rw' && name !== 'ro') v1.set(name, point);
  }
  return { v1, v2 };
}

/** The control groups of containers, found by the `cgroupsPath` of their specs. */
export class Cgroups {
  readonly mounts: CgroupMounts;

  constructor({ mountinfo = readFileSync('/proc/self/mountinfo', 'utf8') }: { readonly mountinfo?: string } = {}) {
    this.mounts = parseCgroupMounts(mountinfo);
  }

  /** Version 1 governs as soon as the memory or the pids controller is mounted there. */
  get version(): 1 | 2 {
    return this.mounts.v1.has('memory') || this.mounts.v1.has('pids') || !this.mounts.v2 ? 1 : 2;
  }

  /** Every directory that a group may have. */
  directories(path: string): string[] {
    const points = new Set([...this.mounts.v1.values(), ...(this.mounts.v2 ? [this.mounts.v2] : [])]);
    return [...points].map((point) => join(point, path));
  }

  /** The file with a line `oom_kill <count>`. */
  oomFile(path: string): string | undefined {
    const memory = this.mounts.v1.get('memory');
    if (memory) return join(memory, path, 'memory.oom_control');
    return this.mounts.v2 && join(this.mounts.v2, path, 'memory.events');
  }

  /** Every process in the group and below it; none when it is gone. */
  async pids(path: string): Promise<number[]> {
    const points = [this.mounts.v1.get('pids'), this.mounts.v1.get('memory'), this.mounts.v1.get('freezer')];
    for (const point of [...points, this.mounts.v2])
      if (point && (await exists(join(point, path)))) return [...new Set(await pidsBelow(join(point, path)))];
    return [];
  }

  /** As many processes as may be. */
  async liftPidsLimit(path: string): Promise<void> {
    await writeFile(join(this.mounts.v1.get('pids') ?? this.mounts.v2 ?? '/', path, 'pids.max'), 'max');
  }

  /** What the group uses; `pid` is a process in it. Undefined when it is gone. */
  usage(path: string, pid: number): TaskUsage | undefined {
    return readUsage(this.mounts, { version: this.version, path, proc: `/proc/${pid}` });
  }

  /** Stops or continues every process, and waits until it is so. Throws `conflict` when the group is gone. */
  async freeze(path: string, frozen: boolean): Promise<void> {
    const v1 = this.mounts.v1.get('freezer');
    const directory = join(v1 ?? this.mounts.v2 ?? '/', path);
    const [control, value] = v1
      ? ['freezer.state', frozen ? 'FROZEN' : 'THAWED']
      : ['cgroup.freeze', frozen ? '1' : '0'];
    const done = async () =>
      v1
        ? (await readFile(join(directory, control), 'utf8')).trim() === value
        : new RegExp(`^frozen ${value}$`, 'm').test(await readFile(join(directory, 'cgroup.events'), 'utf8'));
    let written = false;
    try {
      // Version 1 can stay in FREEZING while processes are being made; writing again takes those along.
      for (let attempt = 0; attempt < 500; attempt++) {
        if (attempt % 10 === 0) await writeFile(join(directory, control), value);
        written = true;
        if (await done()) return;
        await sleep(Math.min(attempt, 20));
      }
    } catch (error) {
      const gone = codeOf(error) === 'ENOENT' || codeOf(error) === 'ENODEV';
      // Killed while it was frozen, it ends as soon as it goes on, and the group goes with it.
      if (gone && written && !frozen) return;
      if (gone)
        throw new EngineError('conflict', `${frozen ? 'freeze' : 'thaw'} ${directory}: the control group is gone`, {
          cause: error,
        });
      throw error;
    }
    if (frozen) await writeFile(join(directory, control), v1 ? 'THAWED' : '0');
    throw new EngineError('unavailable', `${frozen ? 'freeze' : 'thaw'} ${directory}: not done within 10 seconds`);
  }

  /** Kills every process, frozen ones too. A group that is gone is no error. */
  async killAll(path: string): Promise<void> {
    // Of every hierarchy: a runtime that was killed may have put a process into some of them only.
    const pids = new Set((await Promise.all(this.directories(path).map(pidsBelow))).flat());
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (codeOf(error) !== 'ESRCH') throw error;
      }
    }
    if (pids.size > 0) await this.thaw(path);
  }

  /** Without waiting: a frozen process does not die by version 1's reckoning until it is thawed. */
  async thaw(path: string): Promise<void> {
    const v1 = this.mounts.v1.get('freezer');
    const file = v1 ? join(v1, path, 'freezer.state') : join(this.mounts.v2 ?? '/', path, 'cgroup.freeze');
    await writeFile(file, v1 ? 'THAWED' : '0', { flag: 'r+' }).catch((error) => {
      if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENODEV') throw error;
    });
  }

  /** Kills what is left in the group and removes it. Gone already is no error. */
  async remove(path: string): Promise<void> {
    if (path === '' || path === '/' || path.split('/').includes('..'))
      throw new EngineError('invalid', `remove control group ${path}: not a path below the root`);
    for (let attempt = 0; attempt < 100; attempt++) {
      let busy = false;
      for (const directory of this.directories(path)) busy = !(await removeTree(directory)) || busy;
      if (!busy) return;
      await this.killAll(path);
      await sleep(Math.min(1 + attempt, 50));
    }
    throw new EngineError('internal', `remove control group ${path}: processes in it cannot be killed`);
  }

  /** Removes a group that nothing is in any more. One that is in use stays. */
  async prune(path: string): Promise<void> {
    await Promise.all(this.directories(path).map((directory) => rmdir(directory).catch(() => {})));
  }
}

/** Bottom up; whether nothing is left of it. */
async function removeTree(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true;
  }
  for (const child of await childrenOf(directory)) await removeTree(child);
  return rmdir(directory).then(
    () => true,
    (error) => codeOf(error) === 'ENOENT',
  );
}

async function pidsBelow(directory: string): Promise<number[]> {
  const text = await readFile(join(directory, 'cgroup.procs'), 'utf8').catch(() => '');
  const own = text.split('\n').filter(Boolean).map(Number);
  const below = await Promise.all((await childrenOf(directory)).map(pidsBelow));
  return [...own, ...below.flat()];
}

async function childrenOf(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(directory, entry.name));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
