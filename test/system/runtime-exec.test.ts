import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { buildMonitor } from '../../src/runtime/build-monitor.ts';
import { OciRuntime } from '../../src/runtime/oci-runtime.ts';
import type { ExecRequest, Task } from '../../src/runtime/runtime.ts';
import { StartError } from '../../src/runtime/start-error.ts';
import { collect, ended, noMkdir, Place, unframe } from './runtime-fixture.ts';

const place = new Place();
const runtime = await place.open();
after(async () => {
  await runtime[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const everything = { stdin: true, stdout: true, stderr: true };
let count = 0;

function session(task: Task, args: string[], more: Partial<ExecRequest> = {}, terminal = false): ExecRequest {
  return {
    id: `exec-${process.pid}-${count++}`,
    process: {
      terminal,
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/bin', `C=${task.id}`],
      cwd: '/',
      capabilities: {},
    },
    stdin: false,
    size: undefined,
    attach: [everything],
    ...more,
  };
}

async function stop(task: Task): Promise<void> {
  await task.kill(9);
  await ended(task);
  await task.delete();
}

for (const { name } of runtime.list().filter(({ broken }) => !broken)) {
  test(`${name}: exec runs beside the first process, with its own output and exit code`, async () => {
    const task = await runtime.start(place.request(['sleep', '1000'], { runtime: name }));
    const exec = await runtime.exec(task, session(task, ['sh', '-c', 'echo $C; echo e >&2; exit 12']));
    const { stdout, stderr } = unframe(await collect(exec.attached[0]!));
    assert.deepEqual([stdout.toString(), stderr.toString()], [`${task.id}\n`, 'e\n']);
    assert.equal(await ended(exec), 12);
    await exec.delete();
    await stop(task);
  });

  test(`${name}: exec has stdin with an end, signals, and pids in the container`, async () => {
    const task = await runtime.start(place.request(['sleep', '1000'], { runtime: name }));
    const cat = await runtime.exec(task, session(task, ['cat'], { stdin: true }));
    const all = collect(cat.attached[0]!);
    cat.attached[0]!.end('through\n');
    assert.equal(unframe(await all).stdout.toString(), 'through\n');
    assert.equal(await ended(cat), 0);
    const sleeping = await runtime.exec(task, session(task, ['sleep', '1000']));
    const pids = await task.pids();
    assert.ok(pids.includes(task.pid) && pids.includes(sleeping.pid));
    await sleeping.kill(15);
    assert.equal(await ended(sleeping), 143);
    await stop(task);
  });

  test(`${name}: exec with a terminal has its size, and is resized`, async () => {
    const task = await runtime.start(place.request(['sleep', '1000'], { runtime: name }));
    const request = session(
      task,
      ['sh', '-c', 'stty size; read a; stty size'],
      { stdin: true, size: { rows: 20, columns: 60 } },
      true,
    );
    const exec = await runtime.exec(task, request);
    const stream = exec.attached[0]!;
    const [first] = (await once(stream, 'data')) as [Buffer];
    assert.equal(first.toString(), '20 60\r\n');
    await exec.resize({ rows: 21, columns: 61 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    stream.write('\n');
    assert.equal((await collect(stream)).toString(), '\r\n21 61\r\n');
    assert.equal(await ended(exec), 0);
    await stop(task);
  });

  test(`${name}: a command that is not there or may not be run fails in Docker's words and leaves nothing`, async () => {
    const task = await runtime.start(place.request(['sleep', '1000'], { runtime: name }));
    const failures: [string, 126 | 127, string][] = [
      [
        'nosuch',
        127,
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH',
      ],
      ['/nosuch', 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'],
      ['/bin', 126, 'permission denied'],
    ];
    for (const [program, exitCode, words] of failures) {
      const request = session(task, [program]);
      await assert.rejects(runtime.exec(task, request), (error) => {
        assert.ok(error instanceof StartError, String(error));
        assert.equal(error.exitCode, exitCode, error.message);
        assert.ok(error.message.includes(words), error.message);
        return true;
      });
      assert.equal(existsSync(join(place.root, 'exec', request.id)), false);
    }
    await stop(task);
  });
}

test('the filter of the container governs its exec sessions too', async () => {
  const base = place.request(['sleep', '1000']);
  const spec = { ...base.spec, linux: { ...base.spec.linux, seccomp: noMkdir } };
  for (let round = 0; round < 2; round++) {
    const task = await runtime.start({ ...base, spec });
    const exec = await runtime.exec(
      task,
      session(task, ['sh', '-c', 'grep ^Seccomp: /proc/self/status; mkdir /tmp/q 2>/dev/null && echo made; true']),
    );
    assert.equal(unframe(await collect(exec.attached[0]!)).stdout.toString(), 'Seccomp:\t2\n');
    await ended(exec);
    await stop(task);
  }
});

test('many sessions at once each give their own code, and leave no directory', async () => {
  const task = await runtime.start(place.request(['sleep', '1000']));
  const codes = await Promise.all(
    Array.from({ length: 16 }, async (_, n) => {
      const exec = await runtime.exec(task, session(task, ['sh', '-c', `echo ${n}; exit ${n}`]));
      const { stdout } = unframe(await collect(exec.attached[0]!));
      assert.equal(stdout.toString(), `${n}\n`);
      return ended(exec);
    }),
  );
  assert.deepEqual(
    codes,
    Array.from({ length: 16 }, (_, n) => n),
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(readdirSync(join(place.root, 'exec')), []);
  await stop(task);
});

test('sessions end with their container', async () => {
  const task = await runtime.start(place.request(['sleep', '1000']));
  const exec = await runtime.exec(task, session(task, ['sleep', '1000']));
  await stop(task);
  assert.equal(await ended(exec), 137);
  await assert.rejects(runtime.exec(task, session(task, ['true'])), { kind: 'conflict' });
});

test('a container cannot write to the runtime by way of its processes (S10)', async () => {
  // Copies, so that a hole would spoil nothing but this test's own files.
  const runtimes = runtime
    .list()
    .filter(({ broken }) => !broken)
    .map(({ name, path }) => {
      const copy = join(place.path, `copy-${name}`);
      copyFileSync(path, copy);
      return { name, path: copy };
    });
  const sums = () => runtimes.map(({ path }) => createHash('sha256').update(readFileSync(path)).digest('hex'));
  const before = sums();
  const monitor = await buildMonitor({ directory: join(place.path, 'bin') });
  const copies = await OciRuntime.open({
    root: join(place.path, 'copies'),
    runtimes,
    default: undefined,
    monitor,
    log: silentLog,
  });
  const attack =
    'while :; do for p in /proc/[0-9]* /proc/self; do [ $p = /proc/1 ] || (echo x >$p/exe) 2>/dev/null; done; done';
  for (const { name } of runtimes) {
    const task = await copies.start(place.request(['sh', '-c', attack], { runtime: name }));
    for (let n = 0; n < 8; n++) {
      const exec = await copies.exec(task, session(task, n % 2 ? ['sleep', '0.02'] : ['/proc/self/exe', 'true']));
      exec.attached[0]!.resume();
      await ended(exec);
    }
    await stop(task);
  }
  assert.deepEqual(sums(), before);
  await copies.recover(new Set());
  await copies[Symbol.asyncDispose]();
});
