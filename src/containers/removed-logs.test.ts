import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '../base/log.ts';
import type { Container } from './containers.ts';
import { RemovedLogs } from './removed-logs.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-removed-'));
after(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

function fresh(keep = 3600) {
  const place = join(base, String(++count));
  const root = join(place, 'removed-logs');
  const logs = new RemovedLogs({ root, directoryOf: (id) => join(place, 'containers', id), keep, log: silentLog });
  const put = (n: number, at: Date) => {
    const id = String(n).padStart(64, '0');
    const facts = { id, name: `job${n}`, removed: at.toISOString(), tty: false, details: '' };
    mkdirSync(join(root, id), { recursive: true });
    writeFileSync(join(root, id, 'removed.json'), JSON.stringify(facts));
    writeFileSync(join(root, id, `${id}-json.log`), '0123456789');
    utimesSync(join(root, id, 'removed.json'), at, at);
    return id;
  };
  return { place, root, logs, put };
}

test('what is too old goes, what is of a clock that was set back too, and half of one', async () => {
  const { root, logs, put } = fresh();
  const now = Date.now();
  const ids = [-7200, -60, 7200].map((seconds, index) => put(index, new Date(now + seconds * 1000)));
  mkdirSync(join(root, 'f'.repeat(64)));
  await logs.purge(now);
  assert.deepEqual(
    logs.list().map(({ id }) => id),
    [ids[1]],
  );
  assert.equal(existsSync(join(root, 'f'.repeat(64))), false);
});

test('of more than a thousand the oldest go; sizes come with the oldest first', async () => {
  const { logs, put } = fresh();
  const now = Date.now();
  for (let n = 0; n < 1003; n++) put(n, new Date(now - 2_000_000 + n * 1000));
  await logs.purge(now);
  const sizes = logs.sizes();
  assert.equal(sizes.length, 1000);
  assert.equal(Number(sizes[0]!.id), 3);
  assert.ok(sizes[0]!.bytes > 10);
  assert.equal(Number(logs.list()[0]!.id), 1002);
});

test('a folder that nobody noted is not taken; no path gets through for an ID', async () => {
  const { place, logs } = fresh();
  const id = 'a'.repeat(64);
  mkdirSync(join(place, 'containers', id), { recursive: true });
  assert.equal(await logs.take(id), false);
  assert.throws(() => logs.get('../containers'), { kind: 'not-found' });
  assert.throws(() => logs.get(id), { kind: 'not-found' });
});

test('from the moment that it is noted a log is listed and read, also while its folder is moved', async () => {
  const { place, logs } = fresh();
  const id = 'b'.repeat(64);
  const directory = join(place, 'containers', id);
  const log = join(directory, `${id}-json.log`);
  mkdirSync(directory, { recursive: true });
  writeFileSync(log, 'what it wrote');
  logs.note({
    ...{ id, name: 'job', created: '2026-01-01T00:00:00Z', files: { log } },
    ...{ state: { exitCode: 3 }, config: { Image: 'bb:1', Tty: false }, hostConfig: { LogConfig: { Config: {} } } },
  } as unknown as Container);
  assert.deepEqual([logs.list()[0]?.name, logs.get(id).exitCode], ['job', 3]);
  const before = await logs.open(id);
  assert.equal(await logs.take(id), true);
  const later = await logs.open(id);
  assert.deepEqual(
    [before, later].map(({ path }) => readFileSync(path, 'utf8')),
    ['what it wrote', 'what it wrote'],
  );
  for (const one of [before, later]) await one[Symbol.asyncDispose]();
  assert.equal(logs.list().length, 1);
  await logs.drop(id);
  assert.deepEqual(logs.list(), []);
  await assert.rejects(logs.open(id), { kind: 'not-found' });
});
