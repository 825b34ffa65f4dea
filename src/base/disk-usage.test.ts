import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DiskUsage } from './disk-usage.ts';

test('disk usage is what du says: blocks, sparse files, a file of two names once', async () => {
  const root = mkdtempSync(join(tmpdir(), 'disk-usage-'));
  try {
    const [a, b] = [join(root, 'a'), join(root, 'b')];
    mkdirSync(join(a, 'deep/er'), { recursive: true });
    mkdirSync(b);
    writeFileSync(join(a, 'one'), Buffer.alloc(100_000, 1));
    linkSync(join(a, 'one'), join(b, 'same'));
    writeFileSync(join(a, 'deep/er/sparse'), '');
    truncateSync(join(a, 'deep/er/sparse'), 50_000_000);
    symlinkSync('nowhere', join(b, 'link'));
    writeFileSync(Buffer.concat([Buffer.from(`${b}/`), Buffer.from([0xff, 0xfe])]), 'not UTF-8');
    const usage = new DiskUsage();
    await usage.add(a);
    await usage.add(b);
    await usage.add(join(root, 'nosuch'));
    const [all, own] = [root, '--max-depth=0'];
    const du = Number(execFileSync('du', ['-B1', own, all], { encoding: 'utf8' }).split('\t')[0]);
    // The three folders themselves are not below themselves.
    const folders = Number(execFileSync('stat', ['-c', '%b', root], { encoding: 'utf8' })) * 512 * 3;
    assert.equal(usage.bytes, du - folders);
    assert.equal(usage.inodes, 6);
    const whole = new DiskUsage({ device: statSync(root).dev });
    assert.equal(await whole.addWhole(root), du);
    assert.equal(await whole.addWhole(join(a, 'one')), 0);
    assert.equal(await new DiskUsage({ device: -1 }).addWhole(root), 0);
  } finally {
    rmSync(root, { recursive: true });
  }
});
