import type { FileFacts, FileSystemFacts, Host } from './host.ts';

/** What is different about a machine on which everything is well. For tests. */
export interface FakeMachine {
  readonly files?: Readonly<Record<string, string | undefined>>;
  readonly directories?: Readonly<Record<string, readonly string[]>>;
  readonly stats?: Readonly<Record<string, Partial<FileFacts>>>;
  readonly disk?: Partial<FileSystemFacts>;
  readonly programs?: Readonly<Record<string, string | undefined>>;
  readonly root?: boolean;
  readonly now?: number;
}

export function fakeHost(machine: FakeMachine = {}): { host: Host; changes: string[] } {
  const changes: string[] = [];
  const files: Record<string, string | undefined> = {
    '/proc/sys/kernel/osrelease': '6.12.1-amd64\n',
    '/proc/filesystems': 'nodev\tproc\nnodev\toverlay\n\terofs\n',
    '/proc/modules': 'nf_tables 1 0 - Live 0x0\nbridge 1 0 - Live 0x0\nveth 1 0 - Live 0x0\n',
    '/proc/sys/kernel/seccomp/actions_avail': 'kill_process errno allow\n',
    '/proc/self/mountinfo': '30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
    '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
    '/proc/sys/net/ipv4/ip_forward': '1\n',
    '/proc/self/limits': 'Max open files            1024                 1048576              files     \n',
    '/proc/self/status': 'CapBnd:\t000001ffffffffff\n',
    ...machine.files,
  };
  const programs: Record<string, string | undefined> = {
    '/usr/bin/crun': 'crun version 1.20\n',
    '/usr/bin/dpkg-query':
      'crun installed 1.20-1\nlibnftables1 installed 1.0\nnftables installed 1.0\nprocps installed 6\ntini installed 1\n',
    '/usr/sbin/nft': '{"nftables":[]}',
    ...machine.programs,
  };
  const directories: Record<string, readonly string[]> = {
    '/proc/self/ns': ['mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup', 'user', 'pid_for_children'],
    ...machine.directories,
  };
  const stats: Record<string, Partial<FileFacts>> = { '/var/lib/berth': {}, '/': {}, ...machine.stats };
  const which = async (program: string) =>
    Object.keys(programs).find(
      (path) => programs[path] !== undefined && (path === program || path.endsWith(`/${program}`)),
    );
  const host: Host = {
    root: machine.root ?? true,
    architecture: 'x64',
    now: () => machine.now ?? Date.UTC(2026, 5),
    read: async (path) => files[path],
    list: async (path) => directories[path] ?? [],
    stat: async (path) => stats[path] && { directory: true, mode: 0o700, uid: 0, modified: 0, ...stats[path] },
    statfs: async () => ({
      magic: 0xef53,
      bytes: 100 * 1024 ** 3,
      freeBytes: 50 * 1024 ** 3,
      inodes: 1e6,
      freeInodes: 9e5,
      ...machine.disk,
    }),
    which,
    run: async (program) => {
      const path = await which(program);
      return path === undefined ? undefined : programs[path];
    },
    change: {
      write: async (path, text) => void changes.push(`write ${path} ${text}`),
      chmod: async (path, mode) => void changes.push(`chmod ${path} ${mode.toString(8)}`),
      mountCgroup: async (controller, directory) => void changes.push(`mount ${controller} ${directory}`),
    },
  };
  return { host, changes };
}
