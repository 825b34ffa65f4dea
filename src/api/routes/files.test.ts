import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { EngineError } from '../../base/errors.ts';
import { EngineClient } from '../../client/client.ts';
import type { CommitRequest } from '../../containers/commit.ts';
import type { ContainerFiles } from '../../containers/files.ts';
import { digestOf } from '../../oci/digest.ts';
import { fakeContainer, fakeServer } from '../fake-engine.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

const stat = { name: 'ü', size: 3, mode: 420, mtime: '2026-01-01T00:00:00Z', linkTarget: '' };

async function serve(files: Partial<ContainerFiles>, commits: CommitRequest[] = []) {
  const path = join(folder, `${count++}.sock`);
  const { server } = fakeServer({
    containers: {
      get: (name) => {
        if (name === 'web') return fakeContainer();
        throw new EngineError('not-found', `No such container: ${name}`);
      },
      files: files as ContainerFiles,
      commit: async (request) => {
        commits.push(request);
        return digestOf('image');
      },
    },
  });
  await server.listen(path);
  const client = new EngineClient({ socket: path, version: 1051 });
  return {
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server.close({ graceMs: 100 });
    },
  };
}

function tarOut(pieces: AsyncGenerator<Buffer, void, void>) {
  const out = { ended: 0, pieces, [Symbol.asyncDispose]: async () => void out.ended++ };
  return out;
}

test('the facts of a path are in a header, of HEAD and of GET', async () => {
  const out = tarOut(
    (async function* () {
      yield Buffer.from('one');
      yield Buffer.from('two');
    })(),
  );
  await using served = await serve({ stat: async () => stat, read: async () => ({ ...out, stat }) });
  for (const [method, body] of [
    ['HEAD', ''],
    ['GET', 'onetwo'],
  ] as const) {
    const answer = await served.client.request(method, '/containers/web/archive', { query: { path: '/x' } });
    const text = Buffer.from(answer.headers.get('x-docker-container-path-stat')!, 'base64').toString();
    assert.deepEqual(JSON.parse(text), stat);
    let read = '';
    for await (const piece of answer.body) read += piece;
    assert.equal(read, body);
    if (method === 'GET') assert.equal(answer.headers.get('content-type'), 'application/x-tar');
  }
});

test('an archive is ended when its client goes, and one that fails is cut', async () => {
  const endless = tarOut(
    (async function* () {
      for (;;) yield Buffer.alloc(100_000);
    })(),
  );
  const ended = Promise.withResolvers<void>();
  const dispose = async () => ended.resolve();
  const broken = tarOut(
    (async function* () {
      yield Buffer.from('half');
      throw new Error('the disk is gone');
    })(),
  );
  await using served = await serve({
    read: async () => ({ pieces: endless.pieces, stat, [Symbol.asyncDispose]: dispose }),
    export: async () => broken,
  });
  const stop = new AbortController();
  const { body } = await served.client.request('GET', '/containers/web/archive', {
    query: { path: '/x' },
    signal: stop.signal,
  });
  await body.next();
  stop.abort();
  await ended.promise;
  const cut = await served.client.request('GET', '/containers/web/export');
  await assert.rejects(async () => {
    for await (const _ of cut.body);
  });
});

test('what is written is passed on with what was asked for', async () => {
  const seen: unknown[] = [];
  await using served = await serve({
    write: async (name, path, archive: Readable, { keepTypes, ownedByUser }) => {
      let size = 0;
      for await (const piece of archive) size += (piece as Buffer).length;
      seen.push([name, path, size, keepTypes, ownedByUser]);
    },
  });
  const put = (query: Record<string, string>) =>
    served.client.request('PUT', '/containers/web/archive', {
      query,
      body: Buffer.from('tar'),
      contentType: 'text/plain',
    });
  await put({ path: '/a' });
  await put({ path: '/b', noOverwriteDirNonDir: 'true', copyUIDGID: '1' });
  assert.deepEqual(seen, [
    ['web', '/a', 3, false, false],
    ['web', '/b', 3, true, true],
  ]);
});

test('a path that is none is refused, and a container that is not there', async () => {
  await using served = await serve({});
  const ask = (method: string, name: string, path: string | undefined) =>
    served.client.request(method, `/containers/${name}/archive`, { query: { path } });
  for (const method of ['GET', 'HEAD', 'PUT']) {
    await assert.rejects(ask(method, 'web', undefined), { status: 400 });
    await assert.rejects(ask(method, 'web', 'a\0b'), { status: 400 });
    await assert.rejects(ask(method, 'nosuch', '/'), { status: 404 });
  }
});

test('changes have numbers for their kinds, and none are null', async () => {
  const changes = [
    { path: '/a', kind: 'modified' },
    { path: '/b', kind: 'added' },
    { path: '/c', kind: 'deleted' },
  ] as const;
  let some = true;
  await using served = await serve({ changes: async () => (some ? changes : []) });
  assert.deepEqual(await served.client.json('GET', '/containers/web/changes'), [
    { Path: '/a', Kind: 0 },
    { Path: '/b', Kind: 1 },
    { Path: '/c', Kind: 2 },
  ]);
  some = false;
  assert.equal(await served.client.json('GET', '/containers/web/changes'), null);
});

test('commit: its query and its body', async () => {
  const commits: CommitRequest[] = [];
  await using served = await serve({}, commits);
  const post = (query: Record<string, string | readonly string[]>, json?: unknown) =>
    served.client.json<{ Id: string }>('POST', '/commit', { query, ...(json === undefined ? {} : { json }) });
  assert.deepEqual(await post({ container: 'web' }), { Id: digestOf('image') });
  await post(
    { container: 'web', repo: 'r', tag: 't', comment: 'c', author: 'a', pause: '0', changes: ['CMD x', 'USER y'] },
    { Cmd: ['z'], Hostname: 'h' },
  );
  await post({ container: 'web', repo: 'r:2' }, null);
  await post({ container: 'web' }, {});
  const { signal: _, ...plain } = commits[0]!;
  const nothing = { container: 'web', name: '', comment: '', author: '', pause: true, changes: [], config: undefined };
  assert.deepEqual(plain, nothing);
  assert.deepEqual(
    commits.slice(1).map(({ name, pause, changes, config }) => [name, pause, changes, config]),
    [
      ['r:t', false, ['CMD x', 'USER y'], { Cmd: ['z'] }],
      ['r:2', true, [], undefined],
      ['', true, [], undefined],
    ],
  );
  await assert.rejects(post({}), { status: 400 });
  await assert.rejects(post({ container: 'web', repo: `r@sha256:${'0'.repeat(64)}` }), { status: 400 });
  await assert.rejects(post({ container: 'web' }, { Cmd: 5 }), { status: 400 });
});
