import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, release } from 'node:os';
import { capabilitiesOfMask } from './capabilities.ts';
import type { Machine } from './input.ts';

/** Reads the machine's facts below `root` ('' is the machine itself; tests give a directory). Never throws. */
export function readMachine(root = ''): Machine {
  const text = (path: string) => {
    try {
      return readFileSync(root + path, 'utf8').trim();
    } catch {
      return '';
    }
  };
  const unified = existsSync(`${root}/sys/fs/cgroup/cgroup.controllers`);
  const controllers = unified
    ? words(text('/sys/fs/cgroup/cgroup.controllers'))
    : mountedV1(text('/proc/self/mountinfo'));
  const kernel = kernelVersion(text('/proc/sys/kernel/osrelease') || release());
  const cpuList = text('/sys/devices/system/cpu/online') || `0-${availableParallelism() - 1}`;
  const status = text('/proc/self/status');
  return {
    architecture: arch(),
    kernel,
    cgroupVersion: unified ? 2 : 1,
    controllers: new Set(controllers),
    swapLimit: unified || existsSync(`${root}/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes`),
    blockWeight: existsSync(`${root}/sys/fs/cgroup/blkio/blkio.weight`) || (unified && controllers.includes('io')),
    cpus: listCount(cpuList),
    cpuList,
    memoryList: text('/sys/devices/system/node/online') || '0',
    capabilities: capabilitiesOfMask(/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'),
    hardLimits: hardLimits(text('/proc/self/limits')),
    appArmor: /^y/i.test(text('/sys/module/apparmor/parameters/enabled')) && existsSync(`${root}${appArmorDirectory}`),
    selinux: existsSync(`${root}/sys/fs/selinux/enforce`),
    seccomp: /^Seccomp:/m.test(status),
    thermalPaths: thermalPaths(root),
    sysctls: new Set(ownSysctls.filter((name) => existsSync(`${root}/proc/sys/${name.replaceAll('.', '/')}`))),
    // mount_setattr(2), which `rro` is made with.
    recursiveReadOnly: kernel[0] > 5 || (kernel[0] === 5 && kernel[1] >= 12),
  };
}

const appArmorDirectory = '/sys/kernel/security/apparmor';
const ownSysctls = ['net.ipv4.ping_group_range', 'net.ipv4.ip_unprivileged_port_start'];
const words = (text: string) => text.split(/\s+/).filter((word) => word !== '');

export function kernelVersion(release: string): readonly [number, number] {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return [Number(major ?? 0), Number(minor ?? 0)];
}

/** Controllers of cgroup v1 hierarchies that are mounted: the super options of their lines. */
function mountedV1(mountinfo: string): string[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [, after = ''] = line.split(' - ');
    const [type, , options = ''] = after.split(' ');
    return type === 'cgroup' ? options.split(',') : [];
  });
}

/** How many a kernel list such as `0-3,8` names. */
export const listCount = (list: string) => parseKernelList(list)?.size ?? 1;

/** The numbers of a kernel list, or undefined when it is none. */
export function parseKernelList(list: string): ReadonlySet<number> | undefined {
  const numbers = new Set<number>();
  for (const part of list.split(',').filter((text) => text !== '')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (!match) return undefined;
    const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (to < from || to > 8192) return undefined;
    for (let number = from; number <= to; number++) numbers.add(number);
  }
  return numbers;
}

/** /proc/self/limits: a name of several words, then soft, hard and unit in columns. */
function hardLimits(text: string): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const [prefix, name] of Object.entries(limitNames)) {
    const line = text.split('\n').find((candidate) => candidate.startsWith(prefix));
    const hard = line?.slice(26).trim().split(/\s+/)[1];
    if (hard !== undefined) limits[`RLIMIT_${name}`] = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  }
  return limits;
}

const limitNames: Readonly<Record<string, string>> = {
  'Max cpu time': 'CPU',
  'Max file size': 'FSIZE',
  'Max data size': 'DATA',
  'Max stack size': 'STACK',
  'Max core file size': 'CORE',
  'Max resident set': 'RSS',
  'Max processes': 'NPROC',
  'Max open files': 'NOFILE',
  'Max locked memory': 'MEMLOCK',
  'Max address space': 'AS',
  'Max file locks': 'LOCKS',
  'Max pending signals': 'SIGPENDING',
  'Max msgqueue size': 'MSGQUEUE',
  'Max nice priority': 'NICE',
  'Max realtime priority': 'RTPRIO',
  'Max realtime timeout': 'RTTIME',
};

function thermalPaths(root: string): string[] {
  const cpus = '/sys/devices/system/cpu';
  try {
    return readdirSync(root + cpus)
      .filter((name) => /^cpu\d+$/.test(name))
      .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
      .map((name) => `${cpus}/${name}/thermal_throttle`)
      .filter((path) => existsSync(root + path));
  } catch {
    return [];
  }
}
