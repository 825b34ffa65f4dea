import { lstatSync, readFileSync } from 'node:fs';
import type { Spec } from '../oci/runtime-spec.ts';

/** Of the kernel's own files; what else a request hides may lie behind links, and mounts are listed without them. */
const kernels = /^\/(proc|sys)\/(?!self\/|thread-self\/)/;

interface Mount {
  readonly root: string;
  readonly readOnly: boolean;
  readonly type: string;
}

/**
 * The first path that the spec hides or protects and that is open in the container all the same. A runtime with a hole can be
 * led to mount something else over it, or nothing (CVE-2025-31133, CVE-2025-52881). `exists` is asked only where there is no
 * mount: what this kernel has not needs none.
 */
export function openPath(
  { maskedPaths = [], readonlyPaths = [] }: Pick<Spec['linux'], 'maskedPaths' | 'readonlyPaths'>,
  mountinfo: string,
  exists: (path: string) => boolean,
): string | undefined {
  const mounts = new Map<string, Mount>();
  // The last is on top.
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const [, , , root, point, options] = before!.split(' ');
    if (point && after)
      mounts.set(point, { root: root!, readOnly: /^ro\b/.test(options!), type: after.split(' ')[0]! });
  }
  const isMasked = ({ root, type }: Mount) =>
    type === 'tmpfs' || (type !== 'proc' && type !== 'sysfs' && root.endsWith('/null'));
  const isClosed = (path: string, fits: (mount: Mount) => boolean) => {
    const mount = mounts.get(path);
    return mount ? fits(mount) : !exists(path);
  };
  return (
    maskedPaths.filter((path) => kernels.test(path)).find((path) => !isClosed(path, isMasked)) ??
    readonlyPaths.filter((path) => kernels.test(path)).find((path) => !isClosed(path, ({ readOnly }) => readOnly))
  );
}

/** What is open in the container of this process. Nothing when it may change its own mounts, or has ended already. */
export function openPathOf(pid: number, { linux, process }: Pick<Spec, 'linux' | 'process'>): string | undefined {
  if (process.capabilities?.bounding?.includes('CAP_SYS_ADMIN')) return undefined;
  const exists = (path: string) => lstatSync(`/proc/${pid}/root${path}`, { throwIfNoEntry: false }) !== undefined;
  try {
    const mountinfo = readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
    return mountinfo === '' ? undefined : openPath(linux, mountinfo, exists);
  } catch {
    return undefined;
  }
}
