import { dirname } from 'node:path';
import type { Finding } from './finding.ts';
import type { FileSystemFacts, Host } from './host.ts';

/** linux/magic.h, of those that matter here: whether an overlay's writable layer can be on it. */
const fileSystems: Readonly<Record<number, { readonly name: string; readonly refused?: string }>> = {
  0xef53: { name: 'ext4' },
  0x58465342: { name: 'xfs' },
  0x9123683e: { name: 'btrfs' },
  0x2fc12fc1: { name: 'zfs' },
  0xf2f52010: { name: 'f2fs' },
  0xca451a4e: { name: 'bcachefs' },
  0x01021994: { name: 'tmpfs' },
  0x794c7630: { name: 'overlay', refused: 'overlay on overlay is not possible' },
  0x6969: { name: 'nfs', refused: 'no locks and attributes that can be relied on' },
  0xff534d42: { name: 'cifs', refused: 'no owners and special files' },
  0xfe534d42: { name: 'smb2', refused: 'no owners and special files' },
  0x65735546: { name: 'fuse', refused: 'most file systems in user space lack what overlay needs' },
  0x4d44: { name: 'vfat', refused: 'no owners and links' },
  0x2011bab0: { name: 'exfat', refused: 'no owners and links' },
  0x5346544e: { name: 'ntfs', refused: 'no owners and special files' },
  0x9660: { name: 'iso9660', refused: 'read-only' },
  0x73717368: { name: 'squashfs', refused: 'read-only' },
  0xe0f5e1e2: { name: 'erofs', refused: 'read-only' },
};

const GiB = 1024 ** 3;

/** The directory where everything is kept: its file system, room and permissions. It need not be there yet. */
export async function dataRootChecks(host: Host, root: string): Promise<readonly Finding[]> {
  let directory = root;
  let facts = await host.stat(directory);
  while (!facts && directory !== '/') {
    directory = dirname(directory);
    facts = await host.stat(directory);
  }
  const fileSystem = await host.statfs(directory);
  if (!fileSystem) return [{ name: 'data.filesystem', state: 'warn', found: `${root} cannot be looked at` }];
  return [
    await kind(host, directory, fileSystem),
    space(root, fileSystem),
    inodes(root, fileSystem),
    await permissions(host, root),
  ];
}

async function kind(host: Host, directory: string, { magic }: FileSystemFacts): Promise<Finding> {
  const name = 'data.filesystem';
  const { name: label, refused } = fileSystems[magic] ?? { name: `of type 0x${magic.toString(16)}` };
  const cure = 'put data-root on ext4, xfs or btrfs';
  if (refused) return { name, state: 'fail', found: `${label}: ${refused}`, cure };
  if (label === 'tmpfs')
    return { name, state: 'warn', found: 'tmpfs: everything is gone after a restart of the machine', cure };
  if (!fileSystems[magic]) return { name, state: 'warn', found: `${label}: not tried`, cure };
  // xfs made before 2016 may be without file types in directories (d_type), and overlay then shows deleted files.
  if (label === 'xfs' && /ftype=0/.test((await host.run('xfs_info', [directory])) ?? ''))
    return {
      name,
      state: 'fail',
      found: 'xfs with ftype=0 (no d_type): overlay needs it',
      cure: 'mkfs.xfs -n ftype=1',
    };
  return { name, state: 'ok', found: label };
}

function space(root: string, { bytes, freeBytes }: FileSystemFacts): Finding {
  const name = 'data.space';
  const percent = bytes > 0 ? Math.floor((100 * freeBytes) / bytes) : 0;
  const found = `${(freeBytes / GiB).toFixed(1)} GiB free of ${(bytes / GiB).toFixed(1)} (${percent} %) at ${root}`;
  const cure = 'docker system prune, or a larger disk';
  if (freeBytes < GiB / 2) return { name, state: 'fail', found, cure };
  return freeBytes < 5 * GiB && percent < 20 ? { name, state: 'warn', found, cure } : { name, state: 'ok', found };
}

function inodes(root: string, { inodes: all, freeInodes }: FileSystemFacts): Finding {
  const name = 'data.inodes';
  if (all === 0) return { name, state: 'ok', found: 'as many as there is room for' };
  const percent = Math.floor((100 * freeInodes) / all);
  const found = `${freeInodes} inodes free of ${all} (${percent} %) at ${root}`;
  const cure = 'docker system prune, or a file system with more inodes';
  if (freeInodes < 10_000) return { name, state: 'fail', found, cure };
  return percent < 5 ? { name, state: 'warn', found, cure } : { name, state: 'ok', found };
}

/** Whoever can enter it can run the setuid programs of images (S21, CVE-2021-41091). */
async function permissions(host: Host, root: string): Promise<Finding> {
  const name = 'data.permissions';
  const facts = await host.stat(root);
  if (!facts) return { name, state: 'ok', found: `${root} is not there yet` };
  if (!facts.directory) return { name, state: 'fail', found: `${root} is not a directory` };
  const found = `${facts.mode.toString(8).padStart(4, '0')}, owner ${facts.uid}`;
  if (facts.uid !== 0) return { name, state: 'fail', found: `${found}: must be root's`, cure: `chown root ${root}` };
  if ((facts.mode & 0o067) === 0) return { name, state: 'ok', found };
  return {
    name,
    state: 'fail',
    found: `${found}: others can reach the files of containers`,
    cure: `chmod 0700 ${root}`,
    ...(host.root && { fix: () => host.change.chmod(root, 0o700) }),
  };
}
