import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '../base/log.ts';
import { FakeRegistry } from './fake-registry.ts';
import { HttpRegistry } from './http-registry.ts';

function client() {
  return new HttpRegistry({
    config: { insecure: [], mirrors: {}, certificates: '/nonexistent' },
    log: silentLog,
    timing: { backoff: 5, stall: 200 },
  });
}

const at = (server: FakeRegistry, path: string) => new URL(`http://ann:secret@${server.host}/${path}`);

test('a file comes whole, with its size, and without the credentials of its URL', async () => {
  await using server = await FakeRegistry.start();
  using remote = client();
  server.behave = (_, response) => {
    response.writeHead(200, { 'content-length': 5 }).end('hello');
    return true;
  };
  const { stream, size } = await remote.download(at(server, 'file?x=y'), {});
  assert.equal(size, 5);
  assert.equal(Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>)).toString(), 'hello');
  assert.equal(server.seen[0]!.url, '/file?x=y');
  assert.equal(server.seen[0]!.headers.authorization, undefined);
});

test('one that is cut before anybody reads it fails for who reads, and for nobody else', async () => {
  await using server = await FakeRegistry.start();
  using remote = client();
  server.behave = (_, response) => {
    response.writeHead(200, { 'content-length': 1000 });
    response.write('some', () => response.destroy());
    return true;
  };
  const { stream } = await remote.download(at(server, 'file'), {});
  await sleep(50);
  await assert.rejects(Array.fromAsync(stream as AsyncIterable<Buffer>), /the connection was cut/);
});

test('what is not there, what is no web address and what says nothing are named by their address, without secrets', async () => {
  await using server = await FakeRegistry.start();
  using remote = client();
  const shown = `http://${server.host}/nosuch`;
  await assert.rejects(remote.download(at(server, 'nosuch?token=secret'), {}), {
    kind: 'not-found',
    message: `failed to GET ${shown} with status 404`,
  });
  await assert.rejects(remote.download(new URL('ftp://host/x'), {}), /unsupported protocol scheme "ftp"/);
  server.behave = () => true;
  await assert.rejects(remote.download(at(server, 'nosuch?token=secret'), {}), (error: Error) => {
    assert.match(error.message, new RegExp(`^Get "${shown}": .*timeout`));
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});
