import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Log, silentLog } from '../../src/base/log.ts';
import type { Seccomp, Spec } from '../../src/oci/runtime-spec.ts';
import { buildMonitor } from '../../src/runtime/build-monitor.ts';
import { Cgroups } from '../../src/runtime/cgroups.ts';
import { OciRuntime } from '../../src/runtime/oci-runtime.ts';
import type { Task, TaskRequest } from '../../src/runtime/runtime.ts';

/** A place for a runtime, with a root file system of busybox. Removed with everything in it. */
export class Place implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), 'berth-runtime-'));
  readonly rootfs = join(this.path, 'rootfs');
  #count = 0;

  constructor() {
    for (const name of ['bin', 'proc', 'dev', 'sys', 'tmp', 'etc'])
      mkdirSync(join(this.rootfs, name), { recursive: true });
    copyFileSync('/bin/busybox', join(this.rootfs, 'bin/busybox'));
    const applets =
      'sh true false cat sleep ls id head tail seq yes stty kill mount unshare dd grep echo env wc tty ps';
    for (const name of applets.split(' ')) symlinkSync('busybox', join(this.rootfs, 'bin', name));
  }

  get root(): string {
    return join(this.path, 'root');
  }

  async open(runtimes = ['crun', 'runc'], log: Log = silentLog): Promise<OciRuntime> {
    return OciRuntime.open({
      root: this.root,
      runtimes: runtimes.map((name) => ({ name, path: name })),
      default: undefined,
      monitor: await buildMonitor({ directory: join(this.path, 'bin') }),
      log,
    });
  }

  request(
    args: readonly string[],
    more: Omit<Partial<TaskRequest>, 'spec'> & { readonly spec?: Partial<Spec> } = {},
  ): TaskRequest {
    const id = more.id ?? `berth-test-${process.pid}-${Date.now().toString(36)}-${this.#count++}`;
    const bundle = more.bundle ?? join(this.path, 'bundles', id);
    mkdirSync(bundle, { recursive: true, mode: 0o700 });
    const base = minimalSpec(this.rootfs, id, args);
    return {
      id,
      bundle,
      runtime: 'crun',
      stdin: 'none',
      size: undefined,
      log: undefined,
      attach: [],
      ...more,
      spec: { ...base, ...more.spec },
    };
  }

  /** Also ends what a test that failed left running. */
  async [Symbol.asyncDispose](): Promise<void> {
    const runtime = await this.open();
    await runtime.recover(new Set());
    await runtime[Symbol.asyncDispose]();
    for (const parent of new Cgroups().directories('/berth-test'))
      try {
        rmdirSync(parent);
      } catch {
        // not there, or another test's groups are in it
      }
    rmSync(this.path, { recursive: true, force: true });
  }
}

export function minimalSpec(rootfs: string, id: string, args: readonly string[]): Spec {
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/bin', 'TERM=xterm'],
      cwd: '/',
      capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
    },
    root: { path: rootfs },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
    ],
    linux: {
      namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }, { type: 'network' }],
      cgroupsPath: `/berth-test/${id}`,
      resources: {},
    },
  };
}

/** Refuses mkdir with EPERM, and nothing else. */
export const noMkdir: Seccomp = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
};

export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The payloads of Docker's frames, by stream. */
export function unframe(frames: Buffer): { stdout: Buffer; stderr: Buffer } {
  const parts: Record<number, Buffer[]> = { 1: [], 2: [] };
  for (let at = 0; at < frames.length; ) {
    const length = frames.readUInt32BE(at + 4);
    parts[frames[at]!]!.push(frames.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return { stdout: Buffer.concat(parts[1]!), stderr: Buffer.concat(parts[2]!) };
}

export async function ended(task: Task, deadline = 20_000): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`task ${task.id} did not end`)), deadline);
  });
  try {
    return (await Promise.race([task.exited, late])).code;
  } finally {
    clearTimeout(timer);
  }
}

/** The pid of a process's monitor. For an instant after the start a part of crun is still between them. */
export async function monitorOf(pid: number): Promise<number> {
  for (let n = 0; n < 200; n++) {
    const parent = Number(/PPid:\t(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
    if (readFileSync(`/proc/${parent}/cmdline`, 'utf8').includes('/monitor-')) return parent;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`process ${pid} has no monitor`);
}
