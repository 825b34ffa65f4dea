import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMachineGoingDown } from './machine-shutdown.ts';

test('the machine goes down when systemd says so, and at no other time', async () => {
  const asked = (state: string, hasSystemd = true) => isMachineGoingDown({ hasSystemd, state: async () => state });
  assert.equal(await asked('stopping\n'), true);
  for (const state of ['running\n', 'degraded\n', 'starting\n', '']) assert.equal(await asked(state), false, state);
  assert.equal(await asked('stopping\n', false), false);
});
