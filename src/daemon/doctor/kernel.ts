import type { Finding } from './finding.ts';
import type { Host } from './host.ts';

/** The kernel's version, and what containers need of it. */
export async function kernelChecks(host: Host): Promise<readonly Finding[]> {
  const release = ((await host.read('/proc/sys/kernel/osrelease')) ?? '').trim();
  const kernel = await kernelOf(host, release);
  return [
    version(release),
    feature(kernel, { name: 'kernel.overlay', label: 'overlay file systems', module: 'overlay', state: 'fail' }),
    await erofs(host, kernel, release),
    feature(kernel, { name: 'kernel.nf_tables', label: 'nftables', module: 'nf_tables', state: 'fail' }),
    feature(kernel, { name: 'kernel.bridge', label: 'bridges', module: 'bridge', state: 'fail' }),
    feature(kernel, { name: 'kernel.veth', label: 'virtual network cables', module: 'veth', state: 'fail' }),
    await namespaces(host),
    await userNamespaces(host, release),
    await seccomp(host),
  ];
}

interface Kernel {
  readonly config: string | undefined;
  readonly filesystems: string;
  /** Names of modules that are loaded, built in, or can be loaded. */
  readonly modules: ReadonlySet<string>;
}

async function kernelOf(host: Host, release: string): Promise<Kernel> {
  const directory = `/lib/modules/${release}`;
  const [config, bootConfig, filesystems, loaded, builtin, available] = await Promise.all([
    host.read('/proc/config.gz'),
    host.read(`/boot/config-${release}`),
    host.read('/proc/filesystems'),
    host.read('/proc/modules'),
    host.read(`${directory}/modules.builtin`),
    host.read(`${directory}/modules.dep`),
  ]);
  const files = [...(builtin ?? '').matchAll(/([^/\s]+)\.ko(?:\.\w+)?\s*$/gm)];
  const loadable = [...(available ?? '').matchAll(/([^/\s]+)\.ko(?:\.\w+)?:/g)];
  const running = [...(loaded ?? '').matchAll(/^(\S+) /gm)];
  const names = [...files, ...loadable, ...running].map(([, name]) => name!.replaceAll('-', '_'));
  return { config: config ?? bootConfig, filesystems: filesystems ?? '', modules: new Set(names) };
}

const numbers = (release: string) => (/^(\d+)\.(\d+)/.exec(release) ?? []).slice(1).map(Number);
const atLeast = (release: string, major: number, minor: number) => {
  const [have = 0, haveMinor = 0] = numbers(release);
  return have > major || (have === major && haveMinor >= minor);
};

function version(release: string): Finding {
  const name = 'kernel.version';
  if (!atLeast(release, 5, 6))
    return {
      name,
      state: 'fail',
      found: `${release}: too old, openat2(2) came with 5.6`,
      cure: 'run a kernel from 5.10 on',
    };
  if (!atLeast(release, 5, 12))
    return { name, state: 'warn', found: `${release}: read-only binds do not cover mounts below them before 5.12` };
  return { name, state: 'ok', found: release };
}

function configured(kernel: Kernel, option: string): boolean | undefined {
  if (kernel.config === undefined) return undefined;
  return new RegExp(`^CONFIG_${option}=[ym]$`, 'm').test(kernel.config);
}

const options: Readonly<Record<string, string>> = {
  overlay: 'OVERLAY_FS',
  nf_tables: 'NF_TABLES',
  bridge: 'BRIDGE',
  veth: 'VETH',
};

function feature(
  kernel: Kernel,
  { name, label, module, state }: { name: string; label: string; module: string; state: 'warn' | 'fail' },
): Finding {
  const there = new RegExp(`\\s${module}$`, 'm').test(kernel.filesystems) || kernel.modules.has(module);
  const built = configured(kernel, options[module]!);
  if (there || built) return { name, state: 'ok', found: label };
  if (built === undefined && kernel.modules.size === 0)
    return {
      name,
      state: 'warn',
      found: `${label}: unknown, the kernel shows neither its configuration nor its modules`,
    };
  return { name, state, found: `no ${label}`, cure: `modprobe ${module}, or a kernel with CONFIG_${options[module]}` };
}

/** Layers are mounted from their files where the kernel can (6.12 on); elsewhere they are unpacked into directories. */
async function erofs(host: Host, kernel: Kernel, release: string): Promise<Finding> {
  const name = 'kernel.erofs';
  const there = /\serofs$/m.test(kernel.filesystems) || kernel.modules.has('erofs');
  const built = configured(kernel, 'EROFS_FS');
  const fromFiles = configured(kernel, 'EROFS_FS_BACKED_BY_FILE');
  const slower = 'images are unpacked into directories instead: pulls take longer';
  if (!there && built !== true) return { name, state: 'warn', found: `no erofs; ${slower}`, cure: 'modprobe erofs' };
  if (!atLeast(release, 6, 12) || fromFiles === false)
    return {
      name,
      state: 'warn',
      found: `erofs cannot mount files (6.12 on); ${slower}`,
      cure: 'run a kernel from 6.12 on',
    };
  return { name, state: 'ok', found: 'erofs, mounted from files' };
}

async function namespaces(host: Host): Promise<Finding> {
  const name = 'kernel.namespaces';
  const there = new Set(await host.list('/proc/self/ns'));
  const missing = ['mnt', 'net', 'pid', 'ipc', 'uts'].filter((kind) => !there.has(kind));
  if (missing.length > 0) return { name, state: 'fail', found: `missing: ${missing.join(', ')}` };
  if (!there.has('cgroup'))
    return { name, state: 'warn', found: 'no cgroup namespaces: --cgroupns=private is refused' };
  return { name, state: 'ok', found: [...there].filter((kind) => !kind.includes('_')).join(', ') };
}

/** Of `--userns auto` and usernsRemap; nothing else needs them. */
async function userNamespaces(host: Host, release: string): Promise<Finding> {
  const name = 'kernel.userns';
  const refused = 'containers with --userns auto or usernsRemap are refused';
  const there = (await host.list('/proc/self/ns')).includes('user');
  if (!there) return { name, state: 'warn', found: `no user namespaces: ${refused}` };
  const most = (await host.read('/proc/sys/user/max_user_namespaces'))?.trim();
  if (most === '0')
    return {
      name,
      state: 'warn',
      found: `user namespaces are switched off: ${refused}`,
      cure: 'sysctl -w user.max_user_namespaces=15000',
    };
  if (!atLeast(release, 5, 19))
    return { name, state: 'warn', found: `no overlay over mounts with mapped owners before 5.19: ${refused}` };
  return { name, state: 'ok', found: 'user namespaces, with mapped owners of files' };
}

async function seccomp(host: Host): Promise<Finding> {
  const name = 'kernel.seccomp';
  const actions = await host.read('/proc/sys/kernel/seccomp/actions_avail');
  if (actions?.includes('errno')) return { name, state: 'ok', found: 'filters' };
  const status = await host.read('/proc/self/status');
  if (/^Seccomp:/m.test(status ?? '')) return { name, state: 'ok', found: 'filters' };
  return {
    name,
    state: 'fail',
    found: 'no seccomp: containers run without a system call filter',
    cure: 'a kernel with CONFIG_SECCOMP_FILTER',
  };
}
