import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { trimMalloc } from '../sys/malloc.ts';
import { IdleMemory } from './idle-memory.ts';

const mebibyte = 1024 ** 2;

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 5000; !condition(); await sleep(2)) assert.ok(Date.now() < deadline);
}

test('memory is given back when there is little to do, and again only when there is more of it', async () => {
  let resident = 100 * mebibyte;
  let busy = 0.5;
  let looks = 0;
  let given = 0;
  let collected = 0;
  const memory = new IdleMemory({
    resident: () => resident,
    busy: () => {
      looks++;
      return busy;
    },
    collect: () => {
      collected++;
    },
    giveBack: async () => {
      given++;
      resident = 60 * mebibyte;
    },
    intervalMs: 2,
  });
  const looked = async () => {
    const before = looks;
    await until(() => looks > before + 3);
  };
  await looked();
  assert.equal(given, 0);
  busy = 0;
  await until(() => given === 1);
  resident += 2 * mebibyte;
  await looked();
  assert.equal(given, 1);
  resident += 3 * mebibyte;
  await until(() => given === 2);
  assert.equal(collected, 1, 'a little more is not worth to stop for');
  resident += 20 * mebibyte;
  await until(() => given === 3);
  assert.equal(collected, 2);
  memory[Symbol.dispose]();
  const before = looks;
  await sleep(20);
  assert.equal(looks, before);
});

test('the C library gives freed memory back', async () => {
  await trimMalloc();
});
