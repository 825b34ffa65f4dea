import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { mostEarly } from '../runtime/runtime.ts';
import { TakenClient } from './taken-client.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-taken-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const server = createServer({ allowHalfOpen: true, pauseOnConnect: false });
server.listen(join(folder, 'sock'));
after(() => server.close());

async function pair(): Promise<{ client: Socket; socket: Socket; taken: TakenClient }> {
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect({ path: join(folder, 'sock'), allowHalfOpen: true });
  const [socket] = await accepted;
  for (const one of [client, socket]) one.on('error', () => {});
  return { client, socket, taken: new TakenClient(socket) };
}

test('nothing is read while it is held, and all of it after', async () => {
  const { client, socket, taken } = await pair();
  taken.hold();
  const got: string[] = [];
  taken.open().onRead(() => socket.on('data', (chunk: Buffer) => got.push(chunk.toString())));
  client.end('words');
  await sleep(30);
  assert.equal(socket.readableLength, 0);
  taken.through();
  await once(socket, 'end');
  assert.equal(got.join(''), 'words');
  client.destroy();
  socket.destroy();
});

test('what was read already is given with it, and what comes then is not read', async () => {
  const { client, socket, taken } = await pair();
  client.write('early');
  await once(socket, 'readable');
  taken.hold();
  const end = taken.open().take();
  assert.equal(end?.early.toString(), 'early');
  assert.ok(end!.fd > 2);
  client.write('late');
  await sleep(30);
  assert.equal(socket.readableLength, 0);
  let read = '';
  taken.onRead(() =>
    socket.on('data', (chunk: Buffer) => {
      read += chunk;
    }),
  );
  taken.through();
  client.end();
  await once(socket, 'end');
  assert.equal(read, 'late');
  client.destroy();
  socket.destroy();
});

test('it is not given before the head is out, nor with more than fits, nor when nobody asked to hold it', async () => {
  const { client, socket, taken } = await pair();
  assert.equal(taken.open().take(), undefined);
  const other = new TakenClient(socket);
  other.hold();
  assert.equal(other.take(), undefined);
  socket.unshift(Buffer.alloc(mostEarly + 1));
  assert.equal(other.open().take(), undefined);
  assert.equal((socket.read() as Buffer).length, mostEarly + 1);
  client.destroy();
  socket.destroy();
});

test('a client that goes while it is held is seen to, and is not given away', async () => {
  const { client, socket, taken } = await pair();
  taken.hold();
  client.destroy();
  await once(socket, 'close');

  const second = await pair();
  second.taken.hold();
  second.client.destroy();
  await once(second.client, 'close');
  assert.equal(second.taken.open().take(), undefined);
  assert.ok(second.socket.destroyed);
});
