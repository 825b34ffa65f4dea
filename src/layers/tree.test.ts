import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TarReader } from './tar.ts';
import { packTar, type TarMember } from './tar-writer.ts';
import { isWhiteout, LayerTree, type Node } from './tree.ts';

function treeOf(...members: TarMember[]): LayerTree {
  const tree = new LayerTree({ maxEntries: 100 });
  const reader = new TarReader({ entry: (entry) => tree.add(entry) });
  reader.push(packTar(members));
  reader.finish();
  return tree;
}

/** A whiteout has a `!` behind its name, a directory a slash, an opaque one a star too. */
function outline(node: Node, path = ''): string[] {
  return [...(node.children ?? [])].flatMap(([name, child]) => {
    const mark = child.children ? (child.opaque ? '*/' : '/') : isWhiteout(child) ? '!' : '';
    return [path + name + mark, ...outline(child, `${path}${name}/`)];
  });
}

test('missing parents are made, dots and double slashes mean nothing', () => {
  assert.deepEqual(outline(treeOf({ name: './a//b/./c' }).root), ['a/', 'a/b/', 'a/b/c']);
});

test('a whiteout hides what is below, not what the layer brings, in either order', () => {
  assert.deepEqual(outline(treeOf({ name: '.wh.a' }).root), ['a!']);
  assert.deepEqual(outline(treeOf({ name: 'a' }, { name: '.wh.a' }).root), ['a']);
  assert.deepEqual(outline(treeOf({ name: '.wh.a' }, { name: 'a' }).root), ['a']);
});

test('a directory that is hidden and made again is opaque', () => {
  const made = { name: 'd/', type: 'directory' } as const;
  assert.deepEqual(outline(treeOf({ name: '.wh.d' }, made, { name: 'd/x' }).root), ['d*/', 'd/x']);
  assert.deepEqual(outline(treeOf(made, { name: 'd/x' }, { name: '.wh.d' }).root), ['d*/', 'd/x']);
  assert.deepEqual(outline(treeOf({ name: '.wh.d' }, { name: 'd/x' }).root), ['d*/', 'd/x']);
});

test('an opaque mark stays when the directory comes later', () => {
  const made = { name: 'd/', type: 'directory', mode: 0o700 } as const;
  const tree = treeOf({ name: 'd/.wh..wh..opq' }, made);
  assert.deepEqual(outline(tree.root), ['d*/']);
  assert.equal(tree.root.children?.get('d')?.mode, 0o040700);
});

test('a hard link is the same node', () => {
  const { root } = treeOf({ name: 'a' }, { name: 'd/b', type: 'hardlink', linkName: '/a' });
  assert.equal(root.children?.get('d')?.children?.get('b'), root.children?.get('a'));
});

test('entries are counted', () => {
  assert.equal(treeOf({ name: 'a' }, { name: 'a' }, { name: '.wh.b' }).entries, 3);
});
