import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { EventBus } from '../events/event-bus.ts';
import type { Progress } from '../images/images.ts';
import { DiskLimits } from '../quotas/disk-limits.ts';
import { MemoryDatabase } from '../state/memory-database.ts';
import { LocalVolumes } from '../volumes/local-volumes.ts';
import { Adoption } from './adoption.ts';
import type { Outcome } from './apply.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-adoption-'));
after(() => rmSync(base, { recursive: true, force: true }));
const { signal } = new AbortController();

/** A data root with one volume, and an engine with volumes only. */
async function fresh() {
  const folder = mkdtempSync(join(base, 'x-'));
  const from = join(folder, 'docker');
  mkdirSync(join(from, 'containers'), { recursive: true });
  mkdirSync(join(from, 'volumes/data/_data'), { recursive: true });
  writeFileSync(join(from, 'volumes/data/_data/file'), 'content');
  const database = new MemoryDatabase();
  const events = new EventBus({ failed: () => {} });
  const volumes = await LocalVolumes.open({
    root: join(folder, 'volumes'),
    database,
    events,
    log: silentLog,
    limits: new DiskLimits(),
  });
  const list = () => [];
  const open = (root = folder) =>
    Adoption.open({
      ...{ root, database, volumes, content: {} as never, log: silentLog },
      images: { list: async () => [] } as never,
      snapshots: { layers: list, form: 'directory' } as never,
      networks: { list } as never,
      containers: { list } as never,
    });
  return { from, database, volumes, open, adoption: await open() };
}

async function told(lines: AsyncIterable<Progress>): Promise<readonly string[]> {
  const outcomes: string[] = [];
  for await (const { aux } of lines) {
    const { result, name, why } = (aux ?? {}) as Partial<Outcome>;
    if (result) outcomes.push(`${result} ${name}${why ? `: ${why}` : ''}`);
  }
  return outcomes;
}

test('what was shown is taken, once, and given back', async () => {
  const { from, volumes, adoption } = await fresh();
  const asked = { from, only: [] };
  const { fingerprint, steps } = await adoption.plan(asked);
  assert.deepEqual(
    steps.map(({ name, action }) => [name, action]),
    [['data', 'take']],
  );
  assert.equal((await adoption.plan(asked)).fingerprint, fingerprint);
  assert.deepEqual(await told(adoption.apply({ ...asked, fingerprint, start: false }, signal)), ['taken data']);
  assert.equal(readFileSync(join(volumes.get('data').mountpoint, 'file'), 'utf8'), 'content');
  assert.equal((await adoption.plan(asked)).steps[0]?.action, 'here');
  assert.deepEqual(
    [adoption.list().unfinished, adoption.list().adopted.map(({ name }) => name)],
    [undefined, ['data']],
  );
  assert.deepEqual(await told(adoption.undo(signal)), ['removed data']);
  assert.deepEqual([volumes.list(), adoption.list().adopted], [[], []]);
});

test('another plan than the one that was shown, a second adoption and a disk that is too small are refused', async () => {
  const { from, volumes, adoption, open } = await fresh();
  const asked = { from, only: [] };
  const { fingerprint } = await adoption.plan(asked);
  // Its file system has no free space.
  const full = await open('/proc');
  await assert.rejects(told(full.apply({ ...asked, fingerprint, start: false }, signal)), {
    kind: 'unavailable',
    message: /would be taken, and 0B are free/,
  });
  const first = adoption.apply({ ...asked, fingerprint, start: false }, signal);
  await first.next();
  await assert.rejects(told(adoption.undo(signal)), { kind: 'conflict', message: /under way already/ });
  await first.return();
  await told(adoption.undo(signal));
  await volumes.create({ name: 'data' });
  await assert.rejects(told(adoption.apply({ ...asked, fingerprint, start: false }, signal)), { kind: 'conflict' });
  await volumes.remove('data', { force: false });
  mkdirSync(join(from, 'volumes/more/_data'), { recursive: true });
  await assert.rejects(told(adoption.apply({ ...asked, fingerprint, start: false }, signal)), { kind: 'conflict' });
  assert.deepEqual(volumes.list(), []);
});

test('what an engine was taking when it was killed is marked as here, or forgotten', async () => {
  const { from, database, volumes, adoption, open } = await fresh();
  const { fingerprint } = await adoption.plan({ from, only: [] });
  await told(adoption.apply({ from, only: [], fingerprint, start: false }, signal));
  const [entry] = adoption.list().adopted;
  await database.write([
    { kind: 'adoption', key: 'docker', value: { from, at: entry!.at } },
    { kind: 'adopted', key: 'volumes data', value: { ...entry, complete: false } },
    { kind: 'adopted', key: 'volumes gone', value: { ...entry, id: 'gone', name: 'gone', complete: false } },
    { kind: 'adopted', key: 'networks n', value: { ...entry, kind: 'networks', id: 'n', complete: false } },
  ]);
  const again = await open();
  const { unfinished, adopted } = again.list();
  assert.deepEqual(unfinished, { from, at: entry!.at, running: false });
  assert.deepEqual(adopted, [entry]);
  assert.deepEqual(await told(again.undo(signal)), ['removed data']);
  assert.deepEqual([again.list().unfinished, volumes.list()], [undefined, []]);
});
