/** Logs of real containers: packed behind a rotation, read back and followed across it, over a kill of the engine. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { dockerCli, startBerth, type TestEngine } from '../lib/engines.ts';

let engine: TestEngine;
before(async () => {
  engine = (await startBerth())!;
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
});
after(async () => {
  engine.docker(['rm', '-f', ...engine.docker(['ps', '-aq']).stdout.split('\n').filter(Boolean)]);
  await engine[Symbol.asyncDispose]();
});

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const late = Date.now() + 90_000; !condition(); await sleep(100)) assert.ok(Date.now() < late, what);
}

const numbers = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => Number(line.split(' ')[1]));

/** Lines `line N ...` from the first to the last that are there: none is missing and none comes twice. */
function assertWhole(text: string, what: string): number[] {
  const seen = numbers(text);
  const expected = Array.from({ length: seen.length }, (_, n) => seen[0]! + n);
  assert.deepEqual(seen, expected, what);
  return seen;
}

test('R24 a log that is rotated and packed is read and followed as one', { timeout: 240_000 }, async () => {
  const script =
    'i=0; for r in 1 2 3; do n=0; while [ $n -lt 2000 ]; do echo "line $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; ' +
    'i=$((i+1)); n=$((n+1)); done; while [ ! -e /tmp/go$r ]; do sleep 0.1; done; done';
  const options = ['--log-opt', 'max-size=50k', '--log-opt', 'max-file=40'];
  engine.must('run', '-d', '--name', 'rotates', ...options, 'bb:1', 'sh', '-c', script);
  const log = engine.must('inspect', '-f', '{{.LogPath}}', 'rotates');
  const name = log.slice(dirname(log).length + 1);
  const files = () => readdirSync(dirname(log)).map((entry) => entry.slice(name.length + 1));
  const plain = () => files().filter((entry) => /^\d+$/.test(entry));
  const packed = () => files().filter((entry) => entry.endsWith('.gz'));
  const written = () => numbers(engine.must('logs', 'rotates')).length;

  const follower = spawn(dockerCli(), ['logs', '-f', 'rotates'], { env: engine.env });
  let followed = '';
  follower.stdout.on('data', (chunk: Buffer) => {
    followed += chunk;
  });
  const followEnded = new Promise((resolve) => follower.on('close', resolve));
  const go = (round: number) => engine.must('exec', 'rotates', 'touch', `/tmp/go${round}`);

  await until('the first round', () => written() === 2000);
  await until('everything rotated is packed', () => plain().length === 0 && packed().length > 1);
  assertWhole(engine.must('logs', 'rotates'), 'packed');
  go(1);
  await until('the second round', () => written() === 4000);
  assert.deepEqual(numbers(engine.must('logs', '--tail', '1500', 'rotates'))[0], 2500);
  await until('the follower has it', () => numbers(followed).length >= 4000);
  assertWhole(followed, 'followed over rotations');

  // Killed at any moment of the packing: nothing is lost by it, and the next engine goes on.
  await engine.kill();
  await engine.restart();
  await followEnded;
  assertWhole(engine.must('logs', 'rotates'), 'after a kill');
  go(2);
  await until('the third round', () => written() === 6000);
  await until('packed by the next engine', () => plain().length === 0 && !files().includes('packed'));
  assert.equal(assertWhole(engine.must('logs', 'rotates'), 'at the end').length, 6000);
  go(3);
  engine.must('wait', 'rotates');
  assert.equal(numbers(engine.must('logs', 'rotates')).length, 6000);
});
