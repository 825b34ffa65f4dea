import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeContainer, fakeServer } from '../../src/api/fake-engine.ts';

const milliseconds = Number(process.env['FUZZ_MS'] ?? 3000);

/** Numbers that are the same for the same seed, so that a failure can be had again. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const seeds = [
  'GET /containers/json?all=1&filters=%7B%22status%22%3A%5B%22running%22%5D%7D HTTP/1.1\r\nHost: d\r\n\r\n',
  'POST /v1.41/containers/create?name=x HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 47\r\n\r\n{"Image":"x","HostConfig":{"Binds":["/a:/b"]}}\n',
  'POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{"Image":"x"}\r\n0\r\n\r\n',
  'POST /containers/web/attach?stream=1&stdin=1&detachKeys=ctrl-p HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nstdin',
  'POST /exec/abc/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"Detach":false}rest',
  'GET /containers/web/attach/ws HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x82\x85aaaahello',
  'GET /images/a%2Fb/json?platform=linux/arm64 HTTP/1.1\r\nHost: d\r\nX-Registry-Auth: e30=\r\n\r\n',
  'POST /images/create?fromImage=a&tag=b HTTP/1.1\r\nHost: d\r\nX-Registry-Auth: e30=\r\nContent-Length: 0\r\n\r\n',
  'GET /events?since=1&until=2 HTTP/1.1\r\nHost: d\r\n\r\n',
  'HEAD /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n',
];

function mutate(text: string, pick: (below: number) => number): Buffer {
  let bytes: Buffer = Buffer.from(text, 'latin1');
  for (let changes = pick(4); changes > 0; changes--) {
    const at = pick(bytes.length);
    switch (pick(5)) {
      case 0:
        bytes[at] = pick(256);
        break;
      case 1:
        bytes = bytes.subarray(0, at);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([pick(256), pick(256)]), bytes.subarray(at)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + pick(20))]);
        break;
      default: {
        const other = Buffer.from(seeds[pick(seeds.length)]!, 'latin1');
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(pick(other.length))]);
      }
    }
    if (bytes.length === 0) break;
  }
  return bytes;
}

test('S16 S26 whatever bytes come, the server answers with HTTP or closes, and lives', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-fuzz-'));
  const path = join(folder, 'api.sock');
  const container = fakeContainer();
  const thrown: unknown[] = [];
  const catchAll = (error: unknown) => thrown.push(error);
  process.on('uncaughtException', catchAll);
  process.on('unhandledRejection', catchAll);
  const { server } = fakeServer({
    containers: {
      list: () => [container],
      create: async () => ({ id: 'x', warnings: [] }),
    },
  });
  await server.listen(path);
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);
  const pick = random(seed);
  const end = Date.now() + milliseconds;
  let sent = 0;
  try {
    while (Date.now() < end) {
      const bytes = mutate(seeds[pick(seeds.length)]!, pick);
      const answer = await send(path, bytes);
      assert.ok(
        answer === '' || /^HTTP\/1\.1 [1-5]\d\d /.test(answer),
        `seed ${seed}: ${JSON.stringify(bytes.toString('latin1'))} got ${answer.slice(0, 200)}`,
      );
      assert.doesNotMatch(
        answer,
        /^HTTP\/1\.1 500 (?![\s\S]*the test did not expect)/,
        `seed ${seed}: ${JSON.stringify(bytes.toString('latin1'))} got ${answer}`,
      );
      assert.deepEqual(thrown, [], `seed ${seed}: ${JSON.stringify(bytes.toString('latin1'))}`);
      sent++;
    }
    assert.ok(sent > 10);
    assert.match(
      await send(path, Buffer.from('GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n')),
      /\r\n\r\nOK$/,
    );
  } finally {
    process.off('uncaughtException', catchAll);
    process.off('unhandledRejection', catchAll);
    await server.close({ graceMs: 50 });
    rmSync(folder, { recursive: true, force: true });
  }
});

function send(path: string, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let text = '';
    const timer = setTimeout(() => socket.destroy(), 200);
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(text);
    });
    socket.end(bytes);
  });
}
