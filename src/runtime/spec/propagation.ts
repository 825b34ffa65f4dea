import { EngineError } from '../../base/errors.ts';
import type { ContainerMount } from './input.ts';

/**
 * A bind that shares what is mounted later, in one direction or both, works only from a mount that is shared itself (or a
 * slave of one): refused where it would silently not happen. `mountinfo` is the text of /proc/self/mountinfo.
 */
export function checkPropagation(mounts: readonly ContainerMount[], mountinfo: string): void {
  const wanting = mounts.flatMap((mount) => {
    const way = mount.type === 'bind' ? /^r?(shared|slave)$/.exec(mount.propagation ?? '')?.[1] : undefined;
    return mount.type === 'bind' && way !== undefined ? [{ source: mount.source, way }] : [];
  });
  if (wanting.length === 0) return;
  const points = parse(mountinfo);
  for (const { source, way } of wanting) {
    // The last of the longest: mounts at the same place lie on top of each other.
    const holding = points
      .filter(({ path }) => path === '/' || source === path || source.startsWith(`${path}/`))
      .reduce(
        (best, point) => (best && best.path.length > point.path.length ? best : point),
        undefined as Point | undefined,
      );
    if (holding?.shared || (way === 'slave' && holding?.slave)) continue;
    const needed = way === 'shared' ? 'shared' : 'shared or slave';
    throw new EngineError(
      'invalid',
      `path ${source} is mounted on ${holding?.path ?? '/'} but it is not a ${needed} mount`,
    );
  }
}

interface Point {
  readonly path: string;
  readonly shared: boolean;
  readonly slave: boolean;
}

/** proc_pid_mountinfo(5): the optional fields stand before the dash; blanks in paths are written as \040. */
function parse(mountinfo: string): Point[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = ''] = line.split(' - ');
    const fields = before.split(' ');
    const optional = fields.slice(6);
    if (fields[4] === undefined) return [];
    const path = fields[4].replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
    const has = (tag: string) => optional.some((field) => field.startsWith(tag));
    return [{ path, shared: has('shared:'), slave: has('master:') }];
  });
}
