import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { sealedMemfd } from './memfd.ts';

test('a sealed file in memory starts as a program and can be written by nobody, through no descriptor', () => {
  const fd = sealedMemfd('test', readFileSync('/bin/echo'));
  const path = `/proc/${process.pid}/fd/${fd}`;
  try {
    assert.equal(execFileSync(path, ['hello'], { encoding: 'utf8' }), 'hello\n');
    assert.throws(() => writeSync(fd, 'x'), { code: 'EPERM' });
    const again = openSync(path, 'r+');
    assert.throws(() => writeSync(again, 'x'), { code: 'EPERM' });
    closeSync(again);
    assert.throws(() => openSync(path, 'w'), { code: 'EPERM' });
  } finally {
    closeSync(fd);
  }
});
