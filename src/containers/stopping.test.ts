import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIgnored } from './stopping.ts';

test('whether a signal does anything to a process: PID 1 takes only what it asks for', () => {
  const status = (pids: string, ignored: string, caught: string) =>
    `Name:\tsh\nNSpid:\t${pids}\nSigIgn:\t${ignored}\nSigCgt:\t${caught}\n`;
  const [none, term] = ['0000000000000000', '0000000000004000'];
  assert.equal(isIgnored(status('4242\t1', none, none), 15), true);
  assert.equal(isIgnored(status('4242\t1', none, term), 15), false);
  assert.equal(isIgnored(status('4242', none, none), 15), false);
  assert.equal(isIgnored(status('4242', term, none), 15), true);
  assert.equal(isIgnored('', 15), false);
});
