import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { EngineError, type ErrorKind } from '../base/errors.ts';
import { type Digest, hexOf } from '../oci/digest.ts';
import { DirectoryCalls } from '../sys/dirfd.ts';
import { currentMounts } from './private-root.ts';
import type { Snapshotter } from './snapshotter.ts';

/** A file of a layer that the suite asks for. Without content: a directory, or a whiteout when so named. */
export interface LayerFile {
  readonly name: string;
  readonly content?: string;
  readonly mode?: number;
  readonly uid?: number;
}

export interface SnapshotterUnderTest {
  open(root: string): Snapshotter;
  /** Puts a layer with these files into the snapshotter. */
  addLayer(snapshotter: Snapshotter, files: readonly LayerFile[]): Promise<Digest>;
}

const AT_FDCWD = -100;
const O_DIRECTORY = 0o200000;

const refusedWith = (kind: ErrorKind) => (error: unknown) => error instanceof EngineError && error.kind === kind;

/** What every snapshotter does. Makes real mounts: needs root. */
export function conformsAsSnapshotter(name: string, { open, addLayer }: SnapshotterUnderTest): void {
  /** A place of its own for each test; whatever the test left mounted there is an error. */
  const inPlace = async (run: (root: string, target: (name: string) => string) => Promise<void>) => {
    const place = mkdtempSync(join(tmpdir(), 'berth-snapshots-'));
    const target = (name: string) => {
      mkdirSync(join(place, name), { recursive: true });
      return join(place, name);
    };
    try {
      await run(join(place, 'root'), target);
      assert.deepEqual(mountsBelow(place), []);
    } finally {
      for (const mount of mountsBelow(place).toReversed()) execFileSync('umount', ['-l', mount]);
      rmSync(place, { recursive: true, force: true });
    }
  };
  const file = (name: string, content = name): LayerFile => ({ name, content });

  suite(name, () => {
    test('a layer is here once it is committed, and not before', () =>
      inPlace(async (root) => {
        await using snapshotter = open(root);
        const diffId = await addLayer(snapshotter, [file('a')]);
        assert.ok(snapshotter.hasLayer(diffId));
        assert.deepEqual(snapshotter.layers(), [diffId]);
        assert.equal(snapshotter.layerFacts(diffId)?.entries, 1);
        const other = `sha256:${'0'.repeat(64)}` as Digest;
        {
          await using stage = await snapshotter.stageLayer(other);
          writeFileSync(join(stage.directory, 'layer.tar'), 'half');
          assert.equal(snapshotter.hasLayer(other), false);
        }
        assert.equal(snapshotter.layerFacts(other), undefined);
        assert.deepEqual(readdirSync(join(root, 'staging')), []);
      }));

    test('of two stages of one layer the first that is committed stays', () =>
      inPlace(async (root) => {
        await using snapshotter = open(root);
        const [one, two] = await Promise.all([addLayer(snapshotter, [file('a')]), addLayer(snapshotter, [file('a')])]);
        assert.equal(one, two);
        assert.deepEqual(snapshotter.layers(), [one]);
        assert.deepEqual(readdirSync(join(root, 'staging')), []);
      }));

    test('layers are still here after a restart', () =>
      inPlace(async (root) => {
        let diffId: Digest;
        {
          await using before = open(root);
          diffId = await addLayer(before, [file('a')]);
          await before.prepare('c', [diffId]);
        }
        await using snapshotter = open(root);
        await snapshotter.recover(new Map());
        assert.deepEqual(snapshotter.layers(), [diffId]);
        assert.equal(snapshotter.layerFacts(diffId)?.entries, 1);
        assert.deepEqual(snapshotter.snapshots(), ['c']);
      }));

    test('a snapshot shows its layers, whiteouts and opaque directories applied, and keeps what is written', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const base = await addLayer(snapshotter, [
          file('etc/passwd'),
          file('etc/group'),
          file('opt/old/a'),
          file('opt/old/b'),
          file('usr/x'),
        ]);
        const top = await addLayer(snapshotter, [
          file('etc/group', 'new'),
          { name: 'etc/.wh.passwd' },
          { name: 'opt/old/.wh..wh..opq' },
          file('opt/old/c'),
        ]);
        await snapshotter.prepare('c', [base, top]);
        const at = target('rootfs');
        await snapshotter.mount('c', at);
        await snapshotter.mount('c', at);
        assert.deepEqual(readdirSync(join(at, 'etc')), ['group']);
        assert.equal(readFileSync(join(at, 'etc/group'), 'utf8'), 'new');
        assert.deepEqual(readdirSync(join(at, 'opt/old')), ['c']);
        assert.equal(readFileSync(join(at, 'usr/x'), 'utf8'), 'usr/x');
        writeFileSync(join(at, 'etc/passwd'), 'mine');
        rmSync(join(at, 'usr/x'));
        await snapshotter.unmount('c', at);
        assert.deepEqual(readdirSync(at), []);
        const again = target('again');
        await snapshotter.mount('c', again);
        assert.equal(readFileSync(join(again, 'etc/passwd'), 'utf8'), 'mine');
        assert.equal(existsSync(join(again, 'usr/x')), false);
        await snapshotter.unmount('c', again);
        await snapshotter.remove('c');
      }));

    test('what is open is read and written through descriptors, and nothing of it is mounted anywhere', () =>
      inPlace(async (root) => {
        await using snapshotter = open(root);
        const base = await addLayer(snapshotter, [file('a', 'base'), file('b')]);
        const top = await addLayer(snapshotter, [file('a', 'top')]);
        await snapshotter.prepare('c', [base, top]);
        const before = mountsBelow(root).filter((target) => !target.includes('/mounts/'));
        {
          await using opened = await snapshotter.open('c');
          const at = (fd: number, name: string) => `/proc/self/fd/${fd}/${name}`;
          assert.equal(readFileSync(at(opened.root, 'a'), 'utf8'), 'top');
          writeFileSync(at(opened.root, 'a'), 'mine');
          writeFileSync(at(opened.root, 'new'), 'mine');
          assert.equal(readFileSync(at(opened.lower(), 'a'), 'utf8'), 'top');
          assert.deepEqual(readdirSync(at(opened.lower(), '')), ['a', 'b']);
          assert.deepEqual(readdirSync(opened.upper).sort(), ['a', 'new']);
          assert.deepEqual(
            mountsBelow(root).filter((target) => !target.includes('/mounts/')),
            before,
          );
          await assert.rejects(snapshotter.removeLayer(top), refusedWith('conflict'));
        }
        await snapshotter.remove('c');
        await assert.rejects(snapshotter.open('c'), refusedWith('not-found'));
        await snapshotter.removeLayer(top);
      }));

    test('what is open and what is mounted are one file system, in whatever order they come and go', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const base = await addLayer(snapshotter, [file('a', 'base')]);
        await snapshotter.prepare('c', [base]);
        const at = target('rootfs');
        const in_ = (fd: number, name: string) => `/proc/self/fd/${fd}/${name}`;
        const first = await snapshotter.open('c');
        for (let round = 0; round < 3; round++) {
          await snapshotter.mount('c', at);
          await using inside = await snapshotter.open('c');
          writeFileSync(join(at, `mounted-${round}`), 'x');
          writeFileSync(in_(first.root, `opened-${round}`), 'x');
          assert.ok(existsSync(in_(inside.root, `opened-${round}`)));
          assert.ok(existsSync(join(at, `opened-${round}`)));
          const { dev, ino } = statSync(at);
          for (const { root: fd } of [first, inside])
            assert.deepEqual([statSync(in_(fd, '.')).dev, statSync(in_(fd, '.')).ino], [dev, ino]);
          await snapshotter.unmount('c', at);
          assert.deepEqual(readdirSync(at), []);
          assert.ok(existsSync(in_(first.root, `mounted-${round}`)));
          assert.ok(existsSync(in_(inside.root, `mounted-${round}`)));
        }
        await snapshotter.remove('c');
        await first[Symbol.asyncDispose]();
        assert.deepEqual(snapshotter.snapshots(), []);
      }));

    test('owners are shown mapped, and stored as the layers have them', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const base = await addLayer(snapshotter, [
          { name: './', uid: 0 },
          { ...file('lower'), uid: 5 },
          file('gone'),
          { name: 'd', uid: 7 },
          file('d/below'),
        ]);
        const top = await addLayer(snapshotter, [file('top')]);
        const ranges = [
          { inside: 0, outside: 300_000, count: 1000 },
          { inside: 1000, outside: 500_000, count: 64_536 },
        ];
        const options = { label: '', owners: { uids: ranges, gids: ranges } };
        await snapshotter.prepare('c', [base, top]);
        const at = target('rootfs');
        await snapshotter.mount('c', at, options);
        const shown = (name: string) => statSync(join(at, name)).uid;
        assert.deepEqual(['.', 'lower', 'd', 'top'].map(shown), [300_000, 300_005, 300_007, 300_000]);
        appendFileSync(join(at, 'lower'), 'more');
        rmSync(join(at, 'gone'));
        rmSync(join(at, 'd'), { recursive: true });
        mkdirSync(join(at, 'd'));
        for (const [name, uid] of [
          ['made', 300_000],
          ['others', 500_001],
        ] as const) {
          writeFileSync(join(at, name), name);
          chownSync(join(at, name), uid, uid);
        }
        // Who has no ID in there owns nothing there.
        assert.throws(() => chownSync(join(at, 'made'), 1000, 1000), { code: /EOVERFLOW|EINVAL/ });
        {
          await using opened = await snapshotter.open('c', options);
          const stored = (name: string) => lstatSync(join(opened.upper, name)).uid;
          assert.deepEqual(['.', 'lower', 'made', 'others'].map(stored), [0, 5, 0, 1001]);
          assert.equal(statSync(`/proc/self/fd/${opened.lower()}/lower`).uid, 5);
          assert.equal(statSync(`/proc/self/fd/${opened.root}/lower`).uid, 300_005);
        }
        await snapshotter.unmount('c', at);
        // Nothing of the mapping is on the disk.
        await snapshotter.mount('c', at);
        assert.deepEqual(['lower', 'made', 'others'].map(shown), [5, 0, 1001]);
        assert.equal(readFileSync(join(at, 'lower'), 'utf8'), 'lowermore');
        assert.equal(existsSync(join(at, 'gone')), false);
        await snapshotter.unmount('c', at);
        const elsewhere = [{ inside: 0, outside: 700_000, count: 65_536 }];
        const other = { label: '', owners: { uids: elsewhere, gids: elsewhere } };
        await using opened = await snapshotter.open('c', other);
        assert.equal(statSync(`/proc/self/fd/${opened.root}/others`).uid, 701_001);
      }));

    test("the root of a snapshot looks like the top layer's", () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const diffId = await addLayer(snapshotter, [{ name: './', mode: 0o1770, uid: 42 }, file('a')]);
        await snapshotter.prepare('c', [diffId]);
        const at = target('rootfs');
        await snapshotter.mount('c', at);
        const { mode, uid } = statSync(at);
        assert.equal(mode & 0o7777, 0o1770);
        assert.equal(uid, 42);
        chmodSync(at, 0o700);
        await snapshotter.unmount('c', at);
        await snapshotter.mount('c', at);
        assert.equal(statSync(at).mode & 0o7777, 0o700);
        await snapshotter.unmount('c', at);
      }));

    test('125 layers can be mounted, more than 128 are refused', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const layers: Digest[] = [];
        for (let i = 0; i < 129; i++)
          layers.push(await addLayer(snapshotter, [file(`f${i}`), file('last', String(i))]));
        await snapshotter.prepare('c', layers.slice(0, 125));
        const at = target('rootfs');
        await snapshotter.mount('c', at);
        assert.equal(readdirSync(at).length, 126);
        assert.equal(readFileSync(join(at, 'last'), 'utf8'), '124');
        await snapshotter.unmount('c', at);
        await snapshotter.prepare('most', layers.slice(0, 128));
        await assert.rejects(snapshotter.prepare('more', layers), refusedWith('invalid'));
        await assert.rejects(snapshotter.view(layers), refusedWith('invalid'));
        // The chain is read back whole.
        await using again = open(root);
        assert.match(
          again.describe('most').LowerDir!,
          new RegExp(`^${again.describe('most').LowerDir!.split(':')[0]}`),
        );
        assert.equal(again.describe('most').LowerDir!.split(':').length, 128);
      }));

    test('a layer may be in a chain twice, and a chain may be empty', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const one = await addLayer(snapshotter, [file('a', '1')]);
        const two = await addLayer(snapshotter, [{ name: '.wh.a' }, file('b')]);
        await snapshotter.prepare('twice', [one, two, one]);
        const at = target('twice');
        await snapshotter.mount('twice', at);
        assert.deepEqual(readdirSync(at), ['a', 'b']);
        await snapshotter.unmount('twice', at);
        await snapshotter.prepare('none', []);
        await snapshotter.mount('none', at);
        assert.deepEqual(readdirSync(at), []);
        await snapshotter.unmount('none', at);
      }));

    test('a chain with a layer that is not here, a key in use and a key that is a path are refused', () =>
      inPlace(async (root) => {
        await using snapshotter = open(root);
        const diffId = await addLayer(snapshotter, [file('a')]);
        const missing = `sha256:${'1'.repeat(64)}` as Digest;
        await assert.rejects(snapshotter.prepare('c', [diffId, missing]), refusedWith('not-found'));
        await snapshotter.prepare('c', [diffId]);
        await assert.rejects(snapshotter.prepare('c', [diffId]), refusedWith('conflict'));
        for (const key of ['../c', 'a/b', '.', '..', '']) {
          await assert.rejects(snapshotter.prepare(key, [diffId]), refusedWith('invalid'));
        }
        await assert.rejects(snapshotter.mount('other', root), refusedWith('not-found'));
        assert.deepEqual(snapshotter.snapshots(), ['c']);
      }));

    test('a layer is removed with its bytes at once, and not while it is in use', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const kept = await addLayer(snapshotter, [file('kept')]);
        const before = diskUsage(root);
        const diffId = await addLayer(snapshotter, [file('big', 'x'.repeat(3_000_000))]);
        assert.ok(diskUsage(root) - before > 2_900_000);
        await snapshotter.prepare('c', [kept, diffId]);
        await assert.rejects(snapshotter.removeLayer(diffId), refusedWith('conflict'));
        const at = target('rootfs');
        await snapshotter.mount('c', at);
        await assert.rejects(snapshotter.remove('c'), refusedWith('conflict'));
        await snapshotter.unmount('c', at);
        await snapshotter.remove('c');
        await snapshotter.remove('c');
        {
          await using view = await snapshotter.view([diffId]);
          assert.deepEqual(readdirSync(view.path), ['big']);
          await assert.rejects(snapshotter.removeLayer(diffId), refusedWith('conflict'));
        }
        await snapshotter.removeLayer(diffId);
        await snapshotter.removeLayer(diffId);
        assert.equal(snapshotter.hasLayer(diffId), false);
        assert.ok(diskUsage(root) - before < 100_000);
        // The layer can come back.
        assert.equal(await addLayer(snapshotter, [file('big', 'x'.repeat(3_000_000))]), diffId);
      }));

    test('a view shows layers and cannot be written', () =>
      inPlace(async (root) => {
        await using snapshotter = open(root);
        const one = await addLayer(snapshotter, [file('a'), file('b')]);
        const two = await addLayer(snapshotter, [{ name: '.wh.a' }]);
        await using view = await snapshotter.view([one, two]);
        assert.deepEqual(readdirSync(view.path), ['b']);
        assert.throws(() => writeFileSync(join(view.path, 'c'), ''), { code: 'EROFS' });
        await using empty = await snapshotter.view([]);
        assert.deepEqual(readdirSync(empty.path), []);
      }));

    test('unmounting what is not mounted is no error', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        await snapshotter.prepare('c', []);
        await snapshotter.unmount('c', target('rootfs'));
        await snapshotter.unmount('c', join(root, 'nowhere'));
      }));

    test('a tree deeper than any path can name is counted, and removed', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        await snapshotter.prepare('c', []);
        const at = target('rootfs');
        await snapshotter.mount('c', at);
        const calls = new DirectoryCalls();
        let fd = calls.open(AT_FDCWD, at, O_DIRECTORY);
        for (let depth = 0; depth < 100; depth++) {
          calls.mkdir(fd, 'x'.repeat(200), 0o755);
          const deeper = calls.open(fd, 'x'.repeat(200), O_DIRECTORY);
          calls.close(fd);
          fd = deeper;
        }
        calls.close(fd);
        assert.ok((await snapshotter.usage('c')).inodes >= 15);
        await snapshotter.unmount('c', at);
        await snapshotter.remove('c');
        await snapshotter[Symbol.asyncDispose]();
        assert.deepEqual(readdirSync(join(root, 'trash')), []);
      }));

    test('usage counts what was written, hard links once', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const base = await addLayer(snapshotter, [file('a', 'x'.repeat(1_000_000))]);
        await snapshotter.prepare('c', [base]);
        const at = target('rootfs');
        await snapshotter.mount('c', at);
        assert.deepEqual(await snapshotter.usage('c'), { bytes: 0, inodes: 0 });
        mkdirSync(join(at, 'd'));
        writeFileSync(join(at, 'd/f'), 'y'.repeat(500_000), { flush: true });
        linkSync(join(at, 'd/f'), join(at, 'd/g'));
        const { bytes, inodes } = await snapshotter.usage('c');
        assert.equal(inodes, 2);
        assert.ok(bytes >= 500_000 && bytes < 600_000, String(bytes));
        await snapshotter.unmount('c', at);
        await assert.rejects(snapshotter.usage('other'), refusedWith('not-found'));
      }));

    test('recover clears what a crash left and keeps what runs (R01)', () =>
      inPlace(async (root, target) => {
        const crashed = open(root);
        const diffId = await addLayer(crashed, [file('a')]);
        const second = await addLayer(crashed, [file('b')]);
        const unused = await addLayer(crashed, [file('c')]);
        await crashed.prepare('running', [diffId, second]);
        await crashed.prepare('stopped', [diffId]);
        await crashed.prepare('stale', [unused]);
        const running = target('running');
        await crashed.mount('running', running);
        const stale = join(root, 'containers/stale/rootfs');
        mkdirSync(stale);
        await crashed.mount('stale', stale);
        await crashed.view([diffId, second]);
        await crashed.stageLayer(`sha256:${'2'.repeat(64)}` as Digest);
        // A prepare that was cut short before its last step, and a removal before its end.
        mkdirSync(join(root, 'containers/half/upper'), { recursive: true });
        mkdirSync(join(root, 'trash/gone/deep'), { recursive: true });

        await using snapshotter = open(root);
        await snapshotter.recover(
          new Map([
            ['running', running],
            ['vanished', target('vanished')],
          ]),
        );
        assert.deepEqual([...snapshotter.snapshots()].sort(), ['running', 'stale', 'stopped']);
        assert.deepEqual(readdirSync(join(root, 'staging')), []);
        assert.deepEqual(readdirSync(join(root, 'views')), []);
        assert.deepEqual(mountsBelow(stale), []);
        assert.equal(readFileSync(join(running, 'a'), 'utf8'), 'a');
        await assert.rejects(snapshotter.remove('running'), refusedWith('conflict'));
        await snapshotter.unmount('running', running);
        for (const key of snapshotter.snapshots()) await snapshotter.remove(key);
        for (const layer of snapshotter.layers()) await snapshotter.removeLayer(layer);
        await snapshotter[Symbol.asyncDispose]();
        for (const room of ['containers', 'layers', 'staging', 'trash', 'views', 'mounts']) {
          assert.deepEqual(readdirSync(join(root, room)), [], room);
        }
      }));

    test('a snapshot that was half prepared can be prepared again', () =>
      inPlace(async (root) => {
        await using snapshotter = open(root);
        mkdirSync(join(root, 'containers/c/upper'), { recursive: true });
        await snapshotter.prepare('c', []);
        assert.deepEqual(snapshotter.snapshots(), ['c']);
      }));

    test('a snapshot with a limit holds no more, after a restart too, and nothing of it stays', () =>
      inPlace(async (root, target) => {
        const at = target('at');
        const full = (name: string) => {
          assert.throws(() => writeFileSync(join(at, name), Buffer.alloc(9 << 20)), /ENOSPC|EDQUOT/);
          rmSync(join(at, name));
        };
        {
          await using before = open(root);
          await before.prepare('c', [], { limit: 8 << 20 });
          await before.mount('c', at);
          full('first');
          writeFileSync(join(at, 'kept'), 'kept');
        }
        {
          // Killed: it never ends.
          const killed = open(root);
          await killed.recover(new Map([['c', at]]));
          await killed.unmount('c', at);
          await killed.mount('c', at);
          full('second');
          assert.ok((await killed.usage('c')).bytes < 1 << 20);
        }
        await using after = open(root);
        await after.recover(new Map([['c', at]]));
        assert.equal(readFileSync(join(at, 'kept'), 'utf8'), 'kept');
        await after.unmount('c', at);
        await after.remove('c');
        await after.prepare('c', [], { limit: 8 << 20 });
        await after.mount('c', at);
        assert.equal(existsSync(join(at, 'kept')), false);
        await after.unmount('c', at);
        await after.remove('c');
      }));

    test('what is mounted below the root takes no part in propagation, and the root is let go in the end', () =>
      inPlace(async (root) => {
        const snapshotter = open(root);
        const places = currentMounts().filter((mount) => mount.target.startsWith(`${root}/`));
        assert.deepEqual(places.map((mount) => mount.target.slice(root.length + 1)).sort(), [
          'limited',
          'mounts',
          'views',
        ]);
        assert.deepEqual(
          places.flatMap((mount) => mount.propagation),
          [],
        );
        assert.equal(lstatSync(root).mode & 0o777, 0o700);
        await snapshotter[Symbol.asyncDispose]();
        assert.deepEqual(mountsBelow(root), []);
      }));

    test('a file from beside the root can be linked into a stage', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const blob = join(target('blobs'), 'blob');
        writeFileSync(blob, 'content');
        await using stage = await snapshotter.stageLayer(`sha256:${'3'.repeat(64)}` as Digest);
        linkSync(blob, join(stage.directory, 'layer.tar'));
      }));

    test('a damaged layer is named, and others still mount (R08)', () =>
      inPlace(async (root, target) => {
        await using snapshotter = open(root);
        const good = await addLayer(snapshotter, [file('a')]);
        const bad = await addLayer(snapshotter, [file('b')]);
        await snapshotter.prepare('good', [good]);
        rmSync(join(root, 'layers', hexOf(bad)), { recursive: true });
        const at = target('rootfs');
        await assert.rejects(
          snapshotter.prepare('bad', [good, bad]).then(() => snapshotter.mount('bad', at)),
          (error: unknown) => error instanceof EngineError && error.message.includes(hexOf(bad)),
        );
        await snapshotter.mount('good', at);
        await snapshotter.unmount('good', at);
      }));

    test('a full disk is unavailable, with path and bytes, and leaves nothing half done (R05, R06)', () =>
      inPlace(async (root, target) => {
        const small = target('small');
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,nr_inodes=64', 'tmpfs', small]);
        const below = join(small, root.slice(-4));
        {
          await using snapshotter = open(below);
          const made: string[] = [];
          await assert.rejects(
            async () => {
              for (let i = 0; i < 64; i++) {
                await snapshotter.prepare(`c${i}`, []);
                made.push(`c${i}`);
              }
            },
            (error: unknown) =>
              error instanceof EngineError &&
              error.kind === 'unavailable' &&
              error.message.includes(below) &&
              error.message.includes('no inodes left'),
          );
          assert.deepEqual(readdirSync(join(below, 'containers')).sort(), [...made].sort());
          await snapshotter.remove(made.pop()!);
          await snapshotter[Symbol.asyncDispose]();
          await snapshotter.prepare('after', []);
        }
        execFileSync('umount', [small]);
      }));
  });
}

function mountsBelow(path: string): string[] {
  return currentMounts()
    .map((mount) => mount.target)
    .filter((target) => target === path || target.startsWith(`${path}/`));
}

function diskUsage(path: string): number {
  return Number(execFileSync('du', ['-s', '-B1', path], { encoding: 'utf8' }).split('\t')[0]);
}
