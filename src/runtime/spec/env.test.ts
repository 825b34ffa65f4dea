import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { containerEnv, execEnv, mergeEnv } from './env.ts';

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

describe('containerEnv', () => {
  const of = (Env: string[], Tty = false, home = '/root') =>
    containerEnv({ config: { Env, Tty }, hostname: 'h', home });

  it("gives Docker's environment in Docker's order", () => {
    assert.deepEqual(of(['A=1']), [path, 'HOSTNAME=h', 'A=1', 'HOME=/root']);
    assert.deepEqual(of([], true, ''), [path, 'HOSTNAME=h', 'TERM=xterm']);
  });

  it('lets image and user override, and take away', () => {
    assert.deepEqual(of(['HOME=/x', 'PATH=/p', 'TERM=dumb'], true), ['PATH=/p', 'HOSTNAME=h', 'TERM=dumb', 'HOME=/x']);
    assert.deepEqual(of(['HOSTNAME']), [path, 'HOME=/root']);
  });
});

describe('mergeEnv', () => {
  it('keeps the place of what is there and the last value', () => {
    assert.deepEqual(mergeEnv(['A=1', 'B=2'], ['A=3', 'C=4', 'C=5']), ['A=3', 'B=2', 'C=5']);
    assert.deepEqual(mergeEnv(['A=1', 'B=2'], ['A', 'X']), ['B=2']);
    assert.deepEqual(mergeEnv(['A=x=y'], ['A=z=']), ['A=z=']);
  });
});

describe('execEnv', () => {
  it("starts from the container's, with the home of its own user unless one is named", () => {
    const container = ['PATH=/p', 'A=1'];
    assert.deepEqual(execEnv({ container, env: ['A=2'], tty: false, home: '/srv' }), ['PATH=/p', 'A=2', 'HOME=/srv']);
    const named = execEnv({ container: [...container, 'HOME=/image'], env: [], tty: true, home: '/srv' });
    assert.deepEqual(named, ['TERM=xterm', 'PATH=/p', 'A=1', 'HOME=/image']);
    assert.ok(execEnv({ container, env: ['HOME=/mine'], tty: false, home: '/srv' }).includes('HOME=/mine'));
  });
});
