import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DirectoryCalls } from '../../src/sys/dirfd.ts';
import { openat2, resolve } from '../../src/sys/openat2.ts';

test('a path with .. is resolved in its root while something else is renamed all the time', async () => {
  const base = mkdtempSync(join(tmpdir(), 'berth-openat2-'));
  mkdirSync(join(base, 'a/b'), { recursive: true });
  const root = openSync(base, constants.O_RDONLY | constants.O_DIRECTORY);
  const script = `
    const { renameSync, writeFileSync } = require('node:fs');
    process.chdir(${JSON.stringify(base)});
    writeFileSync('x', '');
    process.stdout.write('go');
    for (;;) { renameSync('x', 'y'); renameSync('y', 'x'); }`;
  const renaming = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await new Promise((done) => renaming.stdout.once('data', done));
    const calls = new DirectoryCalls();
    const how = { flags: constants.O_DIRECTORY, resolve: resolve.inRoot | resolve.noMagicLinks };
    for (let i = 0; i < 20_000; i++) calls.close(openat2(root, 'a/b/../../a/../../a/b', how));
    assert.throws(() => openat2(root, 'a/../nosuch', how), { code: 'ENOENT' });
  } finally {
    renaming.kill('SIGKILL');
    await new Promise((done) => renaming.once('close', done));
    closeSync(root);
    rmSync(base, { recursive: true, force: true });
  }
});
