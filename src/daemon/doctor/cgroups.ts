import type { Finding } from './finding.ts';
import type { Host } from './host.ts';

interface Hierarchies {
  /** Where each version 1 controller is mounted. */
  readonly v1: ReadonlyMap<string, string>;
  readonly v2: string | undefined;
}

/** Which cgroup version this is, which limits work, and whether crun can be used. `crun` is its version. */
export async function cgroupChecks(
  host: Host,
  { crun }: { readonly crun: string | undefined },
): Promise<readonly Finding[]> {
  const hierarchies = parseHierarchies((await host.read('/proc/self/mountinfo')) ?? '');
  const { v1, v2 } = hierarchies;
  const name = 'cgroups.version';
  if (v1.size === 0 && v2 === undefined)
    return [{ name, state: 'fail', found: 'no cgroups are mounted', cure: 'mount -t cgroup2 cgroup2 /sys/fs/cgroup' }];
  const unified = v1.size === 0;
  const kind = unified ? 'version 2' : v2 === undefined ? 'version 1' : 'version 1, hybrid';
  const found: Finding[] = [{ name, state: 'ok', found: kind }, await controllers(host, hierarchies)];
  if (!unified && v2 !== undefined) found.push(await hybrid(host, { ...hierarchies, v2 }, crun));
  return found;
}

function parseHierarchies(mountinfo: string): Hierarchies {
  const v1 = new Map<string, string>();
  let v2: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const directory = before.split(' ')[4];
    const [type, , options = ''] = after.split(' ');
    if (directory === undefined) continue;
    if (type === 'cgroup2') v2 ??= directory;
    if (type === 'cgroup') for (const option of options.split(',')) if (known.has(option)) v1.set(option, directory);
  }
  return { v1, v2 };
}

const known = new Set(
  'cpuset cpu cpuacct blkio memory devices freezer net_cls perf_event net_prio hugetlb pids rdma misc'.split(' '),
);

const consequences: Readonly<Record<string, string>> = {
  memory: '--memory',
  cpu: '--cpus and --cpu-shares',
  pids: '--pids-limit',
  cpuset: '--cpuset-cpus',
  devices: 'the device list of containers',
  freezer: 'docker pause',
  blkio: 'I/O limits',
  io: 'I/O limits',
};

async function controllers(host: Host, { v1, v2 }: Hierarchies): Promise<Finding> {
  const name = 'cgroups.controllers';
  const unified = v1.size === 0;
  const there = unified ? ((await host.read(`${v2}/cgroup.controllers`)) ?? '').trim().split(/\s+/) : [...v1.keys()];
  const wanted = unified
    ? ['memory', 'cpu', 'pids', 'cpuset', 'io']
    : ['memory', 'cpu', 'pids', 'cpuset', 'devices', 'freezer', 'blkio'];
  const missing = wanted.filter((controller) => !there.includes(controller));
  if (missing.length === 0) return { name, state: 'ok', found: wanted.join(', ') };
  // Without the device controller a container with mknod reaches the host's disks.
  const state = missing.includes('devices') ? 'fail' : 'warn';
  const without = missing.map((controller) => `${controller} (${consequences[controller]})`).join(', ');
  const boot = `boot without cgroup_disable=${missing.join()}, or a kernel that has ${missing.length > 1 ? 'them' : 'it'}`;
  const cure = unified
    ? boot
    : missing.includes('memory')
      ? 'boot with cgroup_enable=memory swapaccount=1'
      : `mount -t cgroup -o ${missing[0]} cgroup /sys/fs/cgroup/${missing[0]}, or ${boot}`;
  return { name, state, found: `without ${without}`, cure };
}

/** crun up to 1.8 takes a hybrid machine whose version 2 hierarchy has controllers for a version 2 machine, and fails. */
async function hybrid(
  host: Host,
  { v1, v2 }: Hierarchies & { readonly v2: string },
  crun: string | undefined,
): Promise<Finding> {
  const name = 'cgroups.hybrid';
  const left = ((await host.read(`${v2}/cgroup.controllers`)) ?? '').split(/\s+/).filter((word) => word !== '');
  if (left.length === 0) return { name, state: 'ok', found: 'the version 2 hierarchy has no controllers' };
  const found = `the version 2 hierarchy still has ${left.join(', ')}`;
  const [major = 0, minor = 0] = (crun ?? '').split('.').map(Number);
  if (crun === undefined || major > 1 || minor > 8) return { name, state: 'ok', found };
  const parent = [...v1.values()][0]!.replace(/\/[^/]+$/, '');
  const movable = left.filter((controller) => known.has(controller));
  return {
    name,
    state: 'warn',
    found: `${found}, which crun ${crun} refuses: runc is used, and starts take longer`,
    cure: movable
      .map((one) => `mkdir ${parent}/${one} && mount -t cgroup -o ${one} cgroup ${parent}/${one}`)
      .join('; '),
    ...(host.root &&
      movable.length === left.length && {
        fix: async () => {
          for (const controller of movable) await host.change.mountCgroup(controller, `${parent}/${controller}`);
        },
      }),
  };
}
