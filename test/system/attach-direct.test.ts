import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { dockerCli, startBerth, type TestEngine } from '../lib/engines.ts';

/** Clients that attach before the start are served by the monitor: the engine is in nobody's way, and may go. */

let engine: TestEngine;
before(async () => {
  engine = await startBerth();
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
});
after(() => engine[Symbol.asyncDispose]());

const within = { timeout: 60_000 };

/** A client of the API that attaches, and then starts. The CLI would leave when the engine does. */
async function attached(name: string, ...cmd: string[]) {
  const config = { Image: 'bb:1', Cmd: cmd, OpenStdin: true, StdinOnce: true, AttachStdin: true };
  await engine.api('POST', `/containers/create?name=${name}`, config);
  const socket = connect({ path: engine.socket, allowHalfOpen: true });
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  const says = async (wanted: string) => {
    while (!text.includes(wanted)) await once(socket, 'data');
  };
  socket.write(
    `POST /v1.51/containers/${name}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
  );
  await says('\r\n\r\n');
  assert.equal((await engine.api('POST', `/containers/${name}/start`)).status, 204);
  return { socket, says };
}

const outputOf = (name: string) => engine.must('logs', name);

test('an attached client goes on through kill -9 of the engine and its next start, in and out', within, async () => {
  const { socket, says } = await attached('through', 'cat');
  socket.write('before ');
  await says('before ');
  await engine.kill();
  socket.write('without ');
  await says('without ');
  await engine.restart();
  socket.write('after ');
  await says('after ');
  socket.end('the end');
  await once(socket, 'end');
  assert.equal(engine.must('wait', 'through'), '0');
  assert.equal(outputOf('through'), 'before without after the end');
  engine.must('rm', 'through');
});

test('an engine that is stopped in order tells its clients, and no stdin ends with it', within, async () => {
  const { socket, says } = await attached('ordered', 'cat');
  socket.write('one ');
  await says('one ');
  const told = once(socket, 'end');
  assert.equal(await engine.stop(), 0);
  await told;
  socket.destroy();
  await sleep(300);
  await engine.restart();
  assert.equal(engine.must('inspect', '-f', '{{.State.Status}}', 'ordered'), 'running');
  engine.must('rm', '-f', 'ordered');
});

test('a docker run -i that leaves after the engine was killed ends no stdin', within, async () => {
  const cat = docker('run', '-i', '--name', 'stays', 'bb:1', 'cat');
  cat.child.stdin.write('here');
  await cat.says('here');
  await engine.kill();
  cat.child.kill('SIGKILL');
  await cat.closed;
  await sleep(300);
  await engine.restart();
  assert.equal(engine.must('inspect', '-f', '{{.State.Status}}', 'stays'), 'running');
  engine.must('rm', '-f', 'stays');
});

test('a client that leaves before the start leaves a container that starts', within, async () => {
  const config = { Image: 'bb:1', Cmd: ['echo', 'hello'], OpenStdin: true, StdinOnce: true };
  await engine.api('POST', '/containers/create?name=early', config);
  const socket = connect(engine.socket);
  socket.write(
    'POST /v1.51/containers/early/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
  );
  await once(socket, 'data');
  socket.destroy();
  engine.must('start', 'early');
  assert.equal(engine.must('wait', 'early'), '0');
  assert.equal(outputOf('early'), 'hello');
  engine.must('rm', 'early');
});

const running: ChildProcess[] = [];
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

function docker(...args: string[]) {
  const child = spawn(dockerCli(), args, { env: engine.env, stdio: ['pipe', 'pipe', 'ignore'] });
  running.push(child);
  child.stdin.on('error', () => {});
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  const says = async (wanted: string) => {
    while (!text.includes(wanted)) await once(child.stdout, 'data');
  };
  const closed = once(child, 'close');
  return { child, says, closed, text: () => text };
}

test('megabytes through run -i and exec -i, with and without a log, and the exit code', within, () => {
  const input = randomBytes(6 << 20);
  const hash = createHash('sha256').update(input).digest('hex');
  engine.must('run', '-d', '--name', 'host', 'bb:1', 'sleep', '1000');
  for (const words of [
    ['run', '--rm', '-i', '--log-driver', 'none', 'bb:1'],
    ['run', '--rm', '-i', 'bb:1'],
    ['exec', '-i', 'host'],
  ]) {
    const sum = engine.docker([...words, 'sha256sum'], { input });
    assert.deepEqual([sum.status, sum.stdout.slice(0, 64)], [0, hash]);
    const text = Buffer.from('0123456789abcde\n'.repeat(200_000));
    const back = engine.docker([...words, 'sh', '-c', 'cat; echo over >&2; exit 5'], { input: text });
    assert.deepEqual([back.status, back.stderr], [5, 'over\n']);
    assert.ok(back.stdout === text.toString());
  }
  engine.must('rm', '-f', 'host');
});

test('a client that is killed ends the stdin of its container', within, async () => {
  const cat = docker('run', '-i', '--name', 'lonely', 'bb:1', 'sh', '-c', 'cat; exit 6');
  cat.child.stdin.write('here');
  await cat.says('here');
  cat.child.kill('SIGKILL');
  assert.equal(engine.must('wait', 'lonely'), '6');
  engine.must('rm', 'lonely');
});
