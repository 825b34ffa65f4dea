import { invalidTar, nameText } from './tar-entry.ts';

/** The kernel's own bounds, PATH_MAX and NAME_MAX. */
const pathLimit = 4096;
const nameLimit = 255;

/**
 * The components of a path in a layer, from the layer's root: leading slashes, empty components and `.` fall away, `a/..`
 * is taken together. The root itself has none. Throws `invalid` for what leaves the root or cannot be a file name.
 */
export function componentsOf(path: string): string[] {
  if (path.length > pathLimit)
    throw invalidTar(`the name ${nameText(path)} has ${path.length} bytes, more than ${pathLimit}`);
  if (path.includes('\0')) throw invalidTar(`the name ${nameText(path)} contains a NUL byte`);
  const components: string[] = [];
  for (const component of path.split('/')) {
    if (component === '' || component === '.') continue;
    if (component === '..') {
      if (components.pop() === undefined) throw invalidTar(`the name ${nameText(path)} leaves the root`);
    } else if (component.length > nameLimit) {
      throw invalidTar(`a component of ${nameText(path)} has ${component.length} bytes, more than ${nameLimit}`);
    } else components.push(component);
  }
  return components;
}

/** What a name says about the layers below (OCI image-spec, layer.md, Whiteouts). */
export type Marker =
  | { readonly kind: 'none' }
  | { readonly kind: 'whiteout'; readonly name: string }
  | { readonly kind: 'opaque' }
  /** aufs's own files, which no image means to contain. */
  | { readonly kind: 'skip' };

export function markerOf(name: string): Marker {
  if (!name.startsWith('.wh.')) return { kind: 'none' };
  if (name === '.wh..wh..opq') return { kind: 'opaque' };
  if (name.startsWith('.wh..wh.')) return { kind: 'skip' };
  const hidden = name.slice(4);
  if (hidden === '' || hidden === '.' || hidden === '..') throw invalidTar(`${nameText(name)} hides no file`);
  return { kind: 'whiteout', name: hidden };
}

/** The target of a symbolic link as the kernel would take it. */
export function checkLinkTarget(name: string, target: string): string {
  if (target === '' || target.includes('\0'))
    throw invalidTar(`the symbolic link ${nameText(name)} has no valid target`);
  if (target.length >= pathLimit) {
    throw invalidTar(
      `the target of the symbolic link ${nameText(name)} has ${target.length} bytes, more than ${pathLimit - 1}`,
    );
  }
  return target;
}

/**
 * Attributes that a layer may carry. Overlay's own would let a layer redirect lookups: ours alone are written. What the
 * kernel would not store (an unknown name space) is left out, as Docker does on a file system without it.
 */
export function keptXattrs(xattrs: ReadonlyMap<string, Buffer> | undefined): ReadonlyMap<string, Buffer> | undefined {
  if (!xattrs) return undefined;
  const kept = new Map(
    [...xattrs].filter(
      ([name, value]) =>
        (/^(user|trusted|security)\../s.test(name) || name === aclAccess || name === aclDefault) &&
        !name.startsWith('trusted.overlay.') &&
        !name.startsWith('user.overlay.') &&
        !name.includes('\0') &&
        name.length <= nameLimit &&
        value.length <= 65_535,
    ),
  );
  return kept.size > 0 ? kept : undefined;
}

export const aclAccess = 'system.posix_acl_access';
export const aclDefault = 'system.posix_acl_default';
