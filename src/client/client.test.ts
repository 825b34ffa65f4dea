import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { EngineClient, ResponseError } from './client.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-client-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

/** An engine that answers each request on a connection with what `answer` says, byte by byte as written. */
async function engine(answer: (request: string, socket: Socket) => void) {
  const path = join(folder, `${count++}.sock`);
  const sockets = new Set<Socket>();
  let connections = 0;
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const request = text;
      text = '';
      answer(request, socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    client: new EngineClient({ socket: path, version: 1051 }),
    path,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('a JSON request reads the answer and keeps the connection', async () => {
  await using server = await engine((request, socket) => {
    assert.match(request, /^GET \/v1\.51\/containers\/json\?all=1&x=a%26b HTTP\/1\.1\r\n/);
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]');
  });
  for (let i = 0; i < 3; i++)
    assert.deepEqual(
      await server.client.json('GET', '/containers/json', { query: { all: true, x: 'a&b', no: false } }),
      [1],
    );
  assert.equal(server.connections, 1);
  await server.client[Symbol.asyncDispose]();
});

test('chunks are put together however they were cut', async () => {
  const answer =
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"a":1\r\n3;x=y\r\n}\n{\r\n6\r\n"a":2}\r\n0\r\n\r\n';
  await using server = await engine((_, socket) => {
    void (async () => {
      for (const byte of answer) {
        socket.write(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
  });
  const lines: unknown[] = [];
  for await (const line of server.client.stream('GET', '/events')) lines.push(line);
  assert.deepEqual(lines, [{ a: 1 }, { a: 2 }]);
});

test('a refusal carries status, kind and message', async () => {
  await using server = await engine((_, socket) =>
    socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 36\r\n\r\n{"message":"No such container: web"}\n'),
  );
  await assert.rejects(server.client.json('GET', '/containers/web/json'), (error) => {
    assert.ok(error instanceof ResponseError);
    assert.equal(error.status, 404);
    assert.equal(error.kind, 'not-found');
    assert.equal(error.message, 'No such container: web');
    return true;
  });
});

test('an engine that is not there is unavailable, with what to do', async () => {
  const client = new EngineClient({ socket: join(folder, 'nobody.sock') });
  await assert.rejects(client.json('GET', '/info'), (error) => {
    assert.ok(error instanceof EngineError);
    assert.equal(error.kind, 'unavailable');
    assert.match(error.hint!, /berth engine start/);
    return true;
  });
});

test('an answer that is cut is an error, never a short answer', async () => {
  for (const cut of [
    'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2]\r\n',
    'HTTP/1.1 200',
  ]) {
    await using server = await engine((_, socket) => socket.end(cut));
    await assert.rejects(server.client.json('GET', '/x'), { kind: 'unavailable' }, cut);
  }
});

test('a connection that was closed while idle is replaced', async () => {
  let first = true;
  await using server = await engine((_, socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
    if (first) setTimeout(() => socket.destroy(), 5);
    first = false;
  });
  await server.client.json('GET', '/x');
  await new Promise((resolve) => setTimeout(resolve, 30));
  await server.client.json('POST', '/x');
  assert.equal(server.connections, 2);
});

test('the version is the highest that both speak, asked for once', async () => {
  const asked: string[] = [];
  await using server = await engine((request, socket) => {
    asked.push(request.split('\r\n')[0]!);
    socket.write('HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n');
  });
  await using client = new EngineClient({ socket: server.path });
  await client.json('GET', '/info');
  await client.json('GET', '/info');
  assert.deepEqual(asked, ['HEAD /_ping HTTP/1.1', 'GET /v1.41/info HTTP/1.1', 'GET /v1.41/info HTTP/1.1']);
  assert.equal(server.connections, 1);
});

test('hijack gives what came with the head, stdin, and half-close', async () => {
  await using server = await engine((request, socket) => {
    if (!request.startsWith('POST')) return;
    assert.match(request, /Upgrade: tcp/);
    socket.removeAllListeners('data');
    socket.write(
      'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nUpgrade: tcp\r\n\r\nearly',
    );
    let input = '';
    socket.on('data', (chunk: Buffer) => (input += chunk.toString()));
    socket.on('end', () => setTimeout(() => socket.end(`got ${input}`), 10));
  });
  const { stream, multiplexed } = await server.client.hijack('/containers/web/attach', { query: { stdin: true } });
  assert.equal(multiplexed, true);
  stream.end('hello');
  let output = '';
  for await (const chunk of stream) output += String(chunk);
  assert.equal(output, 'earlygot hello');
});

test('a hijack that is refused in plain text says why', async () => {
  await using server = await engine((_, socket) =>
    socket.end(
      'HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nNo such container: x\r\n',
    ),
  );
  await assert.rejects(server.client.hijack('/containers/x/attach'), { status: 404, message: 'No such container: x' });
});

test('an upload is sent in chunks and its answer read', async () => {
  await using server = await engine((_, socket) => {
    let all = '';
    const more = (chunk: Buffer) => {
      all += chunk.toString('latin1');
      if (all.endsWith('0\r\n\r\n')) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
    };
    socket.removeAllListeners('data');
    socket.on('data', more);
  });
  const body = Readable.from([Buffer.from('one'), Buffer.alloc(100_000), Buffer.from('two')]);
  assert.deepEqual(await server.client.json('POST', '/images/load', { body }), {});
});

test('an abort ends the request at once', async () => {
  await using server = await engine(() => {});
  const controller = new AbortController();
  const asked = server.client.json('GET', '/slow', { signal: controller.signal });
  setTimeout(() => controller.abort(), 10);
  await assert.rejects(asked, { kind: 'canceled' });
});
