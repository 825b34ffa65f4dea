import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError } from '../base/errors.ts';
import { AttachPoint } from './attach-point.ts';
import { DetachScanner, defaultDetachKeys } from './detach-keys.ts';
import { fakeEngine, request } from './fakes.ts';

const all = { stdin: true, stdout: true, stderr: true, logs: false, stream: true, detachKeys: undefined };

function scan(keys: Buffer, pieces: readonly string[]) {
  const scanner = new DetachScanner(keys);
  let forwarded = '';
  for (const [at, piece] of pieces.entries()) {
    const { forward, detached } = scanner.scan(Buffer.from(piece, 'latin1'));
    forwarded += forward.toString('latin1');
    if (detached) return { forwarded, detached: at };
  }
  return { forwarded: forwarded + scanner.rest().toString('latin1'), detached: undefined };
}

test('detach keys are found whole, split over packets, and after a false start', () => {
  assert.deepEqual(scan(defaultDetachKeys, ['ab\x10\x11cd']), { forwarded: 'ab', detached: 0 });
  assert.deepEqual(scan(defaultDetachKeys, ['ab\x10', '\x11']), { forwarded: 'ab', detached: 1 });
  assert.deepEqual(scan(defaultDetachKeys, ['\x10\x10\x11']), { forwarded: '\x10', detached: 0 });
  assert.deepEqual(scan(Buffer.from('aab'), ['a', 'a', 'a', 'b']), { forwarded: 'a', detached: 3 });
});

test('what only looks like the start of the detach keys is forwarded', () => {
  assert.deepEqual(scan(defaultDetachKeys, ['a\x10b', '\x10', 'c\x10']), {
    forwarded: 'a\x10b\x10c\x10',
    detached: undefined,
  });
  assert.deepEqual(scan(Buffer.from('abac'), ['aba', 'bab', 'a']), { forwarded: 'abababa', detached: undefined });
  assert.deepEqual(scan(Buffer.alloc(0), ['\x10\x11']), { forwarded: '\x10\x11', detached: undefined });
});

test('any cut of any input gives the same bytes', () => {
  const keys = Buffer.from('aab');
  for (const input of ['aaaab', 'abaabb', 'bbbb', 'aaaaaa', 'abab']) {
    const whole = scan(keys, [input]);
    for (let cut = 0; cut <= input.length; cut++) {
      const parts = scan(keys, [input.slice(0, cut), input.slice(cut)]);
      assert.equal(parts.forwarded, whole.forwarded, `${input} at ${cut}`);
      assert.equal(parts.detached === undefined, whole.detached === undefined);
    }
  }
});

test('an attach before the start waits for it, and what was typed arrives', async () => {
  await using engine = await fakeEngine();
  const { containers, runtime } = engine;
  const { id } = await containers.create('web', request({ OpenStdin: true, StdinOnce: true }), undefined);
  const stream = await containers.attach('web', all);
  stream.write('typed early');
  stream.end();
  await containers.start('web');
  assert.deepEqual(runtime.requests[0]!.attach, [{ stdin: true, stdout: true, stderr: true }]);
  assert.equal(runtime.requests[0]!.stdin, 'once');
  // The fake's stream is a pipe: it gives back what it gets, and ends when stdin ends.
  assert.equal(await text(stream), 'typed early');
  runtime.tasks.get(id)!.end(0);
});

test('an attach without stdin of the container does not write to it', async () => {
  await using engine = await fakeEngine();
  await engine.containers.create('web', request(), undefined);
  const stream = await engine.containers.attach('web', all);
  await engine.containers.start('web');
  assert.equal(engine.runtime.requests[0]!.attach[0]!.stdin, false);
  stream.destroy();
});

test('an attach to what never starts ends when the container goes, or when its start fails', async () => {
  await using engine = await fakeEngine();
  const { containers } = engine;
  await containers.create('one', request(), undefined);
  const first = await containers.attach('one', all);
  await containers.remove('one', { force: false, volumes: false, link: false });
  assert.equal(await text(first), '');
  await containers.create('two', request(), undefined);
  const second = await containers.attach('two', all);
  engine.runtime.failStart = () => new EngineError('invalid', 'no');
  await assert.rejects(containers.start('two'));
  assert.equal(await text(second), '');
});

test('the detach keys end the stream and leave the process its stdin', async () => {
  await using engine = await fakeEngine();
  const { containers, actions, runtime } = engine;
  const { id } = await containers.create('web', request({ OpenStdin: true, Tty: true }), undefined);
  await containers.start('web');
  const stream = await containers.attach('web', all);
  stream.write(Buffer.from('x\x10'));
  stream.write(Buffer.from('\x11never'));
  await text(stream);
  assert.equal(containers.get(id).state.status, 'running');
  assert.ok(actions.includes('detach'));
  assert.equal(runtime.tasks.get(id)!.attached[0]!.writableEnded, false, 'half-closed: that would end stdin');
});

test('without a terminal the bytes of the detach keys are data', async () => {
  await using engine = await fakeEngine();
  const { containers, runtime } = engine;
  const { id } = await containers.create('web', request({ OpenStdin: true, StdinOnce: true }), undefined);
  const stream = await containers.attach('web', all);
  stream.end(Buffer.from('x\x10\x11y'));
  await containers.start('web');
  assert.equal(await text(stream), 'x\x10\x11y');
  runtime.tasks.get(id)!.end(0);
});

test('output is whole also for a reader that is slow, and comes to a stop behind it', async () => {
  const point = new AttachPoint({ detachKeys: undefined, onDetach: () => {} });
  const inner = new PassThrough({ highWaterMark: 1024 });
  point.connect(inner);
  let written = 0;
  const block = Buffer.alloc(65_536, 1);
  while (inner.write(block) && written < 1000) written++;
  await sleep(5);
  let more = 0;
  while (more < 1000 && inner.write(block)) more++;
  assert.ok(written + more < 1000, 'nothing held it back');
  inner.end();
  let length = 0;
  for await (const chunk of point) length += (chunk as Buffer).length;
  assert.equal(length % block.length, 0);
});

test('exec: what it is, its exit code by the end of its stream, and its refusals', async () => {
  await using engine = await fakeEngine();
  const { containers, runtime } = engine;
  const { id } = await containers.create('web', request({ Env: ['A=1'] }), undefined);
  const asked = {
    Cmd: ['ls', '-l'],
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    Detach: false,
    DetachKeys: '',
    Env: ['B=2'],
    User: '',
    WorkingDir: '/tmp',
    Privileged: false,
    ConsoleSize: undefined,
  };
  const options = { detach: false, tty: false, size: undefined };
  await assert.rejects(containers.execCreate('web', asked), {
    kind: 'conflict',
    message: `container ${id} is not running`,
  });
  await containers.start('web');
  await assert.rejects(containers.execCreate('web', { ...asked, Cmd: [] }), {
    kind: 'invalid',
    message: 'No exec command specified',
  });
  await assert.rejects(
    containers.execCreate('web', { ...asked, WorkingDir: '/proc/self/fd/7' }),
    { kind: 'invalid' },
    'S11',
  );

  const exec = await containers.execCreate('web', asked);
  const stream = (await containers.execStart(exec, options))!;
  const { process } = runtime.execs[0]!;
  assert.deepEqual([process.args, process.cwd], [['ls', '-l'], '/tmp']);
  assert.ok(process.env.includes('A=1') && process.env.includes('B=2'));
  assert.equal(containers.execInspect(exec).running, true);
  runtime.tasks.get(exec)!.end(5);
  await text(stream);
  assert.deepEqual([containers.execInspect(exec).running, containers.execInspect(exec).exitCode], [false, 5]);
  assert.match(await text((await containers.execStart(exec, options))!), /already run/);

  const words =
    'OCI runtime exec failed: exec failed: unable to start container process: exec: "ls": executable file not found in $PATH';
  runtime.failExec = () => Object.assign(new EngineError('invalid', words), { exitCode: 127 });
  const missing = await containers.execCreate('web', asked);
  const told = await (await containers.execStart(missing, options))!.toArray();
  const frame = Buffer.concat(told);
  assert.deepEqual([frame[0], frame.readUInt32BE(4)], [1, frame.length - 8]);
  assert.equal(frame.toString('utf8', 8), `${words}\r\n`);
  assert.equal(containers.execInspect(missing).exitCode, 127);
  assert.throws(() => containers.execInspect('nope'), { kind: 'not-found', message: 'No such exec instance: nope' });

  runtime.failExec = () => new EngineError('conflict', 'it has ended');
  const late = await containers.execCreate('web', asked);
  await assert.rejects(containers.execStart(late, { ...options, detach: true }), {
    kind: 'conflict',
    message: /^container [0-9a-f]{64} is not running$/,
  });

  await containers.pause('web');
  await assert.rejects(containers.execCreate('web', asked), {
    kind: 'conflict',
    message: /is paused, unpause the container before exec/,
  });
});

test('exec: a new size waits for the start; a second start says nothing about the first', async () => {
  await using engine = await fakeEngine();
  const { containers, runtime } = engine;
  await containers.create('web', request({}), undefined);
  await containers.start('web');
  const asked = {
    Cmd: ['sh'],
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    Tty: true,
    Detach: false,
    DetachKeys: '',
    Env: [],
    User: '',
    WorkingDir: '',
    Privileged: false,
    ConsoleSize: undefined,
  };
  const options = { detach: true, tty: true, size: undefined };
  const gate = Promise.withResolvers<void>();
  const make = runtime.exec.bind(runtime);
  runtime.exec = async (...given) => {
    await gate.promise;
    return make(...given);
  };
  const exec = await containers.execCreate('web', asked);
  const size = { rows: 10, columns: 20 };
  const sized = containers.execResize(exec, size);
  const started = containers.execStart(exec, options);
  await assert.rejects(containers.execStart(exec, options), { kind: 'conflict', message: /is already running$/ });
  assert.equal(containers.execInspect(exec).exitCode, null);
  gate.resolve();
  await Promise.all([sized, started]);
  assert.deepEqual(runtime.tasks.get(exec)!.sizes, [size]);
  runtime.tasks.get(exec)!.end(0);
  await runtime.tasks.get(exec)!.exited;
  await assert.rejects(containers.execStart(exec, options), { kind: 'conflict', message: /has already run$/ });
  await assert.rejects(containers.execResize(exec, size), {
    kind: 'not-found',
    message: /^NotFound: process does not/,
  });

  runtime.failExec = () => Object.assign(new EngineError('invalid', 'no'), { exitCode: 127 });
  const missing = await containers.execCreate('web', asked);
  await assert.rejects(containers.execStart(missing, options));
  await assert.rejects(containers.execResize(missing, size), {
    kind: 'invalid',
    message: 'exec process is not started',
  });
});

test('exec: those that run are listed; a signal goes to one by its number; the end of its client hangs it up', async () => {
  await using engine = await fakeEngine();
  const { containers, runtime } = engine;
  const { id } = await containers.create('web', request({}), undefined);
  await containers.start('web');
  // No process of this machine is looked at.
  runtime.tasks.get(id)!.pids = async () => [];
  const asked = {
    Cmd: ['sleep'],
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    Detach: false,
    DetachKeys: '',
    Env: [],
    User: '',
    WorkingDir: '',
    Privileged: false,
    ConsoleSize: undefined,
  };
  const options = { detach: false, tty: false, size: undefined };
  const first = await containers.execCreate('web', asked);
  const second = await containers.execCreate('web', asked);
  assert.deepEqual(containers.execIds(id), [first, second]);
  await assert.rejects(containers.execKill(first, 'KILL'), {
    kind: 'conflict',
    message: `exec ${first} is not running`,
  });
  await containers.execStart(first, options);
  const task = runtime.tasks.get(first)!;
  task.deadly = (signal) => signal === 1;
  await containers.execKill(first, 'TERM');
  await assert.rejects(containers.execKill(first, 'NOSUCH'), { kind: 'invalid' });
  await containers.execEnd(first);
  assert.deepEqual(task.signals, [15, 1]);
  await containers.execEnd(first);
  await containers.execEnd('f'.repeat(64));
  assert.deepEqual([task.signals.length, containers.execIds(id)], [2, [second]]);
  // Its process is there before its start is told: a signal in between is for it.
  const starting = containers.execStart(second, options);
  await containers.execKill(second, 'INT');
  await starting;
  assert.deepEqual(runtime.tasks.get(second)!.signals, [2]);
});
