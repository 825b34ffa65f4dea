import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { TaskRequest } from '../../src/runtime/runtime.ts';
import { collect, ended, monitorOf, Place, unframe } from './runtime-fixture.ts';

const place = new Place();
const runtime = await place.open();
after(async () => {
  await runtime[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const everything = { stdin: true, stdout: true, stderr: true };
const sha = (data: Buffer) => createHash('sha256').update(data).digest('hex');

function withTerminal(request: TaskRequest): TaskRequest {
  return { ...request, spec: { ...request.spec, process: { ...request.spec.process, terminal: true } } };
}

for (const { name } of runtime.list().filter(({ broken }) => !broken)) {
  test(`${name}: 64 MB go through cat and come back whole`, async () => {
    const data = randomBytes(64 << 20);
    const task = await runtime.start(place.request(['cat'], { runtime: name, stdin: 'once', attach: [everything] }));
    const all = collect(task.attached[0]!);
    task.attached[0]!.end(data);
    const { stdout } = unframe(await all);
    assert.equal(sha(stdout), sha(data));
    assert.equal(await ended(task), 0);
    await task.delete();
  });

  test(`${name}: a terminal echoes, has the size that was asked for, and is resized`, async () => {
    const script = 'stty size; read a; stty size; read b; tty; exit 6';
    const request = withTerminal(
      place.request(['sh', '-c', script], {
        runtime: name,
        stdin: 'open',
        attach: [everything],
        size: { rows: 33, columns: 77 },
      }),
    );
    const task = await runtime.start(request);
    const stream = task.attached[0]!;
    let text = '';
    const saw = (pattern: RegExp) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (!pattern.test(text)) return;
          stream.off('data', look);
          resolve();
        };
        stream.on('data', look);
        look();
      });
    stream.on('data', (bytes: Buffer) => {
      text += bytes;
    });
    await saw(/33 77\r\n/);
    await task.resize({ rows: 40, columns: 100 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    stream.write('first\n');
    await saw(/first\r\n40 100\r\n/);
    const end = new Promise((resolve) => stream.once('end', resolve));
    stream.write('second\n');
    assert.equal(await ended(task), 6);
    await end;
    assert.match(text, /\/dev\/(pts\/0|console)\r\n$/);
    await task.delete();
  });

  test(`${name}: a process without a terminal or stdin reads an end at once`, async () => {
    const task = await runtime.start(place.request(['cat'], { runtime: name }));
    assert.equal(await ended(task), 0);
    await task.delete();
  });
}

test('an interrupt typed at a terminal reaches the process', async () => {
  const task = await runtime.start(
    withTerminal(place.request(['sleep', '1000'], { stdin: 'open', attach: [everything] })),
  );
  task.attached[0]!.resume().write('\x03');
  // The first process of a namespace ignores what it has no handler for.
  await new Promise((resolve) => setTimeout(resolve, 50));
  await task.kill(9);
  assert.equal(await ended(task), 137);
  await task.delete();
  const shell = await runtime.start(
    withTerminal(
      place.request(['sh', '-c', 'trap "exit 9" INT; echo ok; while :; do sleep 0.02; done'], {
        stdin: 'open',
        attach: [everything],
      }),
    ),
  );
  await new Promise((resolve) => shell.attached[0]!.once('data', resolve));
  shell.attached[0]!.resume().write('\x03');
  assert.equal(await ended(shell), 9);
  await shell.delete();
});

test('output is never cut, with a log and with several clients, however fast the writer ends', async () => {
  for (let round = 0; round < 5; round++) {
    const log = { path: join(place.path, `log-${round}`), maxSize: 0, maxFiles: 1 };
    const task = await runtime.start(
      place.request(['seq', '1', '60000'], { log, attach: [everything, { ...everything, stdin: false }] }),
    );
    const outputs = await Promise.all(task.attached.map((stream) => collect(stream)));
    assert.equal(await ended(task), 0);
    for (const output of outputs) {
      const { stdout } = unframe(output);
      assert.equal(stdout.length, 348_894);
      assert.ok(stdout.toString().endsWith('\n60000\n'));
    }
    const lines = readFileSync(log.path, 'utf8').trimEnd().split('\n');
    assert.equal(lines.length, 60_000);
    assert.equal(JSON.parse(lines.at(-1)!).log, '60000\n');
    await task.delete();
  }
});

test('a client that comes later gets what is written from then on, and its input arrives', async () => {
  const task = await runtime.start(place.request(['sh', '-c', 'read a; echo "got $a"'], { stdin: 'open' }));
  const stream = await task.attach(everything);
  const all = collect(stream);
  stream.write('it\n');
  assert.equal(unframe(await all).stdout.toString(), 'got it\n');
  assert.equal(await ended(task), 0);
  await assert.rejects(task.attach(everything), { kind: 'conflict' });
  await task.delete();
});

test('clients that attach and vanish leave nothing in the monitor (S45)', async () => {
  const task = await runtime.start(place.request(['sh', '-c', 'while :; do echo x; sleep 0.01; done']));
  const parent = await monitorOf(task.pid);
  const open = () => readdirSync(`/proc/${parent}/fd`).length;
  const before = open();
  for (let round = 0; round < 20; round++) {
    const streams = await Promise.all(Array.from({ length: 10 }, () => task.attach(everything)));
    for (const stream of streams) stream.destroy();
  }
  for (let n = 0; n < 100 && open() > before; n++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(open(), before);
  await task.kill(9);
  await ended(task);
  await task.delete();
});
