import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { digestOf } from '../oci/digest.ts';
import { ForeignRoot } from './foreign-root.ts';
import { tarBytes, tarSize } from './tar-split.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-tar-split-'));
after(() => rmSync(base, { recursive: true, force: true }));
mkdirSync(join(base, 'tree/etc'), { recursive: true });
writeFileSync(join(base, 'tree/etc/file'), 'content');
symlinkSync('/etc', join(base, 'tree/link'));
writeFileSync(join(base, 'secret'), 'secret!');
symlinkSync('../secret', join(base, 'tree/out'));

const part = (text: string) => ({ type: 2, payload: Buffer.from(text).toString('base64') });
const file = (name: string, size: number) => ({ type: 1, name, size });

function layer(lines: readonly (object | string)[]) {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
  writeFileSync(join(base, 'split.gz'), gzipSync(`${text}\n`));
  return { diffId: digestOf('x'), bytes: 0, tree: 'tree', tarSplit: 'split.gz' };
}

async function read(lines: readonly (object | string)[]): Promise<string> {
  using root = new ForeignRoot(base);
  const its = layer(lines);
  const parts: Buffer[] = [];
  for await (const bytes of tarBytes(root, its)) parts.push(bytes);
  assert.equal(await tarSize(root, its), Buffer.concat(parts).length);
  return Buffer.concat(parts).toString();
}

test('a tar is put together of what was between its files and of the files, links inside of the tree followed', async () => {
  const lines = [
    part('<'),
    file('empty', 0),
    part('a'),
    part('b'),
    file('etc/file', 7),
    file('link/file', 7),
    part('>'),
  ];
  assert.equal(await read(lines), '<abcontentcontent>');
});

test('what is damaged, gone, shorter or outside of the tree is told', async () => {
  for (const [lines, message] of [
    [['{'], /is damaged: a line is no JSON/],
    [[{ type: 3 }], /a line is of an unknown kind/],
    [[{ type: 1, name: 'x', size: -1 }], /unknown kind/],
    [[file('etc/none', 1)], /"etc\/none" of a layer cannot be read: ENOENT/],
    [[file('out', 7)], /cannot be read: ELOOP/],
    [[file('../secret', 7)], /cannot be read: ENOENT/],
    [[file('etc/file', 8)], /is shorter than it was/],
    [[file('etc', 1)], /is not the file that it was/],
    [[{ type: 1, name: '', name_raw: '/w==', size: 1 }], /no UTF-8/],
  ] as const)
    await assert.rejects(read(lines), message);
  writeFileSync(join(base, 'split.gz'), 'no gzip');
  using root = new ForeignRoot(base);
  await assert.rejects(tarSize(root, { diffId: digestOf('x'), bytes: 0, tree: 'tree', tarSplit: 'split.gz' }), {
    kind: 'corrupt',
  });
});

test('a long line is whole, a list that cannot be read is told, and no file stays open', async () => {
  const long = 'x'.repeat(3_000_000);
  assert.equal(await read([part(long), file('etc/file', 7)]), `${long}content`);

  // A folder opens as a file does, and fails at the first read.
  mkdirSync(join(base, 'folder.gz'));
  using root = new ForeignRoot(base);
  await assert.rejects(tarSize(root, { diffId: digestOf('x'), bytes: 0, tree: 'tree', tarSplit: 'folder.gz' }), {
    kind: 'corrupt',
    message: /EISDIR/,
  });

  const its = layer([part(long), part(long)]);
  for await (const _ of tarBytes(root, its)) break;
  const open = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).endsWith('split.gz');
      } catch {
        return false;
      }
    });
  const deadline = Date.now() + 30_000;
  while (open().length > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(open(), []);
});
