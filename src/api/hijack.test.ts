import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { forward } from './hijack.ts';

test('a client that ended its side before the process was there ends its stdin', { timeout: 5000 }, async () => {
  const client = new PassThrough();
  client.end();
  client.resume();
  await once(client, 'end');
  const stdin = new PassThrough();
  stdin.resume();
  const ended = once(stdin, 'end');
  forward(client, stdin);
  await ended;
});

test('what a client sent is passed on before its end', { timeout: 5000 }, async () => {
  const client = new PassThrough();
  const stdin = new PassThrough();
  forward(client, stdin);
  client.end('last words');
  const got: Buffer[] = [];
  for await (const chunk of stdin) got.push(chunk as Buffer);
  assert.equal(Buffer.concat(got).toString(), 'last words');
});
