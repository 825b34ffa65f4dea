import assert from 'node:assert/strict';
import { closeSync, constants, mkdtempSync, openSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { packTar } from '../layers/tar-writer.ts';
import { FileJobs } from './file-jobs.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-jobs-'));
const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
const view = { root: fd, readOnly: false, mounts: [] };
const jobs = new FileJobs();
const owner = { uid: process.getuid!(), gid: process.getgid!() };
before(() => {
  writeFileSync(join(root, 'big'), Buffer.alloc(3_000_000, 'x'));
  // Whole seconds: no header more for the parts of one.
  utimesSync(join(root, 'big'), 1, 1);
});
after(async () => {
  await jobs[Symbol.asyncDispose]();
  closeSync(fd);
  rmSync(root, { recursive: true, force: true });
});

async function* bytes(archive: Buffer) {
  for (let at = 0; at < archive.length; at += 50_000) yield archive.subarray(at, at + 50_000);
}

test('many jobs beside each other give what each was asked for', async () => {
  const sizes = await Promise.all(
    Array.from({ length: 10 }, async () => {
      await using packed = await jobs.pack(view, '/big');
      let size = 0;
      for await (const piece of packed.pieces) size += piece.length;
      return [packed.stat.size, size];
    }),
  );
  assert.deepEqual(new Set(sizes.map(String)), new Set(['3000000,3001856']));
});

test('errors keep their kind and code', async () => {
  await assert.rejects(jobs.stat(view, '/nosuch'), { kind: 'not-found', code: 'ENOENT' });
  await assert.rejects(jobs.pack(view, '/nosuch'), { kind: 'not-found', code: 'ENOENT' });
  await assert.rejects(jobs.unpack(view, '/big', bytes(packTar([])), { keepTypes: true, owner }), { kind: 'invalid' });
});

test('an archive is read to its end, also when it failed before', async () => {
  await jobs.unpack(view, '/', bytes(packTar([{ name: 'f', content: 'y'.repeat(1_000_000) }])), {
    keepTypes: true,
    owner,
  });
  assert.deepEqual(readdirSync(root).sort(), ['big', 'f']);
  await assert.rejects(
    jobs.unpack(view, '/', bytes(packTar([{ name: '../x' }])), { keepTypes: true, owner }),
    /invalid entry name/,
  );
});

test('a job that is ended early gives nothing that looks whole', async () => {
  const packed = await jobs.pack(view, '/big');
  await packed.pieces.next();
  await packed[Symbol.asyncDispose]();
  await assert.rejects(
    async () => {
      for await (const _ of packed.pieces);
    },
    { kind: 'canceled' },
  );
});

test('when it is closed, what runs is refused and nothing new is begun', async () => {
  const closing = new FileJobs();
  const packed = await closing.pack(view, '/big');
  await closing[Symbol.asyncDispose]();
  await assert.rejects(packed.pieces.next(), { kind: 'canceled' });
  await packed[Symbol.asyncDispose]();
  await assert.rejects(closing.stat(view, '/'), { kind: 'canceled' });
});
