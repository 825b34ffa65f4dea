import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { AttachPoint } from './attach-point.ts';

const point = () => new AttachPoint({ detachKeys: undefined, onDetach: () => {} });

test('a process that ended before it could be connected ends the attach', { timeout: 5000 }, async () => {
  const inner = new PassThrough();
  inner.end();
  inner.resume();
  await once(inner, 'end');
  const attached = point();
  attached.resume();
  const ended = once(attached, 'end');
  attached.connect(inner);
  await ended;
});

test('a stream that broke before it could be connected ends the attach', { timeout: 5000 }, async () => {
  const inner = new PassThrough();
  inner.destroy();
  await once(inner, 'close');
  const attached = point();
  attached.resume();
  const ended = once(attached, 'end');
  attached.connect(inner);
  await ended;
});

test('what is written before the process is there reaches it, and its end too', { timeout: 5000 }, async () => {
  const inner = new PassThrough();
  const attached = point();
  attached.write('early ');
  attached.end('words');
  attached.connect(inner);
  const got: Buffer[] = [];
  for await (const chunk of attached) got.push(chunk as Buffer);
  assert.equal(Buffer.concat(got).toString(), 'early words');
});
