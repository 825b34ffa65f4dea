import { codeOf } from '../base/errors.ts';
import { FileError } from './file-error.ts';
import { isDirectory } from './path-stat.ts';
import type { Place, Walk } from './walk.ts';

/** Removes a name with all below it, and nothing that is mounted there. Gone already is no error. */
export function removeBelow(walk: Walk, parent: Place, name: string): void {
  const found = walk.child(parent, name);
  if (!found) return;
  try {
    if (found.isMountPoint) throw new FileError('EBUSY', `unlinkat ${name}`);
    if (!isDirectory(found.stat)) return absent(() => walk.calls.unlink(parent.fd, name));
    for (const child of walk.names(found)) removeBelow(walk, found, child);
    absent(() => walk.calls.rmdir(parent.fd, name));
  } finally {
    found.close();
  }
}

function absent(remove: () => void): void {
  try {
    remove();
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}
