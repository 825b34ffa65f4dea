import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TarReader } from './tar.ts';
import { nameText, type TarEntry } from './tar-entry.ts';
import { packTar, type TarMember, tarHeader } from './tar-writer.ts';

function read(tar: Buffer): { entries: TarEntry[]; contents: string[] } {
  const entries: TarEntry[] = [];
  const contents: string[] = [];
  const reader = new TarReader({
    entry: (entry) => {
      entries.push(entry);
      contents.push('');
    },
    data: (piece) => {
      contents[contents.length - 1] += piece.toString('latin1');
    },
  });
  reader.push(tar);
  reader.finish();
  return { entries, contents };
}

test('what the writer writes, the reader reads', () => {
  const members: (TarMember & { content?: string })[] = [
    { name: 'plain', content: 'hello', mode: 0o4711, uid: 1000, gid: 1001, mtime: 1_700_000_000 },
    { name: 'dir/', type: 'directory', mtime: -3, mtimeNsec: 500_000_000 },
    { name: `${'p'.repeat(90)}/${'n'.repeat(90)}`, content: '1' },
    { name: 'x'.repeat(255), content: '2', mtime: 1, mtimeNsec: 1 },
    { name: 'grün', type: 'symlink', linkName: `${'t'.repeat(150)}ß` },
    { name: 'hard', type: 'hardlink', linkName: 'plain' },
    { name: 'dev', type: 'block', major: 8, minor: 70_000, uid: 3_000_000_000, gid: 2_097_152 },
    {
      name: 'attrs',
      xattrs: new Map([
        ['user.x', Buffer.from([0, 10, 61, 255])],
        ['security.y', Buffer.alloc(0)],
      ]),
    },
  ];
  const { entries, contents } = read(packTar(members));
  assert.equal(entries.length, members.length);
  for (const [i, entry] of entries.entries()) {
    const member = members[i]!;
    assert.equal(Buffer.from(entry.name, 'latin1').toString(), member.name);
    assert.equal(Buffer.from(entry.linkName, 'latin1').toString(), member.linkName ?? '');
    assert.equal(entry.type, member.type ?? 'file');
    assert.equal(entry.mode, member.mode ?? (member.type === 'directory' ? 0o755 : 0o644));
    assert.deepEqual([entry.uid, entry.gid], [member.uid ?? 0, member.gid ?? 0]);
    assert.deepEqual([entry.mtime, entry.mtimeNsec], [member.mtime ?? 0, member.mtimeNsec ?? 0]);
    assert.deepEqual([entry.major, entry.minor], [member.major ?? 0, member.minor ?? 0]);
    assert.deepEqual(new Map(entry.xattrs ?? []), new Map(member.xattrs ?? []));
    assert.equal(contents[i], member.content ?? '');
    assert.equal(entry.dataOffset % 512, 0);
  }
});

test('the same members give the same bytes', () => {
  const members = [
    {
      name: 'a',
      content: 'x',
      xattrs: new Map([
        ['user.b', Buffer.from('1')],
        ['user.a', Buffer.from('2')],
      ]),
    },
  ];
  const turned = [{ ...members[0]!, xattrs: new Map([...members[0]!.xattrs].reverse()) }];
  assert.ok(packTar(members).equals(packTar(turned)));
});

test('sizes from 8 GiB go into a PAX header', () => {
  const seen: TarEntry[] = [];
  new TarReader({ entry: (entry) => seen.push(entry) }).push(tarHeader({ name: 'big', size: 20 * 1024 ** 3 }));
  assert.equal(seen[0]?.size, 20 * 1024 ** 3);
  assert.equal(seen[0]?.storedSize, 20 * 1024 ** 3);
});

test('a PAX header is for one entry alone', () => {
  const { entries } = read(packTar([{ name: 'ü' }, { name: 'b' }]));
  assert.deepEqual(
    entries.map((entry) => nameText(entry.name)),
    ['ü', 'b'],
  );
});

test('names in messages have no control characters and an end', () => {
  assert.equal(nameText('a\x1b[2J\n"b'), 'a\\u001b[2J\\n\\"b');
  assert.ok(nameText('x'.repeat(5000)).length < 300);
});
