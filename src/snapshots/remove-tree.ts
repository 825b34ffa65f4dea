import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { codeOf } from '../base/errors.ts';

/**
 * Removes a directory with all below it. A container may nest directories deeper than any path can name: those are left
 * to rm(1), which goes down by descriptors.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (codeOf(error) !== 'ENAMETOOLONG') throw error;
    await promisify(execFile)('/bin/rm', ['-rf', '--', path], { env: {} });
  }
}
