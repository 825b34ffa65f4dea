import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { ContainerRecord, HeldMount } from '../../src/containers/record.ts';
import { relabel, relabelMounts } from '../../src/containers/relabel.ts';
import { DirectoryCalls } from '../../src/sys/dirfd.ts';

/** The labels are files' attributes, which a kernel without SELinux keeps too: what is written is seen here for real. */

const scratch = mkdtempSync(join(tmpdir(), 'selinux-'));
after(() => rmSync(scratch, { recursive: true }));
const calls = new DirectoryCalls();
const own = 'system_u:object_r:container_file_t:s0:c12,c34';
const shared = 'system_u:object_r:container_file_t:s0';

function labelOf(path: string): string | undefined {
  const directory = openSync(dirname(path), constants.O_DIRECTORY);
  try {
    return calls.getXattr(directory, path.slice(dirname(path).length + 1), 'security.selinux')?.toString();
  } finally {
    closeSync(directory);
  }
}

/** A tree with a link out of it, a FIFO, a name that is no UTF-8, and something outside. */
function makeTree(): { root: string; outside: string; all: string[] } {
  const base = mkdtempSync(join(scratch, 'tree-'));
  const [root, outside] = [join(base, 'root'), join(base, 'outside')];
  mkdirSync(join(root, 'a/b/c'), { recursive: true });
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'x');
  writeFileSync(join(root, 'a/file'), 'x');
  symlinkSync(outside, join(root, 'a/b/link'));
  symlinkSync(join(outside, 'secret'), join(root, 'a/b/link-to-file'));
  execFileSync('mkfifo', [join(root, 'a/fifo')]);
  execFileSync('bash', ['-c', `touch "$1"/$'a/caf\\xe9'`, 'bash', root]);
  const all = ['', '/a', '/a/b', '/a/b/c', '/a/file', '/a/fifo', '/a/b/link'].map((path) => root + path);
  return { root, outside, all };
}

describe('labels of SELinux', () => {
  test('a tree is labelled whole, links as links, and nothing that they lead to', async () => {
    const { root, outside, all } = makeTree();
    await relabel(root, own);
    for (const path of all) assert.equal(labelOf(path), own, path);
    const directory = openSync(join(root, 'a'), constants.O_DIRECTORY);
    assert.equal(calls.getXattr(directory, 'caf\u00e9', 'security.selinux')?.toString(), own);
    closeSync(directory);
    for (const path of [outside, join(outside, 'secret')]) assert.equal(labelOf(path), undefined, path);
  });

  test('a single file is labelled, a second time writes nothing, another label does', async () => {
    const file = join(mkdtempSync(join(scratch, 'file-')), 'file');
    writeFileSync(file, 'x');
    await relabel(file, own);
    const changed = statSync(file, { bigint: true }).ctimeNs;
    await relabel(file, own);
    assert.equal(statSync(file, { bigint: true }).ctimeNs, changed);
    await relabel(file, shared);
    assert.equal(labelOf(file), shared);
  });

  test("the machine's own directories are refused, and nothing in them is touched", async () => {
    for (const path of ['/', '/etc', '/usr', '/home', '/var/lib', '/root', '/etc/passwd'])
      await assert.rejects(relabel(path, own), { message: `SELinux relabeling of ${path} is not allowed` });
    assert.equal(labelOf('/etc/passwd'), undefined);
  });

  test(":Z is the container's own label, :z the shared one, a volume is shared, and the rest stays as it is", async () => {
    const { root: z } = makeTree();
    const { root: Z } = makeTree();
    const { root: volume } = makeTree();
    const { root: plain } = makeTree();
    const link = join(scratch, 'link-to-z');
    symlinkSync(z, link);
    const names = ['hosts', 'hostname', 'resolvConf'] as const;
    const folder = mkdtempSync(join(scratch, 'files-'));
    for (const name of names) writeFileSync(join(folder, name), '');
    const mount = (Type: string, Source: string, relabel: HeldMount['relabel']) =>
      ({ point: { Type, Source }, relabel }) as HeldMount;
    const container = (mountLabel: string, ...mounts: HeldMount[]) =>
      ({
        own: { mounts },
        mountLabel,
        files: Object.fromEntries(names.map((name) => [name, join(folder, name)])),
      }) as unknown as ContainerRecord;
    const mounts = [
      mount('bind', link, 'z'),
      mount('bind', Z, 'Z'),
      mount('volume', volume, 'z'),
      mount('bind', plain, undefined),
    ];
    await relabelMounts(container('', ...mounts));
    assert.equal(labelOf(Z), undefined, 'label=disable, and a kernel without SELinux');
    await relabelMounts(container(own, ...mounts));
    assert.equal(labelOf(join(z, 'a/b/c')), shared);
    assert.equal(labelOf(join(Z, 'a/b/c')), own);
    assert.equal(labelOf(join(volume, 'a/b/c')), shared);
    assert.equal(labelOf(join(plain, 'a')), undefined);
    assert.equal(labelOf(join(folder, 'hosts')), shared);
    const etc = join(scratch, 'link-to-etc');
    symlinkSync('/etc', etc);
    await assert.rejects(relabelMounts(container(own, mount('bind', etc, 'Z'))), {
      message: `error setting label on mount source '${etc}': SELinux relabeling of /etc is not allowed`,
    });
  });
});
