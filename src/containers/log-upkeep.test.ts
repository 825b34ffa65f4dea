import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { fakeEngine, request } from './fakes.ts';
import { LogFormatter } from './log-format.ts';
import { LogUpkeep } from './log-upkeep.ts';
import { readLog } from './logs.ts';
import { type ContainersDeps, Room } from './room.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-upkeep-'));
after(() => rmSync(base, { recursive: true, force: true }));
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** The upkeep of containers that do not run, with one log each. */
async function upkeepOf(names: readonly string[], options: Record<string, string>, logCap = 0) {
  await using engine = await fakeEngine();
  const root = mkdtempSync(join(base, 'root-'));
  const config = { init: '', cgroupParent: '', log: { type: 'json-file', options: {} }, logCap, stopTimeout: 1 };
  const room = new Room({ root, config, log: silent } as unknown as ContainersDeps);
  const logs: string[] = [];
  for (const name of names) {
    const made = request({}, { LogConfig: { Type: 'json-file', Config: options } });
    const { id } = await engine.containers.create(name, made, undefined);
    const log = join(root, id, 'x-json.log');
    mkdirSync(dirname(log));
    const record = engine.containers.get(id) as Parameters<typeof room.store.set>[0];
    room.store.set({ ...record, files: { ...record.files, log } });
    logs.push(log);
  }
  return { upkeep: new LogUpkeep(room), logs };
}

const entries = (log: string) =>
  readdirSync(dirname(log))
    .map((name) => name.replace('x-json.', ''))
    .toSorted();
const line = (text: string) =>
  `${JSON.stringify({ log: `${text}\n`, stream: 'stdout', time: '2026-11-23T07:50:00.5Z' })}\n`;

async function read(log: string, tail?: number): Promise<string> {
  const everything = { stdout: true, stderr: true, since: undefined, until: undefined, timestamps: false };
  const formatter = new LogFormatter({ tty: true, details: undefined, ...everything });
  const chunks: Buffer[] = [];
  const { signal } = new AbortController();
  for await (const chunk of readLog(log, formatter, { tail, signal, ended: undefined })) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

test('rotated files are packed, read as before, and a crash in the middle is made good', async () => {
  const { upkeep, logs } = await upkeepOf(['one'], { 'max-size': '1k', 'max-file': '5' });
  const log = logs[0]!;
  writeFileSync(log, line('new'));
  writeFileSync(`${log}.1`, line('one'));
  writeFileSync(`${log}.2`, line('two'));
  // Killed while it wrote, and between the two steps of putting a file in its place.
  writeFileSync(`${log}.packed`, 'half');
  writeFileSync(`${log}.2.gz`, 'half');
  assert.equal(await read(log), 'two\none\nnew\n');
  await upkeep.pack();
  assert.deepEqual(entries(log), ['log', 'log.1.gz', 'log.2.gz']);
  assert.equal(gunzipSync(readFileSync(`${log}.2.gz`)).toString(), line('two'));
  assert.equal(statSync(`${log}.2.gz`).mode & 0o777, 0o640);
  assert.equal(await read(log), 'two\none\nnew\n');
  assert.equal(await read(log, 2), 'one\nnew\n');
  await upkeep.pack();
  assert.deepEqual(entries(log), ['log', 'log.1.gz', 'log.2.gz']);
});

test('compress=false leaves them as they are', async () => {
  const { upkeep, logs } = await upkeepOf(['one'], { 'max-size': '1k', 'max-file': '5', compress: 'false' });
  writeFileSync(`${logs[0]}.1`, line('one'));
  await upkeep.pack();
  assert.deepEqual(entries(logs[0]!), ['log.1']);
});

test('over the cap the oldest rotated files of all containers go, and never what is written', async () => {
  const { upkeep, logs } = await upkeepOf(['one', 'two'], {}, 5_500);
  const [a, b] = logs as [string, string];
  const files: readonly (readonly [string, number])[] = [
    [a, 9],
    [`${a}.1`, 4],
    [`${a}.2.gz`, 2],
    [b, 1],
    [`${b}.1`, 3],
    [`${b}.2`, 5],
  ];
  for (const [path, age] of files) {
    writeFileSync(path, 'x'.repeat(1500));
    utimesSync(path, age, age);
  }
  assert.equal(await upkeep.limit(), 4500);
  assert.deepEqual([entries(a), entries(b)], [['log'], ['log', 'log.2']]);
  assert.equal(await upkeep.limit(), 0);
});
