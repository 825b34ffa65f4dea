import assert from 'node:assert/strict';
import { test } from 'node:test';
import { humanSize, progressBar, progressOf, pullSteps } from './progress.ts';

test("sizes and bars look like Docker's", () => {
  assert.equal(humanSize(0), '0B');
  assert.equal(humanSize(1234), '1.234kB');
  assert.equal(humanSize(60_000_000), '60MB');
  assert.equal(progressBar(1_200_000, 60_000_000), `[=>${' '.repeat(49)}]    1.2MB/60MB`);
  assert.equal(progressBar(10, 10), `[${'='.repeat(50)}>]      10B/10B`);
  assert.equal(progressBar(20, 10), `[${'='.repeat(50)}>]      20B`);
  assert.equal(progressBar(512, -1), '    512B');
});

test('numbers come at most ten times a second, and the last always', () => {
  const lines: unknown[] = [];
  const steps = pullSteps((line) => lines.push(line), 'abc');
  for (let at = 0; at <= 1000; at++) steps.fetching(at, 1000);
  assert.ok(lines.length <= 5, `${lines.length}`);
  assert.deepEqual(lines.at(-1), {
    status: 'Downloading',
    progressDetail: { current: 1000, total: 1000 },
    progress: progressBar(1000, 1000),
    id: 'abc',
  });
});

test('work ends before its stream does, however that ends', async () => {
  let ended = false;
  const work = async (report: (line: object) => void, signal: AbortSignal) => {
    report({ status: 'a' });
    try {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    } finally {
      await new Promise((resolve) => setTimeout(resolve, 5));
      ended = true;
    }
  };
  for await (const line of progressOf(work)) {
    assert.equal(line.status, 'a');
    break;
  }
  assert.equal(ended, true);
});

test('what was reported before a failure comes before it', async () => {
  const seen: unknown[] = [];
  const work = async (report: (line: object) => void) => {
    report({ status: 'a' });
    throw new Error('b');
  };
  await assert.rejects(async () => {
    for await (const line of progressOf(work)) seen.push(line.status);
  }, /b/);
  assert.deepEqual(seen, ['a']);
});
