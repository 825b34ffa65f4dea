import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Cgroups, parseCgroupMounts } from './cgroups.ts';

const place = mkdtempSync(join(tmpdir(), 'berth-cgroups-'));
after(() => rmSync(place, { recursive: true, force: true }));

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;
const unified = (point: string) => `41 31 0:38 / ${point} rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n`;

test('the hierarchies are read from mountinfo', () => {
  const { v1, v2 } = parseCgroupMounts(hybrid);
  assert.deepEqual(
    [...v1],
    [
      ['cpu', '/sys/fs/cgroup/cpu,cpuacct'],
      ['cpuacct', '/sys/fs/cgroup/cpu,cpuacct'],
      ['memory', '/sys/fs/cgroup/memory'],
      ['name=systemd', '/sys/fs/cgroup/systemd'],
    ],
  );
  assert.equal(v2, '/sys/fs/cgroup/unified');
  const cgroups = new Cgroups({ mountinfo: hybrid });
  assert.equal(cgroups.version, 1);
  assert.equal(cgroups.oomFile('/docker/a'), '/sys/fs/cgroup/memory/docker/a/memory.oom_control');
  assert.deepEqual(cgroups.directories('/docker/a').length, 4);
});

test('version 2 alone has one directory, and memory.events', () => {
  const cgroups = new Cgroups({ mountinfo: unified('/sys/fs/cgroup') });
  assert.equal(cgroups.version, 2);
  assert.equal(cgroups.oomFile('/docker/a'), '/sys/fs/cgroup/docker/a/memory.events');
  assert.deepEqual(cgroups.directories('/docker/a'), ['/sys/fs/cgroup/docker/a']);
});

test('version 2: pids come from the group and those below it; freezing writes cgroup.freeze and waits for the event', async () => {
  const group = join(place, 'v2/a');
  mkdirSync(join(group, 'child'), { recursive: true });
  writeFileSync(join(group, 'cgroup.procs'), '12\n13\n');
  writeFileSync(join(group, 'child/cgroup.procs'), '14\n');
  writeFileSync(join(group, 'cgroup.freeze'), '0');
  writeFileSync(join(group, 'cgroup.events'), 'populated 1\nfrozen 0\n');
  const cgroups = new Cgroups({ mountinfo: unified(join(place, 'v2')) });
  assert.deepEqual((await cgroups.pids('/a')).toSorted(), [12, 13, 14]);
  const freezing = cgroups.freeze('/a', true);
  setTimeout(() => writeFileSync(join(group, 'cgroup.events'), 'populated 1\nfrozen 1\n'), 10);
  await freezing;
  assert.equal(readFileSync(join(group, 'cgroup.freeze'), 'utf8'), '1');
  assert.deepEqual(await cgroups.pids('/gone'), []);
  await assert.rejects(cgroups.freeze('/gone', true), { kind: 'conflict' });
});

test('a group is removed with the groups below it; one that is gone is no error; a root never is', async () => {
  mkdirSync(join(place, 'r/b/c/d'), { recursive: true });
  const cgroups = new Cgroups({ mountinfo: unified(join(place, 'r')) });
  await cgroups.remove('/b');
  assert.equal(existsSync(join(place, 'r/b')), false);
  await cgroups.remove('/b');
  for (const path of ['/', '', '/a/../..']) await assert.rejects(cgroups.remove(path), { kind: 'invalid' });
});
