/** Clients that take what they asked for slowly, or never, or vanish in the middle. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';
import { assertNoLeaks, knownTo, openFiles } from '../lib/leaks.ts';

async function berth(): Promise<TestEngine> {
  const engine = await startBerth();
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  return engine;
}

/** Megabytes. */
function memoryOf({ pid }: TestEngine): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
}

/** Sends a request and never reads what comes. */
async function ask({ socket }: TestEngine, method: string, path: string, upgrade = false): Promise<Socket> {
  const client = connect(socket);
  client.on('error', () => {});
  await new Promise((resolve) => client.once('connect', resolve));
  client.pause();
  client.write(
    `${method} /v1.47${path} HTTP/1.1\r\nHost: x\r\n${upgrade ? 'Connection: Upgrade\r\nUpgrade: tcp\r\n' : ''}Content-Length: 0\r\n\r\n`,
  );
  return client;
}

function noBugs(engine: TestEngine): void {
  assert.deepEqual(
    engine
      .log()
      .split('\n')
      .filter((line) => / error |bug:/.test(line)),
    [],
  );
}

test('R14 S45 clients that never read: the engine stays small, the others are served', {
  timeout: 120_000,
}, async (t) => {
  await using engine = await berth();
  engine.must('run', '--rm', 'bb:1', 'true');
  const idle = memoryOf(engine);
  const id = engine.must(
    ...['run', '-d', '--log-opt', 'max-size=20m', '--log-opt', 'max-file=2', 'bb:1', 'sh', '-c'],
    'head -c 60000000 /dev/zero | tr "\\0" x | fold -w 1000; echo; echo first; while [ ! -e /go ]; do sleep 0.1; done; ' +
      'head -c 60000000 /dev/zero | tr "\\0" y | fold -w 1000; echo; echo second; sleep 1000',
  );
  const unread = await Promise.all(
    Array.from({ length: 10 }, () => [
      ask(engine, 'GET', `/containers/${id}/logs?follow=1&stdout=1&stderr=1`),
      ask(engine, 'GET', '/events'),
      ask(engine, 'GET', `/containers/${id}/stats`),
    ]).flat(),
  );
  let most = 0;
  let slowest = 0;
  const look = async () => {
    most = Math.max(most, memoryOf(engine));
    const from = performance.now();
    assert.equal((await engine.api('GET', '/v1.47/containers/json')).status, 200);
    slowest = Math.max(slowest, performance.now() - from);
    return engine.docker(['logs', '--tail', '1', id]).stdout.trim();
  };
  const writes = async (what: string) => {
    for (const until = Date.now() + 60_000; !(await look()).startsWith(what); await sleep(100))
      assert.ok(Date.now() < until, `the container does not come to ${what}`);
  };
  await writes('first');
  // Who attached holds the output back while it does not read, as with Docker; it costs the engine little all the same.
  const attached = await Promise.all(
    Array.from({ length: 10 }, (_, number) =>
      ask(engine, 'POST', `/containers/${id}/attach?stream=1&stdout=1&stderr=1`, number % 2 === 0),
    ),
  );
  engine.must('exec', id, 'touch', '/go');
  for (let moment = 0; moment < 20; moment++, await sleep(100)) assert.notEqual(await look(), 'second');
  for (const client of attached) client.destroy();
  await writes('second');
  t.diagnostic(
    `${Math.round(idle)} MB idle, ${Math.round(most)} MB at most, ${Math.round(slowest)} ms to the slowest answer`,
  );
  assert.ok(most < idle + 100, `${most} MB, idle ${idle} MB`);
  assert.ok(slowest < 5000, `an answer took ${slowest} ms`);
  assert.equal(engine.must('run', '--rm', 'bb:1', 'echo', 'fine'), 'fine');
  for (const client of unread) client.destroy();
  engine.must('rm', '-f', id);
  await assertNoLeaks(engine, () => knownTo(engine));
  noBugs(engine);
});

/** Sends as long as somebody takes it, until it is closed; nothing of the answer is read. Tells how much was taken. */
function flood(client: Socket, chunk: Buffer): { readonly megabytes: number } {
  const taken = { megabytes: 0 };
  const more = () => {
    if (client.destroyed) return;
    client.write(chunk, (error) => {
      if (error) return;
      taken.megabytes += chunk.length / 2 ** 20;
      setImmediate(more);
    });
  };
  more();
  return taken;
}

test('R14 R15 exec, terminals and WebSockets that nobody reads and that never stop sending, and then vanish', {
  timeout: 180_000,
}, async (t) => {
  await using engine = await berth();
  const id = engine.must('run', '-di', 'bb:1', 'sleep', '1000');
  const tty = engine.must('run', '-dit', 'bb:1', 'sh', '-c', 'stty raw; sleep 1000');
  const session = async (Cmd: readonly string[], Tty: boolean) => {
    const body = { Cmd, Tty, AttachStdin: true, AttachStdout: true, AttachStderr: true };
    const made = JSON.parse((await engine.api('POST', `/v1.47/containers/${id}/exec`, body)).body) as { Id: string };
    const said = JSON.stringify({ Detach: false, Tty });
    const client = connect(engine.socket);
    client.on('error', () => {});
    client.pause();
    client.write(
      `POST /v1.47/exec/${made.Id}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: ${said.length}\r\n\r\n${said}`,
    );
    return client;
  };
  const webSocket = (container: string) => {
    const client = connect(engine.socket);
    client.on('error', () => {});
    client.pause();
    client.write(
      `GET /v1.47/containers/${container}/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`,
    );
    return client;
  };
  const ready = () => engine.must('exec', id, 'true');
  ready();
  const [idle, open] = [memoryOf(engine), openFiles(engine.pid)];
  const bytes = Buffer.alloc(256 * 1024, 'x');
  // Masked with zeros: a binary message of 64 KiB, and a ping.
  const message = Buffer.concat([
    Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    Buffer.alloc(65536, 'x'),
  ]);
  const ping = Buffer.concat([Buffer.from([0x89, 0x80 | 100, 0, 0, 0, 0]), Buffer.alloc(100, 'p')]);
  const clients: Socket[] = [];
  const floods: { readonly megabytes: number }[] = [];
  for (const isTerminal of [false, true]) {
    clients.push(await session(['yes'], isTerminal));
    const deaf = await session(['sh', '-c', 'stty raw 2>/dev/null; sleep 1000'], isTerminal);
    clients.push(deaf);
    const container = isTerminal ? tty : id;
    const [sends, pings] = [webSocket(container), webSocket(container)];
    clients.push(sends, pings);
    await sleep(1000);
    floods.push(flood(deaf, bytes), flood(sends, message), flood(pings, Buffer.concat(Array(500).fill(ping))));
  }
  let most = 0;
  for (let moment = 0; moment < 50; moment++, await sleep(100)) most = Math.max(most, memoryOf(engine));
  ready();
  assert.equal((await engine.api('GET', '/v1.47/containers/json')).status, 200);
  t.diagnostic(
    `${Math.round(idle)} MB idle, ${Math.round(most)} MB at most, taken ${floods.map(({ megabytes }) => megabytes.toFixed(1)).join(' ')} MB`,
  );
  assert.ok(most < idle + 80, `${most} MB, idle ${idle} MB`);
  for (const client of clients) client.destroy();
  engine.must('exec', id, 'sh', '-c', 'killall yes; pkill -f "[s]tty raw"; true');
  let left = Infinity;
  for (const until = Date.now() + 30_000; left > open + 5 && Date.now() < until; await sleep(200))
    left = openFiles(engine.pid);
  assert.ok(left <= open + 5, `${open} descriptors before, ${left} after`);
  assert.equal(engine.must('exec', id, 'echo', 'fine'), 'fine');
  engine.must('rm', '-f', id, tty);
  await assertNoLeaks(engine, () => knownTo(engine));
  noBugs(engine);
});

test('R25 S45 clients that vanish in the middle: nothing of them stays, and no error escapes', {
  timeout: 120_000,
}, async (t) => {
  await using engine = await berth();
  const id = engine.must('run', '-di', 'bb:1', 'sh', '-c', 'cat & while :; do echo x; sleep 0.01; done');
  const tty = engine.must('run', '-dit', 'bb:1', 'sh');
  const exec = async (body: unknown) =>
    (JSON.parse((await engine.api('POST', `/v1.47/containers/${id}/exec`, body)).body) as { Id: string }).Id;
  const round = async () => {
    const session = await exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
    const said = JSON.stringify({ Detach: false });
    const requests = [
      `POST /v1.47/containers/${id}/attach?stream=1&stdout=1&stdin=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
      `POST /v1.47/containers/${tty}/attach?stream=1&stdout=1&stdin=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
      `GET /v1.47/containers/${id}/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n`,
      'GET /v1.47/events HTTP/1.1\r\nHost: x\r\n\r\n',
      `GET /v1.47/containers/${id}/stats HTTP/1.1\r\nHost: x\r\n\r\n`,
      `POST /v1.47/containers/${id}/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`,
      `POST /v1.47/exec/${session}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: ${said.length}\r\n\r\n${said}`,
      'POST /v1.47/images/load HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: 100000\r\n\r\nxxxx',
      `POST /v1.47/containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`,
      'GET /v1.47/containers/json HTTP/1.1\r\nHost: x\r\n\r\n',
    ];
    await Promise.all(
      requests.map(async (request) => {
        const client = connect(engine.socket);
        client.on('error', () => {});
        await new Promise((resolve) => client.once('connect', resolve));
        // Sometimes with an answer unread, which is a reset, sometimes in the middle of the request.
        client.write(randomInt(5) === 0 ? request.slice(0, randomInt(request.length)) : request);
        if (randomInt(2) === 0) client.resume();
        if (randomInt(3) === 0) client.end();
        await sleep(randomInt(30));
        if (randomInt(2) === 0) client.write('more\n');
        client.destroy();
      }),
    );
  };
  for (let warm = 0; warm < 3; warm++) await round();
  await sleep(1500);
  const before = openFiles(engine.pid);
  const rounds = 40;
  for (let number = 0; number < rounds; number++) await round();
  let after = 0;
  for (const until = Date.now() + 15_000; Date.now() < until; await sleep(200)) {
    after = openFiles(engine.pid);
    if (after <= before + 5) break;
  }
  t.diagnostic(`${before} descriptors before, ${after} after ${rounds * 10} clients`);
  assert.ok(after <= before + 5, `${before} descriptors before, ${after} after`);
  noBugs(engine);
  // Their sessions end with the input that went with them.
  engine.must('rm', '-f', id, tty);
  await assertNoLeaks(engine, () => knownTo(engine));
});

const following = [
  { title: '50 rotations under logs -f', size: '100k', files: 5, pause: 0 },
  {
    title: '250 rotations under logs -f of a log that is as good as nothing, and an engine that pauses',
    size: '20k',
    files: 2,
    pause: 100,
  },
];
for (const { title, size, files, pause } of following)
  test(`R24 ${title}: no line is lost or double, and it ends with the container`, { timeout: 120_000 }, async (t) => {
    await using engine = await berth();
    const count = 60_000;
    const id = engine.must(
      ...['create', '--log-opt', `max-size=${size}`, '--log-opt', `max-file=${files}`, 'bb:1', 'sh', '-c'],
      `while [ ! -e /go ]; do sleep 0.05; done; i=0; while [ $i -lt ${count} ]; do i=$((i+1)); echo $i; done`,
    );
    engine.must('start', id);
    const answer = engine.api('GET', `/v1.47/containers/${id}/logs?follow=1&stdout=1`);
    await sleep(500);
    engine.must('exec', id, 'touch', '/go');
    if (pause > 0) {
      await sleep(200);
      process.kill(engine.pid, 'SIGSTOP');
      await sleep(pause);
      process.kill(engine.pid, 'SIGCONT');
    }
    const { body } = await answer;
    const lines = linesOf(Buffer.from(body));
    t.diagnostic(`${lines.length} of ${count} lines`);
    const wrong = lines.findIndex((line, at) => line !== String(at + 1));
    assert.equal(wrong, -1, `line ${wrong}: ${lines[wrong - 1]}, ${lines[wrong]}`);
    assert.equal(lines.length, count);
  });

/** Out of Docker's frames. */
function linesOf(frames: Buffer): string[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < frames.length; ) {
    const length = frames.readUInt32BE(at + 4);
    parts.push(frames.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(parts).toString().split('\n').filter(Boolean);
}
