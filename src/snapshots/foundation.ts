import { chmodSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What Docker's containers have whatever their image has: by `/.dockerenv` programs know where they are, `/etc/mtab` is what
 * old ones read, and the others are what something is mounted over.
 */
const directories = ['dev', 'dev/pts', 'dev/shm', 'etc', 'proc', 'sys'] as const;
const files = ['.dockerenv', 'dev/console', 'etc/hostname', 'etc/hosts', 'etc/resolv.conf'] as const;
const links = [['etc/mtab', '/proc/mounts']] as const;

/**
 * Makes the directory that lies below the layers of every container: what an image has covers it, and nothing of it is in
 * what a container wrote. Returns it. What is there stays as it is: containers that run stand on it.
 */
export function makeFoundation(directory: string): string {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const isThere = (name: string) => lstatSync(join(directory, name), { throwIfNoEntry: false }) !== undefined;
  // The umask is the engine's.
  const allow = (name: string) => chmodSync(join(directory, name), 0o755);
  for (const name of directories.filter((one) => !isThere(one))) {
    mkdirSync(join(directory, name));
    allow(name);
  }
  for (const name of files.filter((one) => !isThere(one))) {
    writeFileSync(join(directory, name), '');
    allow(name);
  }
  for (const [name, target] of links) if (!isThere(name)) symlinkSync(target, join(directory, name));
  return directory;
}
