import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { after, test } from 'node:test';
import { passOn } from './dial-stdio.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-dial-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

/** A line to somebody who does with the connection what `serve` says. */
async function lineTo(serve: (socket: Socket) => void) {
  const path = join(folder, `${count++}.sock`);
  const served = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    served.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const line = connect({ path, allowHalfOpen: true });
  return {
    line,
    async [Symbol.asyncDispose]() {
      line.destroy();
      for (const socket of served) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function collector() {
  const chunks: Buffer[] = [];
  const output = new Writable({
    write(chunk: Buffer, _, done) {
      chunks.push(chunk);
      // A reader that is slower than the engine.
      setImmediate(done);
    },
  });
  return { output, text: () => Buffer.concat(chunks).toString() };
}

test('the end of the input is passed on, and what the engine says after it still comes out', async () => {
  await using to = await lineTo((socket) => {
    let got = '';
    socket.on('data', (chunk) => {
      got += chunk;
    });
    socket.on('end', () => socket.end(`heard ${got}`));
  });
  const input = new PassThrough();
  const { output, text } = collector();
  input.end('all of it');
  await passOn(to.line, { input, output, isWatched: () => true });
  assert.equal(text(), 'heard all of it');
});

test("it ends with the engine's last byte, whole, although the input stays open", async () => {
  const large = 'x'.repeat(3 * 1024 * 1024);
  await using to = await lineTo((socket) => socket.end(large));
  const { output, text } = collector();
  await passOn(to.line, { input: new PassThrough(), output, isWatched: () => true });
  assert.equal(text().length, large.length);
});

test('it ends when nobody reads any more, and when the connection breaks', async () => {
  await using talking = await lineTo((socket) => socket.write('x'.repeat(100)));
  const gone = new Writable({ write: (_, __, done) => done(Object.assign(new Error('gone'), { code: 'EPIPE' })) });
  await passOn(talking.line, { input: new PassThrough(), output: gone, isWatched: () => true });
  await using breaking = await lineTo((socket) => socket.destroy());
  await passOn(breaking.line, { input: new PassThrough(), output: collector().output, isWatched: () => true });
});

test('a session that broke does not stay, however quiet the engine is', async () => {
  await using quiet = await lineTo(() => {});
  const input = new PassThrough();
  input.end();
  input.resume();
  await passOn(quiet.line, { input, output: collector().output, isWatched: () => false });
});
