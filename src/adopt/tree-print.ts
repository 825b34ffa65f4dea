import { createHash } from 'node:crypto';
import { lstat, readdir } from 'node:fs/promises';

/**
 * A hash of the names, owners, modes, sizes and times of all below a folder, and of the folder itself: it is another one as
 * soon as anything is written there. Contents are not read; the time of a file's last change of any kind, which no program
 * can set, stands for them.
 */
export async function treePrint(folder: string): Promise<string> {
  const hash = createHash('sha256');
  // As latin1 every byte of a name stays what it is.
  const visit = async (path: string, name: string) => {
    const stat = await lstat(Buffer.from(path, 'latin1'), { bigint: true });
    const { mode, uid, gid, size, rdev, mtimeNs, ctimeNs } = stat;
    // Of a folder the kernel changes that time too when it is looked at through an overlay.
    const facts = stat.isDirectory() ? [mode, uid, gid, mtimeNs] : [mode, uid, gid, size, rdev, mtimeNs, ctimeNs];
    hash.update(`${JSON.stringify(name)} ${facts.join(' ')}\n`);
    if (!stat.isDirectory()) return;
    const names = await readdir(Buffer.from(path, 'latin1'), 'buffer');
    for (const entry of names.map((one) => one.toString('latin1')).sort()) await visit(`${path}/${entry}`, entry);
    hash.update('.\n');
  };
  await visit(Buffer.from(folder).toString('latin1'), '');
  return hash.digest('hex');
}
