import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildMonitor } from '../../src/runtime/build-monitor.ts';
import { Cgroups } from '../../src/runtime/cgroups.ts';
import type { TaskRequest } from '../../src/runtime/runtime.ts';
import { collect, ended, monitorOf, Place, unframe } from './runtime-fixture.ts';

const place = new Place();
const monitor = await buildMonitor({ directory: join(place.path, 'bin') });
const runtimes = ['crun', 'runc'].map((name) => ({ name, path: name }));
const cgroups = new Cgroups();
const children: ChildProcess[] = [];
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await place[Symbol.asyncDispose]();
});

const output = { stdin: false, stdout: true, stderr: true };
const logOf = (name: string) => ({ path: join(place.path, name), maxSize: 0, maxFiles: 1 });

async function engine(requests: TaskRequest[], { wait = requests.length } = {}) {
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, 'runtime-engine.ts'),
      JSON.stringify({ root: place.root, runtimes, monitor }),
      JSON.stringify(requests),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  children.push(child);
  const started: { id: string; pid: number; startedAt: string }[] = [];
  let lines = 0;
  for await (const line of createInterface({ input: child.stdout! })) {
    if (line !== 'open') started.push(JSON.parse(line));
    if (lines++ === wait) break;
  }
  return { child, started };
}

async function killed(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

function alive(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let n = 0; n < 500; n++) {
    if (holds()) return;
    await sleep(10);
  }
  assert.fail(what);
}

for (const { name } of runtimes) {
  test(`${name}: a container outlives the engine that was killed, and the next one has it back (R01)`, async () => {
    const log = logOf(`survive-${name}`);
    const request = place.request(['sh', '-c', 'echo before; read a; echo "got $a"; read b; exit 33'], {
      runtime: name,
      stdin: 'once',
      log,
      attach: [{ ...output, stdin: true }],
    });
    const asked = performance.now();
    const { child, started } = await engine([request]);
    await killed(child);
    await sleep(50);
    assert.ok(alive(started[0]!.pid));

    const runtime = await place.open();
    const found = await runtime.adopt(request.id, request.bundle);
    assert.ok(found.state === 'running');
    const { task } = found;
    assert.deepEqual([task.pid, task.startedAt], [started[0]!.pid, started[0]!.startedAt]);
    // By the kernel's ticks of 10 ms: since it was asked for and before it was told.
    const age = task.age();
    assert.ok(age <= performance.now() - asked + 20 && age >= 30, `${age}, asked ${performance.now() - asked} ago`);
    await runtime.recover(new Set([request.id]));
    assert.ok(alive(task.pid));
    const stream = await task.attach({ stdin: true, stdout: true, stderr: true });
    const all = collect(stream);
    stream.write('word\n');
    await sleep(50);
    stream.write('\n');
    assert.equal(await ended(task), 33);
    assert.equal(unframe(await all).stdout.toString(), 'got word\n');
    assert.deepEqual(
      readFileSync(log.path, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).log),
      ['before\n', 'got word\n'],
    );
    await task.delete();
    assert.equal(existsSync(join(place.root, 'state', name, request.id)), false);
    await runtime[Symbol.asyncDispose]();
  });

  test(`${name}: an exit while no engine is there is known to the next one, with the log, and nothing is left (R01)`, async () => {
    const log = logOf(`alone-${name}`);
    const request = place.request(['sh', '-c', 'sleep 0.3; echo alone; exit 44'], { runtime: name, log });
    const { child, started } = await engine([request]);
    await killed(child);
    await until(() => !alive(started[0]!.pid), 'it ends');
    await sleep(50);
    const runtime = await place.open();
    const found = await runtime.adopt(request.id, request.bundle);
    assert.ok(found.state === 'exited');
    assert.equal(found.exit.code, 44);
    assert.equal(JSON.parse(readFileSync(log.path, 'utf8')).log, 'alone\n');
    assert.equal(existsSync(join(place.root, 'state', name, request.id)), false);
    assert.deepEqual(cgroups.directories(`/berth-test/${request.id}`).filter(existsSync), []);
    assert.deepEqual(readdirSync(request.bundle), []);
    assert.deepEqual(await runtime.adopt(request.id, request.bundle), { state: 'none' });
    await runtime[Symbol.asyncDispose]();
  });

  test(`${name}: an engine killed in the middle of a start leaves a whole container or none (R01)`, async () => {
    for (const delay of [0, 3, 6, 9, 12, 15, 20, 30]) {
      const request = place.request(['sleep', '1000'], { runtime: name });
      const { child } = await engine([request], { wait: 0 });
      await sleep(delay);
      await killed(child);
      const runtime = await place.open();
      const found = await runtime.adopt(request.id, request.bundle);
      if (found.state === 'running') {
        await found.task.kill(9);
        await ended(found.task);
        await found.task.delete();
      } else assert.equal(found.state, 'none');
      await until(
        () => cgroups.directories(`/berth-test/${request.id}`).filter(existsSync).length === 0,
        'no control group',
      );
      assert.equal(existsSync(join(place.root, 'state', name, request.id)), false);
      assert.equal(existsSync(join(request.bundle, 'monitor.sock')), false);
      await runtime[Symbol.asyncDispose]();
    }
  });

  test(`${name}: a monitor that is killed takes its container with it, and the exit is 255 (R02)`, async () => {
    const runtime = await place.open();
    const request = place.request(['sleep', '1000'], { runtime: name });
    const task = await runtime.start(request);
    process.kill(await monitorOf(task.pid), 'SIGKILL');
    assert.equal(await ended(task), 255);
    await until(() => !alive(task.pid), 'the container ends');
    await task.delete();
    assert.deepEqual(readdirSync(request.bundle), []);
    await runtime[Symbol.asyncDispose]();
  });

  test(`${name}: engine and monitor killed: the next engine ends the container and says 255 (R02)`, async () => {
    const request = place.request(['sleep', '1000'], { runtime: name });
    const { child, started } = await engine([request]);
    const { pid } = started[0]!;
    await killed(child);
    process.kill(await monitorOf(pid), 'SIGKILL');
    const runtime = await place.open();
    const found = await runtime.adopt(request.id, request.bundle);
    assert.ok(found.state === 'exited');
    assert.equal(found.exit.code, 255);
    await until(() => !alive(pid), 'the container ends');
    assert.deepEqual(readdirSync(request.bundle), []);
    await runtime[Symbol.asyncDispose]();
  });

  test(`${name}: what nobody knows is ended and removed, what is known is not touched`, async () => {
    const requests = ['one', 'two'].map(() => place.request(['sleep', '1000'], { runtime: name }));
    const { child, started } = await engine(requests);
    await killed(child);
    const runtime = await place.open();
    await runtime.recover(new Set([requests[0]!.id]));
    await until(() => !alive(started[1]!.pid), 'the unknown one ends');
    assert.ok(alive(started[0]!.pid));
    assert.deepEqual(readdirSync(join(place.root, 'state', name)), [requests[0]!.id]);
    assert.deepEqual(cgroups.directories(`/berth-test/${requests[1]!.id}`).filter(existsSync), []);
    assert.deepEqual(readdirSync(requests[1]!.bundle), []);
    const found = await runtime.adopt(requests[0]!.id, requests[0]!.bundle);
    assert.ok(found.state === 'running');
    await found.task.kill(9);
    await ended(found.task);
    await found.task.delete();
    await runtime[Symbol.asyncDispose]();
  });
}

test('a container that never was is none', async () => {
  const runtime = await place.open();
  const { id, bundle } = place.request(['true']);
  assert.deepEqual(await runtime.adopt(id, bundle), { state: 'none' });
  assert.deepEqual(await runtime.adopt(id, join(dirname(bundle), 'nowhere')), { state: 'none' });
  await runtime[Symbol.asyncDispose]();
});
