import assert from 'node:assert/strict';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { DiskLimits } from '../quotas/disk-limits.ts';
import { MemoryDatabase } from '../state/memory-database.ts';
import { LocalVolumes } from './local-volumes.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-volumes-'));
after(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

async function fresh() {
  const root = join(base, `${++count}`);
  const database = new MemoryDatabase();
  const actions: string[] = [];
  const events = {
    emit: (event: { action: string; actor: { id: string } }) => void actions.push(`${event.action} ${event.actor.id}`),
    history: () => [],
    listen: () => ({ [Symbol.dispose]() {} }),
    listeners: 0,
  };
  const open = () => LocalVolumes.open({ root, database, events, log: silentLog, limits: new DiskLimits() });
  return { root, database, actions, open, volumes: await open() };
}

test('a volume is created once, and is there after a restart', async () => {
  const { volumes, open, actions } = await fresh();
  const first = await volumes.create({ name: 'data', labels: { a: 'b' } });
  const again = await volumes.create({ name: 'data' });
  assert.equal(first, again);
  assert.deepEqual(actions, ['create data']);
  assert.equal(statSync(first.mountpoint).mode & 0o777, 0o755);
  assert.deepEqual((await open()).get('data').labels, { a: 'b' });
});

test('an anonymous volume has 64 hex digits and is marked', async () => {
  const { volumes } = await fresh();
  const volume = await volumes.create({ name: '' });
  assert.match(volume.name, /^[0-9a-f]{64}$/);
  assert.equal(volume.anonymous, true);
  assert.deepEqual(volume.labels, { 'com.docker.volume.anonymous': '' });
});

test('S09 names that are no names are refused with the words of Docker', async () => {
  const { volumes, root } = await fresh();
  for (const name of ['../x', 'a/b', '.hidden', 'a b', '-x', 'ü1', 'x'.repeat(256), 'a\0b'])
    assert.throws(() => volumes.create({ name }), {
      kind: 'invalid',
      message: /only "\[a-zA-Z0-9\]\[a-zA-Z0-9_.-\]" are allowed/,
    });
  assert.throws(() => volumes.create({ name: 'x' }), { kind: 'invalid', message: /too short/ });
  assert.equal(existsSync(join(root, '..', 'x')), false);
});

test('what is in use stays, what is not there is not found, and force does not mind', async () => {
  const { volumes, root } = await fresh();
  const volume = await volumes.create({ name: 'data' });
  volumes.askUsers({ usersOf: (name) => (name === 'data' ? ['abc'] : []) });
  await assert.rejects(volumes.remove('data', { force: true }), {
    kind: 'conflict',
    message: 'remove data: volume is in use - [abc]',
  });
  volumes.askUsers({ usersOf: () => [] });
  await volumes.remove('data', { force: false });
  assert.equal(existsSync(volume.mountpoint), false);
  assert.equal(existsSync(join(root, '.removed-data')), false);
  assert.throws(() => volumes.get('data'), { kind: 'not-found', message: 'get data: no such volume' });
  await assert.rejects(volumes.remove('data', { force: false }), { kind: 'not-found' });
  await volumes.remove('data', { force: true });
});

function image(): string {
  const from = join(base, `image-${++count}`);
  mkdirSync(join(from, 'sub'), { recursive: true });
  writeFileSync(join(from, 'file'), 'text', { mode: 0o4755 });
  linkSync(join(from, 'file'), join(from, 'sub', 'hard'));
  symlinkSync('/etc/shadow', join(from, 'link'));
  utimesSync(join(from, 'file'), 1, 2);
  utimesSync(from, 3, 4);
  return from;
}

test('fill copies content, mode, times and links, and only into an empty volume, once', async () => {
  const { volumes } = await fresh();
  const from = image();
  const { mountpoint } = await volumes.create({ name: 'data' });
  await volumes.fill('data', from);
  assert.equal(readFileSync(join(mountpoint, 'file'), 'utf8'), 'text');
  assert.equal(statSync(join(mountpoint, 'file')).mtimeMs, 2000);
  assert.equal(statSync(join(mountpoint, 'file')).ino, statSync(join(mountpoint, 'sub', 'hard')).ino);
  assert.ok(lstatSync(join(mountpoint, 'link')).isSymbolicLink());
  assert.equal(readlinkSync(join(mountpoint, 'link')), '/etc/shadow');
  assert.equal(statSync(mountpoint).mtimeMs, 4000);
  assert.equal(existsSync(join(mountpoint, '..', '_fill')), false);

  rmSync(join(mountpoint, 'file'));
  rmSync(join(mountpoint, 'sub'), { recursive: true });
  rmSync(join(mountpoint, 'link'));
  await volumes.fill('data', from);
  assert.equal(existsSync(join(mountpoint, 'file')), false, 'filled a second time');
});

test('fill leaves a volume that has content', async () => {
  const { volumes } = await fresh();
  const { mountpoint } = await volumes.create({ name: 'data' });
  writeFileSync(join(mountpoint, 'mine'), '');
  await volumes.fill('data', image());
  assert.equal(existsSync(join(mountpoint, 'file')), false);
});

test('a fill that was cut while its entries were moved is finished at the next start', async () => {
  const { volumes, open, database, root } = await fresh();
  const { mountpoint } = await volumes.create({ name: 'data' });
  const record = (await database.load('volume')).get('data') as object;
  await database.write([{ kind: 'volume', key: 'data', value: { ...record, fill: 'moving' } }]);
  renameSync(image(), join(root, 'data', '_fill'));
  renameSync(join(root, 'data', '_fill', 'link'), join(mountpoint, 'link'));
  await open();
  assert.equal(readFileSync(join(mountpoint, 'file'), 'utf8'), 'text');
  assert.equal(existsSync(join(root, 'data', '_fill')), false);
});

test('a removal that was cut is finished at the next start', async () => {
  const { volumes, open, root } = await fresh();
  await volumes.create({ name: 'data' });
  renameSync(join(root, 'data'), join(root, '.removed-data'));
  const again = await open();
  assert.throws(() => again.get('data'), { kind: 'not-found' });
  assert.equal(existsSync(join(root, '.removed-data')), false);
});

test('a create that cannot be recorded leaves nothing', async () => {
  const { volumes, database, root } = await fresh();
  database.onWrite = () => {
    throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  };
  await assert.rejects(volumes.create({ name: 'data' }), { kind: 'unavailable' });
  assert.equal(existsSync(join(root, 'data')), false);
});

test('the directory of a volume that held nothing is made again after a loss of power; one that held something is not', async () => {
  const { root, volumes, open } = await fresh();
  await volumes.create({ name: 'new' });
  await volumes.create({ name: 'used' });
  const from = join(root, '..', `from-${count}`);
  mkdirSync(from);
  writeFileSync(join(from, 'file'), 'data');
  await volumes.fill('used', from);
  for (const name of ['new', 'used']) rmSync(join(root, name), { recursive: true });
  const again = await open();
  assert.equal(statSync(join(root, 'new', '_data')).mode & 0o7777, 0o755);
  assert.equal(statSync(join(root, 'new')).mode & 0o7777, 0o701);
  assert.equal(existsSync(join(root, 'used')), false);
  assert.deepEqual(
    again.list().map(({ name }) => name),
    ['new', 'used'],
  );
});

const old = { name: 'old', created: '2020-01-02T03:04:05Z', labels: { a: 'b' }, options: {}, anonymous: false };
const { signal } = new AbortController();

test('an adopted volume is a copy with all that it was, once, and is never filled', async () => {
  const { volumes, open, root } = await fresh();
  const from = image();
  const seen: string[] = [];
  await volumes.adopt(old, from, { signal, copied: async (path) => void seen.push(...readdirSync(path).sort()) });
  assert.deepEqual(seen, ['file', 'link', 'sub']);
  const volume = (await open()).get('old');
  assert.deepEqual([volume.created, volume.labels], [old.created, old.labels]);
  assert.equal(statSync(join(volume.mountpoint, 'file')).mode & 0o7777, 0o4755);
  assert.equal(statSync(join(volume.mountpoint, 'file')).nlink, 2);
  assert.equal(statSync(volume.mountpoint).mtimeMs, 4000);
  assert.deepEqual(readdirSync(join(root, 'old')), ['_data']);
  await assert.rejects(volumes.adopt(old, from, { signal }), { kind: 'conflict' });
});

test('an adoption that was cut before its record is gone at the next start; one that fails leaves nothing', async () => {
  const { volumes, open, root, database } = await fresh();
  mkdirSync(join(root, '.adopting-half', '_data'), { recursive: true });
  mkdirSync(join(root, 'moved', '_data'), { recursive: true });
  writeFileSync(join(root, 'moved', '_adopting'), '');
  writeFileSync(join(root, 'moved', '_data', 'file'), '');
  await open();
  assert.deepEqual(readdirSync(root), []);
  database.onWrite = () => {
    throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  };
  await assert.rejects(volumes.adopt(old, image(), { signal }), { kind: 'unavailable' });
  await assert.rejects(volumes.adopt(old, image(), { signal: AbortSignal.abort() }), { kind: 'canceled' });
  assert.deepEqual(readdirSync(root), []);
});
