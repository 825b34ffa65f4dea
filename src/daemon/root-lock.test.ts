import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isRootLocked, lockOwner, lockPath, lockRoot } from './root-lock.ts';

test('R18 a second engine on a root is refused with the name of the first, and a stale lock file blocks nobody', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'berth-lock-'));
  t.after(() => rmSync(root, { recursive: true }));
  writeFileSync(lockPath(root), 'left by a power loss');
  assert.equal(isRootLocked(root), false);
  const first = lockRoot(root, { pid: 42, socket: '/run/x.sock' });
  assert.equal(isRootLocked(root), true);
  assert.deepEqual(lockOwner(root), { pid: 42, socket: '/run/x.sock' });
  assert.throws(() => lockRoot(root, { pid: 43, socket: '/run/y.sock' }), {
    kind: 'conflict',
    message: `another engine (pid 42, /run/x.sock) is using ${root}`,
  });
  first[Symbol.dispose]();
  assert.equal(isRootLocked(root), false);
  lockRoot(root, { pid: 44, socket: '/run/z.sock' })[Symbol.dispose]();
});
