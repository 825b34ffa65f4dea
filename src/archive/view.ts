import { EngineError } from '../base/errors.ts';
import { type IdMaps, insideOf, outsideOf } from '../sys/user-namespace.ts';

/**
 * What an operation sees of a container's files: its root, and what is mounted over it. Nothing is mounted for it (S03):
 * the walk goes from one to the other. Plain data, as it is sent to a thread.
 */
export interface RootView {
  /** The root directory. It stays open as long as the operation runs. */
  readonly root: number;
  readonly readOnly: boolean;
  /** Outside is who owns the files of the root as the engine sees them, inside who they are in the container. */
  readonly owners?: IdMaps | undefined;
  /** Those above others first. */
  readonly mounts: readonly MountView[];
}

export interface MountView {
  /** Where it is in the container. */
  readonly target: string;
  /**
   * A directory or a file of the host by the path that the engine was given, or a descriptor of a directory; and a path
   * below it, which somebody else may have made ('' is it itself).
   */
  readonly source: { readonly at: string | number; readonly below: string };
  readonly readOnly: boolean;
  /** As of the root; undefined where the container has the same IDs. */
  readonly owners?: IdMaps | undefined;
  /** What is mounted on the host below the source is not seen. */
  readonly alone: boolean;
}

/** Facts of a path in a container, as `X-Docker-Container-Path-Stat` has them. */
export interface PathStat {
  readonly name: string;
  readonly size: number;
  /** Go's os.FileMode. */
  readonly mode: number;
  /** RFC 3339, UTC. */
  readonly mtime: string;
  /** Of a symbolic link, resolved as far as there is something; '' for all else. */
  readonly linkTarget: string;
}

/** Who owns what is unpacked, whoever owned it before. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Who the kernel shows for somebody who is nobody there (/proc/sys/kernel/overflowuid). */
const nobody = 65534;

/** Who owns a file in the container. */
export function ownerInside(owners: IdMaps | undefined, { uid, gid }: Owner): Owner {
  if (!owners) return { uid, gid };
  return { uid: insideOf(owners.uids, uid) ?? nobody, gid: insideOf(owners.gids, gid) ?? nobody };
}

/** Whom the file is given to. Throws `invalid` in Docker's words. */
export function ownerOutside(owners: IdMaps | undefined, { uid, gid }: Owner): Owner {
  if (!owners) return { uid, gid };
  const of = (ranges: IdMaps['uids'], id: number) => {
    const outside = outsideOf(ranges, id);
    if (outside === undefined)
      throw new EngineError('invalid', `Container ID ${id} cannot be mapped to a host ID`, {
        hint: 'the user namespace of the container has fewer IDs',
      });
    return outside;
  };
  return { uid: of(owners.uids, uid), gid: of(owners.gids, gid) };
}

export type ChangeKind = 'modified' | 'added' | 'deleted';

export interface Change {
  readonly path: string;
  readonly kind: ChangeKind;
}
