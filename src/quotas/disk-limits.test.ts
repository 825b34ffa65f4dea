import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { DiskLimits } from './disk-limits.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-limits-'));
after(() => rmSync(root, { recursive: true, force: true }));
const { how } = new DiskLimits().by(root);

test('where nothing can hold a limit, it is said what is lacking in both ways, and what to do', {
  skip: how === 'project' && 'the disk has project quotas',
}, () => {
  const limits = new DiskLimits({ programs: [] });
  assert.throws(
    () => limits.check(root, 1 << 20, 'limit it'),
    (error: unknown) =>
      error instanceof EngineError &&
      error.kind === 'invalid' &&
      /^limit it: the file system of \S+: it has no project quotas \(.+\); and .+: there is no mkfs\.ext4$/.test(
        error.message,
      ) &&
      /^install e2fsprogs, or put .+ prjquota$/.test(error.hint ?? ''),
  );
  assert.deepEqual(readdirSync(root), []);
});

test('a file with a file system is sparse, and of one that cannot be there is nothing', {
  skip: how !== 'image' && `limits are held here by: ${how}`,
}, async () => {
  const limits = new DiskLimits();
  assert.throws(() => limits.check(root, 1000, 'limit it'), { kind: 'invalid', message: /1m is the least$/ });
  const home = join(root, 'home');
  mkdirSync(home);
  await assert.rejects(limits.limit(home, Number.MAX_SAFE_INTEGER), { kind: 'invalid' });
  assert.deepEqual(readdirSync(home), []);
  assert.equal(limits.isLimited(home), false);
  await limits.limit(home, 2 ** 30);
  const { size, blocks } = statSync(join(home, readdirSync(home)[0]!));
  assert.ok(size === 2 ** 30 && blocks * 512 < 2 ** 24, `${size} ${blocks}`);
  assert.equal(limits.isLimited(home), true);
  limits.release(home);
});
