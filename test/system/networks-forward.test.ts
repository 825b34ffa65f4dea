import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { forwardTcp, forwardUdp } from '../../src/networks/forward.ts';

// What the network helper does with bytes, on loopback: the container is a server of the test's own.
const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

async function free(): Promise<number> {
  const server = createServer().listen(0, '::1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function forwarded(serve: (socket: Socket) => void): Promise<{ port: number; server: Server }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = await free();
  const close = await forwardTcp({
    hostAddress: '::1',
    hostPort: port,
    target: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
  });
  closers.push(() => server.close(), close);
  return { port, server };
}

test('each direction closes on its own: an answer may follow the end of the question', async () => {
  const { port } = await forwarded(async (socket) => {
    const question = await text(socket);
    await sleep(50);
    socket.end(`answer to ${question.length}`);
  });
  const client = connect({ host: '::1', port, allowHalfOpen: true });
  client.end('x'.repeat(300_000));
  assert.equal(await text(client), 'answer to 300000');
});

test('a reader that stops holds the sender up, not the memory of the helper', async () => {
  let sent = 0;
  const { port } = await forwarded((socket) => {
    const more = () => {
      while (socket.writable && socket.write(Buffer.alloc(65_536))) sent += 65_536;
    };
    socket.on('drain', more);
    more();
  });
  const client = connect({ host: '::1', port });
  client.on('error', () => {});
  client.pause();
  await once(client, 'connect');
  await sleep(300);
  const held = sent;
  await sleep(300);
  assert.equal(sent, held);
  assert.ok(held < 32 << 20, `${held} bytes are on the way`);
  client.destroy();
});

test('a refusal and a reset of the container are a reset for the client, and the other way round', async () => {
  const { port, server } = await forwarded((socket) => setTimeout(() => socket.resetAndDestroy(), 20));
  const cut = connect({ host: '::1', port });
  assert.equal((await once(cut, 'error'))[0].code, 'ECONNRESET');

  const accepted = once(server, 'connection');
  const rude = connect({ host: '::1', port });
  rude.on('error', () => {});
  const [socket] = await accepted;
  const reset = once(socket, 'error');
  rude.resetAndDestroy();
  assert.equal((await reset)[0].code, 'ECONNRESET');

  server.close();
  await once(server, 'close');
  const refused = connect({ host: '::1', port });
  assert.equal((await once(refused, 'error'))[0].code, 'ECONNRESET');
});

test('UDP clients have a session each and get their own answers; more of them than fit do no harm', async () => {
  const target = createSocket('udp4');
  target.on('message', (data, from) => target.send(`${data} ${from.port}`, from.port, from.address));
  target.bind(0, '127.0.0.1');
  await once(target, 'listening');
  const port = await free();
  const close = await forwardUdp({
    hostAddress: '::1',
    hostPort: port,
    target: '127.0.0.1',
    port: target.address().port,
  });
  closers.push(() => target.close(), close);

  const ask = async (name: string) => {
    const client = createSocket('udp6');
    client.send(name, port, '::1');
    const [answer] = await once(client, 'message');
    client.close();
    return String(answer).split(' ');
  };
  const [a, b] = [await ask('a'), await ask('b')];
  assert.deepEqual([a[0], b[0]], ['a', 'b']);
  assert.notEqual(a[1], b[1]);
  for (let client = 0; client < 1_100; client++) await ask('x');
});

test('a port that is taken is refused with its errno, and nothing stays open', async () => {
  const port = await free();
  const forward = { hostAddress: '127.0.0.1', hostPort: port, target: '127.0.0.1', port: 1 };
  const close = await forwardTcp(forward);
  await assert.rejects(forwardTcp(forward), { code: 'EADDRINUSE' });
  await close();
  await (await forwardTcp(forward))();
});
