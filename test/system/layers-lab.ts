import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/base/log.ts';
import { LayerApplier } from '../../src/layers/apply.ts';
import { type TarMember, tarHeader } from '../../src/layers/tar-writer.ts';
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import { DiskLimits } from '../../src/quotas/disk-limits.ts';
import { chooseSnapshotter } from '../../src/snapshots/probe.ts';
import type { LayerForm, Snapshotter } from '../../src/snapshots/snapshotter.ts';
import { libc } from '../../src/sys/libc.ts';

export const forms: readonly LayerForm[] = ['tar+erofs', 'directory'];

/** A snapshotter of one form in a place of its own, and an applier over it. */
export class LayerLab implements AsyncDisposable {
  readonly place = mkdtempSync(join(tmpdir(), 'berth-layers-'));
  readonly root = join(this.place, 'root');
  readonly snapshotter: Snapshotter;
  readonly applier: LayerApplier;
  #blobs = 0;

  constructor(form: LayerForm, limits: { maxBytes?: number; maxEntries?: number; reserveBytes?: number } = {}) {
    const prefer = form === 'directory' ? 'overlay' : 'erofs';
    this.snapshotter = chooseSnapshotter({ root: this.root, log: silentLog, limits: new DiskLimits(), prefer });
    this.applier = new LayerApplier({ snapshotter: this.snapshotter, limits, workers: 2 });
  }

  blob(content: Uint8Array): string {
    const path = join(this.place, `blob${this.#blobs++}`);
    writeFileSync(path, content);
    return path;
  }

  /** Applies a tar, or a blob that decompresses to it. */
  async apply(tar: Buffer, blob: Uint8Array = tar): Promise<Digest> {
    const diffId = digestOf(tar);
    const blobPath = this.blob(blob);
    try {
      await this.applier.apply({ blobPath, diffId });
    } finally {
      rmSync(blobPath);
    }
    return diffId;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.applier[Symbol.asyncDispose]();
    await this.snapshotter[Symbol.asyncDispose]();
    rmSync(this.place, { recursive: true, force: true });
  }
}

/** A header with fields that no writer would write; its checksum is right. */
export function oddHeader(member: TarMember, change: (header: Buffer) => void): Buffer {
  const whole = tarHeader(member);
  const header = whole.subarray(whole.length - 512);
  change(header);
  header.write('        ', 148, 'latin1');
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return whole;
}

/**
 * What a tree looks like, a line for each name, with the content's hash: equal text means equal trees. The size of
 * directories is the file system's own affair.
 */
export function describeTree(root: string): string {
  const native: XattrCalls = {
    list: libc().func('long llistxattr(const void*, void*, size_t)'),
    get: libc().func('long lgetxattr(const void*, const void*, void*, size_t)'),
  };
  const inodes = new Map<bigint, string>();
  const lines: string[] = [];
  const walk = (path: Buffer, shown: string) => {
    const stat = lstatSync(path, { bigint: true });
    const type = Number(stat.mode) & 0o170000;
    const fields = [
      shown,
      stat.mode.toString(8),
      `${stat.uid}:${stat.gid}`,
      shown === '.' ? '' : String(stat.mtimeNs),
      type === 0o040000 ? '' : String(stat.size),
    ];
    if (type === 0o120000) fields.push(`-> ${readlinkSync(path, 'latin1')}`);
    if (type === 0o020000 || type === 0o060000) fields.push(`device ${stat.rdev}`);
    if (type === 0o100000) fields.push(createHash('sha256').update(readFileSync(path)).digest('hex'));
    if (type !== 0o040000) {
      fields.push(`links ${stat.nlink}`);
      const first = inodes.get(stat.ino);
      if (first) fields.push(`= ${first}`);
      else inodes.set(stat.ino, shown);
    }
    fields.push(xattrsOf(native, path));
    lines.push(fields.join(' | '));
    if (type !== 0o040000) return;
    const names = readdirSync(path, 'buffer').sort(Buffer.compare);
    for (const name of names) {
      walk(Buffer.concat([path, Buffer.from('/'), name]), `${shown}/${name.toString('latin1')}`);
    }
  };
  walk(Buffer.from(root), '.');
  return lines.join('\n');
}

interface XattrCalls {
  list(path: Buffer, into: Buffer, size: number): number;
  get(path: Buffer, name: Buffer, into: Buffer, size: number): number;
}

/** All attributes of a file itself, in the order of their names. */
function xattrsOf(native: XattrCalls, path: Buffer): string {
  const file = Buffer.concat([path, Buffer.alloc(1)]);
  const listed = Buffer.allocUnsafe(65_536);
  const length = Number(native.list(file, listed, listed.length));
  if (length <= 0) return '';
  const names = listed
    .toString('latin1', 0, length - 1)
    .split('\0')
    .sort();
  return names
    .map((name) => {
      const value = Buffer.allocUnsafe(65_536);
      const got = Number(native.get(file, Buffer.from(`${name}\0`, 'latin1'), value, value.length));
      return `${name}=${value.toString('hex', 0, Math.max(got, 0))}`;
    })
    .join(' ');
}

/** A Debian base system as a tar, made once and kept beside other runs' files. */
export function debianTar(): string {
  const cache = process.env.BERTH_TEST_CACHE ?? join(tmpdir(), 'berth-test-cache');
  const path = join(cache, 'minbase.tar');
  if (!existsSync(path)) {
    mkdirSync(cache, { recursive: true });
    const beside = `${path}.${process.pid}.tar`;
    execFileSync('mmdebstrap', ['--quiet', '--variant=minbase', 'bookworm', beside], { stdio: 'pipe' });
    renameSync(beside, path);
  }
  return path;
}
