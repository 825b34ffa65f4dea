/** An engine that may have few files open: it says so to those who come too late, and is well when they have gone. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth } from '../lib/engines.ts';
import { assertNoLeaks, knownTo, openFiles } from '../lib/leaks.ts';

const limit = 256;
const refusal =
  /the engine is busy: too many connections for the 256 files that it may have open\\n {2}try: .*LimitNOFILE/;

interface Client {
  readonly socket: Socket;
  /** All that came so far. */
  text: string;
}

/** Sends a request and waits for the beginning of the answer, or for the end of the connection. */
async function ask(path: string, request: string): Promise<Client> {
  const client: Client = { socket: connect(path), text: '' };
  const { socket } = client;
  socket.setEncoding('latin1').on('error', () => {});
  const answered = new Promise((resolve) => {
    socket.on('data', (text) => resolve((client.text += text)));
    socket.once('close', resolve);
  });
  socket.write(request);
  await answered;
  return client;
}

const events = 'GET /v1.47/events HTTP/1.1\r\nHost: x\r\n\r\n';

test('R16 with 256 descriptors: clients beyond them are told, what runs is served, and all is well after', {
  timeout: 120_000,
}, async (t) => {
  await using engine = await startBerth({ under: ['prlimit', `--nofile=${limit}:${limit}`, '--'] });
  using clients = new DisposableStack();
  const client = async (request: string) => {
    const made = await ask(engine.socket, request);
    clients.defer(() => made.socket.destroy());
    return made;
  };
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  const id = engine.must('run', '-d', 'bb:1', 'sh', '-c', 'while [ ! -e /go ]; do sleep 0.1; done; exit 7');
  // Found out beside the first answer.
  let info = '';
  for (const until = Date.now() + 20_000; Date.now() < until && !/few/.test(info); await sleep(200))
    info = engine.docker(['info']).stderr;
  assert.match(info, /WARNING: 256 open files: too few/);
  engine.must('exec', id, 'true');
  await sleep(500);
  const before = openFiles(engine.pid);

  const served: Client[] = [];
  const late: Client[] = [];
  // The first that is too many makes the engine close connections that were only kept.
  for (let n = 0; n < limit && late.length < 5; n++) {
    const next = await client(events);
    (next.text.startsWith('HTTP/1.1 200 ') ? served : late).push(next);
  }
  t.diagnostic(`${before} descriptors before, ${served.length} clients served`);
  assert.ok(served.length > 50, `${served.length} clients served`);
  const body = 'x'.repeat(3_000_000);
  const requests = [
    events,
    'GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n',
    `POST /v1.47/containers/${id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
    `POST /v1.47/images/load HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  ];
  for (const request of requests) late.push(await client(request));
  for (const { text, socket } of late) {
    assert.match(text, /^HTTP\/1\.1 503 /);
    assert.match(text, refusal);
    socket.destroy();
  }
  const cli = engine.docker(['ps']);
  assert.notEqual(cli.status, 0);
  assert.match(cli.stderr, /too many connections/);
  // All at once, more than there is any room for: each ends, with the message or without.
  const crowd = await Promise.all(Array.from({ length: 400 }, () => client(events)));
  assert.deepEqual(
    crowd.filter(({ text }) => text !== '' && !refusal.test(text)).map(({ text }) => text),
    [],
  );
  for (const { socket } of crowd) socket.destroy();

  // Those who were there in time miss nothing.
  const [watcher] = served;
  for (const { socket } of served.slice(1, 20)) socket.destroy();
  for (const until = Date.now() + 10_000; Date.now() < until; await sleep(50))
    if (engine.docker(['exec', id, 'touch', '/go']).status === 0) break;
  for (const until = Date.now() + 10_000; Date.now() < until && !/"die"/.test(watcher!.text); await sleep(20));
  assert.match(watcher!.text, /"exitCode":"7"/);

  for (const { socket } of served) {
    socket.destroy();
    if (!socket.closed) await once(socket, 'close');
  }
  let after = 0;
  for (const until = Date.now() + 15_000; Date.now() < until; await sleep(200)) {
    after = openFiles(engine.pid);
    if (after <= before + 5) break;
  }
  assert.ok(after <= before + 5, `${before} descriptors before, ${after} after`);
  assert.equal(engine.must('run', '--rm', '-p', '80', 'bb:1', 'echo', 'well'), 'well');
  const log = engine.log().split('\n');
  assert.equal(log.filter((line) => /connections are refused/.test(line)).length, 1);
  assert.deepEqual(
    log.filter((line) => / error |bug:/.test(line)),
    [],
  );
  engine.must('rm', id);
  await assertNoLeaks(engine, () => knownTo(engine));
});
