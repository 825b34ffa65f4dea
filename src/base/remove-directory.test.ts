import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { removeDirectory } from './remove-directory.ts';

const place = mkdtempSync(join(tmpdir(), 'berth-remove-'));
after(() => rmSync(place, { recursive: true, force: true }));

test('a directory is gone although somebody makes files in it until he dies', { timeout: 60_000 }, async () => {
  for (let round = 0; round < 20; round++) {
    const path = join(place, String(round));
    mkdirSync(path);
    // Once it is gone no file can be made in it.
    const script = 'echo; i=0; while [ $i -lt 3000 ] && { : > "$1/$i"; } 2>/dev/null; do i=$((i + 1)); done';
    const writer = spawn('/bin/sh', ['-c', script, 'sh', path], { stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = once(writer, 'exit');
    await once(writer.stdout, 'data');
    await removeDirectory(path);
    assert.equal(existsSync(path), false);
    await ended;
    assert.equal(existsSync(path), false);
  }
});

test('what is not there, what is no directory, and links that lead out of it', async () => {
  await removeDirectory(join(place, 'nowhere'));
  const [kept, path] = [join(place, 'kept'), join(place, 'links')];
  mkdirSync(kept);
  writeFileSync(join(kept, 'file'), 'x');
  mkdirSync(path);
  symlinkSync(kept, join(path, 'link'));
  symlinkSync('nowhere', join(path, 'dangling'));
  await removeDirectory(path);
  assert.deepEqual([existsSync(path), existsSync(join(kept, 'file'))], [false, true]);
  writeFileSync(path, 'a file');
  await removeDirectory(path);
  assert.equal(existsSync(path), false);
});
