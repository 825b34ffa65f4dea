import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../base/errors.ts';

/** Bytes of the files below a folder, each file once however many names it has. What goes meanwhile counts nothing. */
export async function treeSize(root: string): Promise<number> {
  const seen = new Set<string>();
  let bytes = 0;
  const waiting = [root];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(ignoreGone([]))) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        waiting.push(path);
        continue;
      }
      const facts = await lstat(path).catch(ignoreGone(undefined));
      if (!facts || seen.has(`${facts.dev} ${facts.ino}`)) continue;
      if (facts.nlink > 1) seen.add(`${facts.dev} ${facts.ino}`);
      bytes += facts.size;
    }
  }
  return bytes;
}

function ignoreGone<T>(otherwise: T): (error: unknown) => T {
  return (error) => {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return otherwise;
    throw error;
  };
}
