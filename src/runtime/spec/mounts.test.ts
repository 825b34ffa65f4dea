import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BindMount, SpecInput } from './input.ts';
import { mountsOf, rootfsPropagation, tmpfsMountOptions, tmpfsOptions } from './mounts.ts';
import { sampleInput } from './sample.ts';

const bind = (target: string, rest: Partial<BindMount> = {}): BindMount => ({
  type: 'bind',
  source: '/src',
  target,
  readOnly: false,
  recursive: true,
  recursiveReadOnly: 'possible',
  ...rest,
});
const of = (input: Parameters<typeof sampleInput>[0] = {}, writableCgroups = false) =>
  mountsOf(sampleInput(input), { writableCgroups });
const options = (mount: BindMount, machine: Partial<SpecInput['machine']> = {}) =>
  of({ mounts: [mount], machine })
    .at(-1)
    ?.options?.join();

describe('mountsOf', () => {
  it('makes the file systems that a container expects', () => {
    const mounts = of({ host: { ShmSize: 1000 } });
    assert.deepEqual(
      mounts.map(({ destination }) => destination),
      ['/proc', '/dev', '/dev/pts', '/sys', '/sys/fs/cgroup', '/dev/mqueue', '/dev/shm'],
    );
    assert.ok(mounts[3]?.options?.includes('ro') && mounts[4]?.options?.includes('ro'));
    assert.ok(mounts[6]?.options?.includes('size=1000'));
    assert.ok(!of({}, true)[4]?.options?.includes('ro'));
  });

  it("lets a user's mount take a default's place, and one at /dev all below it", () => {
    const replaced = of({ mounts: [bind('/sys')] });
    assert.equal(replaced.filter(({ destination }) => destination === '/sys').length, 1);
    assert.deepEqual(
      of({ mounts: [bind('/dev')] }).map(({ destination }) => destination),
      ['/proc', '/sys', '/sys/fs/cgroup', '/dev'],
    );
  });

  it('mounts parents before what is below them, and keeps the order otherwise', () => {
    const mounts = [bind('/a/b/c'), bind('/z'), bind('/a'), bind('/a/b')];
    assert.deepEqual(
      of({ mounts })
        .slice(7)
        .map(({ destination }) => destination),
      ['/z', '/a', '/a/b', '/a/b/c'],
    );
  });

  it('gives /dev/shm as the ipc mode says', () => {
    const shm = (ipc: SpecInput['namespaces']['ipc']) =>
      of({ namespaces: { ...sampleInput().namespaces, ipc } }).find(({ destination }) => destination === '/dev/shm');
    assert.equal(shm('private')?.type, 'tmpfs');
    assert.equal(shm('none'), undefined);
    assert.deepEqual([shm('host')?.type, shm('host')?.source], ['bind', '/dev/shm']);
    assert.equal(shm({ shm: '/x', path: undefined })?.source, '/x');
  });

  it('makes read-only mounts read-only all the way down where the machine can', () => {
    const old = { recursiveReadOnly: false };
    assert.equal(options(bind('/a')), 'rbind,rprivate');
    assert.equal(options(bind('/a', { readOnly: true })), 'rbind,ro,rro,rprivate');
    assert.equal(options(bind('/a', { readOnly: true }), old), 'rbind,ro,rprivate');
    assert.equal(options(bind('/a', { readOnly: true, recursiveReadOnly: 'no' })), 'rbind,ro,rprivate');
    assert.equal(options(bind('/a', { recursive: false, propagation: 'rshared' })), 'bind,rshared');
    assert.throws(() => options(bind('/a', { readOnly: true, recursiveReadOnly: 'forced' }), old), { kind: 'invalid' });
  });

  it('opens the root to mounts that come later only as far as a bind needs it', () => {
    assert.equal(rootfsPropagation([bind('/a')]), undefined);
    assert.equal(rootfsPropagation([bind('/a', { propagation: 'slave' })]), 'rslave');
    assert.equal(
      rootfsPropagation([bind('/a', { propagation: 'rslave' }), bind('/b', { propagation: 'shared' })]),
      'shared',
    );
  });
});

describe('tmpfsOptions', () => {
  it('starts from noexec, nosuid, nodev and lets later ones win', () => {
    assert.equal(tmpfsOptions('').join(), 'noexec,nosuid,nodev,rprivate');
    assert.equal(tmpfsOptions('exec,size=1m').join(), 'nosuid,nodev,rprivate,exec,size=1m');
    assert.equal(tmpfsOptions('size=1m,mode=1777,size=2m').join(), 'noexec,nosuid,nodev,rprivate,size=2m,mode=1777');
    assert.equal(tmpfsOptions('ro,rw,defaults,rshared').join(), 'noexec,nosuid,nodev,rshared,rw');
  });

  it('refuses what tmpfs does not have', () => {
    for (const option of ['foo', 'size=foo', 'upperdir=/', 'mode=9', 'uid=x', 'context=x', 'size=1m ,x'])
      assert.throws(() => tmpfsOptions(option), { kind: 'invalid', message: /^invalid tmpfs option "/ }, option);
  });

  it('takes the fields of --mount', () => {
    const text = tmpfsMountOptions({
      ReadOnly: true,
      TmpfsOptions: { SizeBytes: 4096, Mode: 0o1770, Options: [['exec'], ['uid', '5']] },
    });
    assert.equal(text, 'ro,mode=1770,size=4096,exec,uid=5');
    assert.equal(tmpfsOptions(text).join(), 'nosuid,nodev,rprivate,ro,mode=1770,size=4096,exec,uid=5');
  });
});
