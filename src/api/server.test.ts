import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError } from '../base/errors.ts';
import { EngineClient } from '../client/client.ts';
import { type FakeParts, fakeAttach, fakeContainer, fakeExec, fakeImage, fakeServer } from './fake-engine.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-api-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

async function serve(parts: FakeParts = {}) {
  const path = join(folder, `${count++}.sock`);
  const { server, events } = fakeServer(parts);
  await server.listen(path);
  const client = new EngineClient({ socket: path, version: 1051 });
  return {
    path,
    server,
    events,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server.close({ graceMs: 100 });
    },
  };
}

/** Sends bytes and gives all that comes until the end. */
async function exchange(path: string, bytes: string | Buffer, { end = false } = {}): Promise<string> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.on('error', () => {});
  if (end) socket.end(bytes);
  else socket.write(bytes);
  return readUntilEnd(socket);
}

async function readUntilEnd(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  await new Promise((resolve) => {
    socket.once('end', resolve);
    socket.once('close', resolve);
  });
  socket.destroy();
  return text;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 600 && !condition(); i++) await sleep(5);
  assert.ok(condition(), 'it did not come to pass');
}

const close = 'Connection: close\r\nHost: d\r\n\r\n';

test('every answer carries the headers that clients look for', async () => {
  await using engine = await serve();
  for (const path of ['/_ping', '/v1.24/_ping', '/nosuch', '/swarm', '/containers/x/json']) {
    const answer = await exchange(engine.path, `GET ${path} HTTP/1.1\r\n${close}`);
    for (const header of [
      'Api-Version: 1.51',
      'Ostype: linux',
      'Docker-Experimental: false',
      'Server: Docker/28.5.2 (linux)',
    ])
      assert.ok(answer.includes(`\r\n${header}\r\n`), `${path} lacks ${header}`);
  }
  const ping = await exchange(engine.path, `HEAD /_ping HTTP/1.1\r\n${close}`);
  assert.match(ping, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(ping, /\r\nContent-Length: 0\r\n/);
  assert.match(ping, /\r\nSwarm: inactive\r\n/);
});

test('versions are taken from 1.24 to 1.51, and refused in the words of Docker', async () => {
  await using engine = await serve();
  const ask = (path: string) => exchange(engine.path, `GET ${path} HTTP/1.1\r\n${close}`);
  for (const path of [
    '/containers/json',
    '/v1.24/containers/json',
    '/v1.51/containers/json',
    'http://docker/v1.40/containers/json',
  ])
    assert.match(await ask(path), /^HTTP\/1\.1 200 /, path);
  assert.match(
    await ask('/v1.99/info'),
    /^HTTP\/1\.1 400 [\s\S]*\{"message":"client version 1\.99 is too new\. Maximum supported API version is 1\.51"\}\n$/,
  );
  assert.match(
    await ask('/v1.20/info'),
    /^HTTP\/1\.1 400 [\s\S]*text\/plain[\s\S]*client version 1\.20 is too old\. Minimum supported API version is 1\.24, please upgrade your client to a newer version\n$/,
  );
  assert.match(await ask('/nosuch'), /^HTTP\/1\.1 404 [\s\S]*\{"message":"page not found"\}\n$/);
  assert.match(
    await exchange(engine.path, `PATCH /info HTTP/1.1\r\n${close}`),
    /^HTTP\/1\.1 404 [\s\S]*page not found/,
  );
});

test('kinds of errors become statuses, not-modified has no body', async () => {
  const kinds = {
    invalid: 400,
    'not-found': 404,
    conflict: 409,
    'not-modified': 304,
    unsupported: 501,
    internal: 500,
  } as const;
  for (const [kind, status] of Object.entries(kinds)) {
    await using engine = await serve({
      containers: {
        start: async () => {
          throw new EngineError(kind as keyof typeof kinds, 'why not');
        },
      },
    });
    const answer = await exchange(engine.path, `POST /containers/x/start HTTP/1.1\r\n${close}`);
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
    if (status === 304) assert.ok(answer.endsWith('\r\n\r\n'));
    else assert.ok(answer.endsWith('\r\n\r\n{"message":"why not"}\n'));
  }
});

test('image names with slashes, colons and escapes reach the room whole', async () => {
  const asked: string[] = [];
  await using engine = await serve({
    images: {
      get: async (name) => {
        asked.push(name);
        return fakeImage();
      },
    },
  });
  for (const path of [
    '/images/127.0.0.1:5000/a/b/json',
    '/images/a%2Fb:1/json',
    '/images/json/json',
    '/v1.40/images/sha256:ab/json',
  ])
    await engine.client.json('GET', path.replace('/v1.40', ''));
  assert.deepEqual(asked, ['127.0.0.1:5000/a/b', 'a/b:1', 'json', 'sha256:ab']);
  await assert.rejects(engine.client.json('GET', '/images/%ff%zz/json'), { status: 400 });
});

test('S25 a body is refused with a clear message when it is no JSON, of a wrong type, or too large', async () => {
  await using engine = await serve();
  const post = (body: string, type = 'application/json', extra = '') =>
    exchange(
      engine.path,
      `POST /containers/create HTTP/1.1\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${extra}${close}${body}`,
    );
  assert.match(await post('{"Image":'), /^HTTP\/1\.1 400 [\s\S]*invalid JSON: /);
  assert.match(await post('{"Image":"x"} trailing'), /^HTTP\/1\.1 400 /);
  assert.match(await post(''), /^HTTP\/1\.1 400 [\s\S]*got EOF while reading request body/);
  assert.match(await post('null'), /^HTTP\/1\.1 400 [\s\S]*config cannot be empty in order to create a container/);
  assert.match(
    await post('{"Image":7}'),
    /^HTTP\/1\.1 400 [\s\S]*json: cannot unmarshal number into Go struct field Config\.Image of type string/,
  );
  assert.match(
    await post('{}', 'text/plain'),
    /^HTTP\/1\.1 400 [\s\S]*unsupported Content-Type header \(text\/plain\): must be 'application\/json'/,
  );
  assert.match(await post('{}', 'application/json', 'Content-Encoding: gzip\r\n'), /^HTTP\/1\.1 400 /);
  const large = `{"Image":"${'x'.repeat(10_000_000)}"}`;
  assert.match(await post(large), /^HTTP\/1\.1 413 [\s\S]*larger than 4 MiB/);
  const chunked = `${(5_000_000).toString(16)}\r\n${' '.repeat(5_000_000)}\r\n0\r\n\r\n`;
  assert.match(
    await exchange(
      engine.path,
      `POST /containers/create HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n${close}${chunked}`,
    ),
    /^HTTP\/1\.1 413 /,
  );
  assert.match(await post('['.repeat(2_000_000)), /^HTTP\/1\.1 400 /);
  assert.match(await exchange(engine.path, `GET /_ping HTTP/1.1\r\n${close}`), /^HTTP\/1\.1 200 /);
});

test('S26 what smuggles or is no HTTP is refused and the connection closed', async () => {
  await using engine = await serve();
  const cases = [
    'POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}',
    'POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'GET /_ping HTTP/9.9\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
  ];
  for (const bytes of cases)
    assert.match(await exchange(engine.path, bytes), /^HTTP\/1\.1 400 [\s\S]*"message"/, bytes);
  assert.match(
    await exchange(engine.path, `GET /_ping HTTP/1.1\r\nX: ${'y'.repeat(70_000)}\r\n${close}`),
    /^HTTP\/1\.1 431 [\s\S]*larger than 64 KiB/,
  );
});

test('wait gives its headers before the container has started', async () => {
  const { promise, resolve } = Promise.withResolvers<{ code: number; error: string | undefined }>();
  await using engine = await serve({ containers: { wait: () => ({ result: promise }) } });
  const { status, headers, body } = await engine.client.request('POST', '/containers/x/wait', {
    query: { condition: 'next-exit' },
  });
  assert.equal(status, 200);
  assert.equal(headers.get('content-type'), 'application/json');
  resolve({ code: 7, error: undefined });
  let text = '';
  for await (const chunk of body) text += chunk.toString();
  assert.equal(text, '{"StatusCode":7}\n');
  await assert.rejects(engine.client.json('POST', '/containers/x/wait', { query: { condition: 'bogus' } }), {
    status: 400,
    message: 'invalid condition: "bogus"',
  });
});

test('attach switches protocols, carries stdin with half-close, and loses no output', async () => {
  const { stream, output, input } = fakeAttach();
  const container = fakeContainer({}, { Image: 'x', OpenStdin: true });
  await using engine = await serve({ containers: { get: () => container, attach: async () => stream } });
  const socket = connect({ path: engine.path, allowHalfOpen: true });
  // Stdin in the same packet as the head of the request.
  socket.write(
    'POST /v1.51/containers/web/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\nfirst ',
  );
  const all = readUntilEnd(socket);
  await sleep(20);
  socket.end('second');
  let heard = '';
  for await (const chunk of input) heard += String(chunk);
  assert.equal(heard, 'first second');
  // The client has closed its side long ago; the output goes on.
  const big = Buffer.alloc(3_000_000, 'x');
  output.write(big);
  output.end('the end');
  const text = await all;
  const head =
    'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';
  assert.ok(text.startsWith(head));
  assert.equal(text.length, head.length + big.length + 7);
  assert.ok(text.endsWith('xthe end'));
});

test('a body that comes with an attach is not stdin', async () => {
  const { stream, input } = fakeAttach();
  const container = fakeContainer({}, { Image: 'x', OpenStdin: true });
  await using engine = await serve({ containers: { get: () => container, attach: async () => stream } });
  const socket = connect({ path: engine.path, allowHalfOpen: true });
  socket.write(
    'POST /containers/web/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"stream":',
  );
  await sleep(20);
  socket.end('true}stdin');
  let heard = '';
  for await (const chunk of input) heard += String(chunk);
  assert.equal(heard, 'stdin');
  socket.destroy();
});

test('the content type of attach follows terminal and version', async () => {
  for (const [version, tty, type] of [
    ['1.41', false, 'raw'],
    ['1.42', false, 'multiplexed'],
    ['1.42', true, 'raw'],
  ] as const) {
    const { stream, output } = fakeAttach();
    const container = fakeContainer({}, { Image: 'x', Tty: tty });
    await using engine = await serve({ containers: { get: () => container, attach: async () => stream } });
    output.end();
    const answer = await exchange(
      engine.path,
      `POST /v${version}/containers/web/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
    );
    assert.match(answer, new RegExp(`Content-Type: application/vnd\\.docker\\.${type}-stream\r\n`));
  }
});

test('an attach that fails answers in plain text', async () => {
  await using engine = await serve();
  const answer = await exchange(
    engine.path,
    'POST /containers/x/attach?stream=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
  );
  assert.match(
    answer,
    /^HTTP\/1\.1 404 Not Found\r\nContent-Type: application\/vnd\.docker\.raw-stream\r\n[\s\S]*\r\n\r\nNo such container: x\r\n$/,
  );
});

test('attach without upgrade answers 200 with a stream that ends with the connection', async () => {
  const { stream, output, input } = fakeAttach();
  const container = fakeContainer({}, { Image: 'x', OpenStdin: true });
  await using engine = await serve({ containers: { get: () => container, attach: async () => stream } });
  const answer = exchange(
    engine.path,
    'POST /containers/web/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  );
  let heard = '';
  for await (const chunk of input) heard += String(chunk);
  assert.equal(heard, 'hello');
  output.end('output');
  const text = await answer;
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(text, /Content-Type: application\/vnd\.docker\.raw-stream\r\n/);
  assert.doesNotMatch(text, /Transfer-Encoding|Content-Length/i);
  assert.ok(text.endsWith('\r\n\r\noutput'));
});

test('a client that vanishes from an attach takes the stream with it', async () => {
  const { stream } = fakeAttach();
  const container = fakeContainer({}, { Image: 'x', OpenStdin: true });
  await using engine = await serve({ containers: { get: () => container, attach: async () => stream } });
  const { stream: client } = await engine.client.hijack('/containers/web/attach', {
    query: { stream: true, stdin: true },
  });
  assert.equal(stream.destroyed, false);
  client.destroy();
  await until(() => stream.destroyed);
});

test('exec start reads its body in parts, and the rest is stdin', async () => {
  const { stream, output, input } = fakeAttach();
  const options: unknown[] = [];
  await using engine = await serve({
    containers: {
      execInspect: (id) => ({
        id,
        containerId: 'c',
        request: fakeExec,
        user: '',
        running: false,
        exitCode: null,
        pid: 0,
      }),
      execStart: async (_, { detach, tty, size }) => {
        options.push({ detach, tty, size });
        return stream;
      },
    },
  });
  const body = '{"Detach":false,"Tty":false,"ConsoleSize":[40,100]}';
  const socket = connect({ path: engine.path, allowHalfOpen: true });
  const all = readUntilEnd(socket);
  socket.write(
    `POST /exec/abc/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 9)}`,
  );
  await sleep(20);
  socket.write(`${body.slice(9)}std`);
  await sleep(20);
  socket.end('in');
  let heard = '';
  for await (const chunk of input) heard += String(chunk);
  assert.equal(heard, 'stdin');
  output.end('done');
  const text = await all;
  assert.match(text, /^HTTP\/1\.1 101 UPGRADED\r\nApi-Version: 1\.51\r\n/);
  assert.ok(text.endsWith('\r\n\r\ndone'));
  assert.deepEqual(options, [{ detach: false, tty: false, size: { rows: 40, columns: 100 } }]);
});

test('an upgrade to something else is answered as a plain request', async () => {
  await using engine = await serve();
  for (const upgrade of ['h2c', 'TLS/1.2'])
    assert.match(
      await exchange(
        engine.path,
        `GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: Upgrade, close\r\nUpgrade: ${upgrade}\r\n\r\n`,
      ),
      /^HTTP\/1\.1 200 OK/,
      upgrade,
    );
  assert.match(
    await exchange(engine.path, `POST /grpc HTTP/1.1\r\nHost: d\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n`),
    /^HTTP\/1\.1 501 /,
  );
});

test('a pull whose client has gone is given up', async () => {
  let given: AbortSignal | undefined;
  let ended = false;
  await using engine = await serve({
    images: {
      async *pull(_name, { signal }) {
        given = signal;
        try {
          yield { status: 'Pulling', id: 'latest' };
          await new Promise((_, reject) => signal!.addEventListener('abort', () => reject(signal!.reason as Error)));
        } finally {
          ended = true;
        }
      },
    },
  });
  const { body } = await engine.client.request('POST', '/images/create', { query: { fromImage: 'x', tag: 'latest' } });
  await body.next();
  await body.return();
  await until(() => ended);
  assert.equal(given!.aborted, true);
});

test('a pull fails with a status before the first line, and in the stream after it', async () => {
  const query = { fromImage: 'x', tag: '1' };
  await using refused = await serve({
    images: {
      async *pull() {
        throw new EngineError('not-found', 'pull access denied for x');
      },
    },
  });
  await assert.rejects(refused.client.json('POST', '/images/create', { query }), { status: 404 });
  await using cut = await serve({
    images: {
      async *pull(name) {
        yield { status: name };
        throw new EngineError('unavailable', 'connection reset');
      },
    },
  });
  const lines: unknown[] = [];
  for await (const line of cut.client.stream('POST', '/images/create', { query })) lines.push(line);
  assert.deepEqual(lines, [
    { status: 'docker.io/library/x:1' },
    { errorDetail: { message: 'connection reset' }, error: 'connection reset', errorCode: 'E_UNAVAILABLE' },
  ]);
});

test('an archive that is refused half-way is answered, and an upload that is cut is no whole one', async () => {
  const endings: unknown[] = [];
  await using engine = await serve({
    images: {
      async *load(archive, { quiet }) {
        try {
          let size = 0;
          for await (const chunk of archive as AsyncIterable<Buffer>) {
            size += chunk.length;
            if (chunk.includes('bad')) throw new EngineError('invalid', 'archive has a bad entry');
          }
          yield { stream: `read ${size} ${quiet}` };
        } catch (error) {
          endings.push(error);
          throw error;
        }
      },
    },
  });
  const body = Readable.from([Buffer.alloc(300_000), Buffer.alloc(300_000)]);
  const lines: unknown[] = [];
  for await (const line of engine.client.stream('POST', '/images/load', { body, query: { quiet: '0' } }))
    lines.push(line);
  assert.deepEqual(lines, [{ stream: 'read 600000 false' }]);
  const bad = Readable.from([Buffer.from('bad'), ...Array.from({ length: 50 }, () => Buffer.alloc(100_000))]);
  await assert.rejects(engine.client.json('POST', '/images/load', { body: bad }), {
    status: 400,
    message: 'archive has a bad entry',
  });
  const socket = connect(engine.path);
  socket.write('POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 1000\r\n\r\nhalf');
  await sleep(30);
  socket.destroy();
  await until(() => endings.length === 2);
  assert.equal((endings[1] as EngineError).kind, 'canceled');
});

test('events are replayed, then heard live, and a client that goes leaves nothing behind', async () => {
  await using engine = await serve();
  const emit = (action: string, id = 'c1') =>
    engine.events.emit({
      type: 'container',
      action,
      actor: { id, attributes: { name: 'web', image: 'busybox', tier: 'a' } },
    });
  emit('create');
  emit('exec_start: sh');
  const filters = JSON.stringify({ container: { web: true }, event: { start: true, exec_start: true } });
  const lines = engine.client.stream<{ Action: string; timeNano: number; status: string; from: string }>(
    'GET',
    '/events',
    {
      query: { since: 1, filters },
    },
  );
  assert.equal((await lines.next()).value!.Action, 'exec_start: sh');
  assert.equal(engine.events.listeners, 2); // the image names listen too
  emit('die');
  emit('start');
  const { value } = await lines.next();
  assert.equal(value!.Action, 'start');
  assert.equal(value!.status, 'start');
  assert.equal(value!.from, 'busybox');
  await lines.return();
  await until(() => engine.events.listeners === 1);
});

test('events end at until', async () => {
  await using engine = await serve();
  engine.events.emit({ type: 'network', action: 'connect', actor: { id: 'n', attributes: {} } });
  const past: unknown[] = [];
  for await (const line of engine.client.stream('GET', '/events', {
    query: { since: 1, until: (Date.now() + 60) / 1000 },
  }))
    past.push(line);
  assert.equal(past.length, 1);
});

test('the list is made again when a container changes, and the status text counts', async () => {
  let list = [fakeContainer({ name: 'one' })];
  const state = { version: 1 };
  await using engine = await serve({
    containers: {
      get version() {
        return state.version;
      },
      list: () => list,
    },
    images: { list: async () => [fakeImage()] },
  });
  const ask = () => engine.client.json<{ Names: string[]; Status: string; Image: string }[]>('GET', '/containers/json');
  const [first] = await ask();
  assert.deepEqual(first!.Names, ['/one']);
  assert.equal(first!.Image, 'busybox');
  assert.match(first!.Status, /^Up \d seconds$/);
  list = [fakeContainer({ name: 'two', state: { ...list[0]!.state, status: 'paused' } })];
  state.version++;
  const [second] = await ask();
  assert.deepEqual(second!.Names, ['/two']);
  assert.match(second!.Status, /\(Paused\)$/);
  await sleep(1100);
  assert.notEqual((await ask())[0]!.Status, second!.Status);
});

test('what is not built says so, and the swarm is answered as Docker does', async () => {
  await using engine = await serve();
  for (const [method, path] of [
    ['POST', '/build'],
    ['GET', '/images/a/b/attestations'],
  ] as const)
    await assert.rejects(engine.client.json(method, path), (error: { status: number; message: string }) => {
      assert.equal(error.status, 501);
      assert.match(error.message, /^Berth does not do .* yet/);
      return true;
    });
  // Of what is not there it says that.
  await assert.rejects(engine.client.json('GET', '/containers/x/stats'), { status: 404 });
  for (const path of ['/swarm', '/services', '/nodes/x', '/secrets/create'])
    await assert.rejects(engine.client.json('GET', path), { status: 503 });
  assert.deepEqual(await engine.client.json('GET', '/plugins'), []);
  await assert.rejects(engine.client.json('GET', '/plugins/a/b/json'), {
    status: 404,
    message: 'plugin "a/b" not found',
  });
});

test('close ends streams at once, lets a running request finish, and takes no more', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const engine = await serve({ containers: { stop: () => promise } });
  const events = await engine.client.request('GET', '/events');
  const stopping = engine.client.request('POST', '/containers/x/stop');
  await sleep(30);
  const closing = engine.server.close({ graceMs: 5000 });
  for await (const _ of events.body);
  await assert.rejects(new EngineClient({ socket: engine.path }).json('GET', '/info'));
  resolve();
  assert.equal((await stopping).status, 204);
  await closing;
});

test('close does not wait longer than it was given', async () => {
  const engine = await serve({ containers: { stop: () => new Promise(() => {}) } });
  const stopping = engine.client.request('POST', '/containers/x/stop').catch((error: unknown) => error);
  await sleep(30);
  const before = Date.now();
  await engine.server.close({ graceMs: 100 });
  assert.ok(Date.now() - before < 2000);
  assert.ok((await stopping) instanceof Error);
});

test('S22 the socket has its mode from the start, and a dead one is replaced', async () => {
  const path = join(folder, 'mode.sock');
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(path, resolve));
  const { server: other } = fakeServer();
  await assert.rejects(other.listen(path), { kind: 'conflict' });
  await new Promise((resolve) => dead.close(resolve));
  writeFileSync(path, 'a file');
  await assert.rejects(other.listen(path), { kind: 'conflict' });
  rmSync(path);
  const { server } = fakeServer();
  await server.listen(path, { mode: 0o660 });
  assert.equal(statSync(path).mode & 0o777, 0o660);
  await server.close();
});
