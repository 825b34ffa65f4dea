import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeDirectories } from './make-directories.ts';

const scratch = mkdtempSync(join(tmpdir(), 'make-directories-'));
after(() => rmSync(scratch, { recursive: true }));

test('all that is missing is made, and what is there stays as it is', async () => {
  mkdirSync(join(scratch, 'here'), { mode: 0o700 });
  symlinkSync('here', join(scratch, 'link'));
  await Promise.all([
    makeDirectories(join(scratch, 'link/a/b'), 0o711),
    makeDirectories(join(scratch, 'here/a/b'), 0o711),
  ]);
  assert.equal(statSync(join(scratch, 'here')).mode & 0o777, 0o700);
  assert.equal(statSync(join(scratch, 'here/a/b')).mode & 0o777, 0o711);
  await makeDirectories('/', 0o755);
});

test('what cannot be made is an error that names it, also where the file system says that it is not there', async () => {
  writeFileSync(join(scratch, 'file'), '');
  symlinkSync('nowhere', join(scratch, 'dangling'));
  await assert.rejects(makeDirectories(join(scratch, 'file'), 0o755), { code: 'EEXIST' });
  await assert.rejects(makeDirectories(join(scratch, 'file/below'), 0o755), { code: 'ENOTDIR' });
  await assert.rejects(makeDirectories(join(scratch, 'dangling'), 0o755), { code: 'EEXIST' });
  await assert.rejects(makeDirectories('/proc/berth-nothing/x', 0o755), /mkdir '\/proc\/berth-nothing'/);
});
