import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFoundation } from './foundation.ts';

test('what lies below every image is made whole, whatever the umask, and stays as it is', () => {
  const place = mkdtempSync(join(tmpdir(), 'berth-foundation-'));
  const umask = process.umask(0o077);
  try {
    const at = makeFoundation(join(place, 'below'));
    const all = readdirSync(at, { recursive: true, encoding: 'utf8' }).sort();
    assert.deepEqual(all, [
      ...['.dockerenv', 'dev', 'dev/console', 'dev/pts', 'dev/shm', 'etc', 'etc/hostname', 'etc/hosts', 'etc/mtab'],
      ...['etc/resolv.conf', 'proc', 'sys'],
    ]);
    assert.equal(readlinkSync(join(at, 'etc/mtab')), '/proc/mounts');
    const modes = new Set(
      all.filter((name) => name !== 'etc/mtab').map((name) => statSync(join(at, name)).mode & 0o777),
    );
    assert.deepEqual([...modes], [0o755]);
    const { ino, ctimeNs } = lstatSync(join(at, '.dockerenv'), { bigint: true });
    rmSync(join(at, 'etc/hosts'));
    makeFoundation(at);
    assert.deepEqual(readdirSync(at, { recursive: true, encoding: 'utf8' }).sort(), all);
    const again = lstatSync(join(at, '.dockerenv'), { bigint: true });
    assert.deepEqual([again.ino, again.ctimeNs], [ino, ctimeNs]);
  } finally {
    process.umask(umask);
    rmSync(place, { recursive: true });
  }
});
