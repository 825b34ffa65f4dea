/** Project quotas of ext4 and XFS, and volumes of an NFS server: what needs modules of the kernel (test/vm/build.sh). */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from '../../src/base/errors.ts';
import { DiskLimits } from '../../src/quotas/disk-limits.ts';
import { ProjectQuotaCalls } from '../../src/sys/project-quota.ts';

const limit = { timeout: 900_000 };

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return spawnSync(command, args, { encoding: 'utf8', input: '', timeout: 600_000, env: { ...process.env, ...env } });
}

function must(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = run(command, args);
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout.trim();
}

/** The CLI that is here, at the place that tests look for a newer one. */
const cache = '/var/tmp/berth-test-cache';
before(() => {
  mkdirSync(`${cache}/newer-docker/root/usr/bin`, { recursive: true });
  writeFileSync(`${cache}/newer-docker/versions`, '');
  if (!existsSync(`${cache}/newer-docker/root/usr/bin/docker`))
    symlinkSync('/usr/local/bin/docker', `${cache}/newer-docker/root/usr/bin/docker`);
  // Bundles, where that was not done yet.
  must('./berth', 'engine', '--help');
});
after(() => rmSync(cache, { recursive: true, force: true }));

/** XFS forgets a project that has nothing, some time after. */
function limitOf(quotas: ProjectQuotaCalls, place: string, project: number): number {
  try {
    return quotas.use(place, project).limit;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0;
    throw error;
  }
}

test('a disk without project quotas has files with a file system', () => {
  assert.deepEqual(new DiskLimits().by('/var/lib'), { how: 'image' });
});

for (const [type, format, options] of [
  ['ext4', ['-q', '-O', 'project,quota', '-E', 'quotatype=prjquota'], 'loop,prjquota'],
  ['xfs', ['-q'], 'loop,pquota'],
] as const)
  test(`${type} with project quotas: containers and volumes have their size, and nothing is left`, limit, async () => {
    const disk = `/var/tmp/${type}.img`;
    const place = `/mnt/${type}`;
    mkdirSync(place, { recursive: true });
    must('truncate', '-s', '600M', disk);
    must(`mkfs.${type}`, ...format, disk);
    must('mount', '-o', options, disk, place);
    try {
      const limits = new DiskLimits();
      const quotas = new ProjectQuotaCalls();
      assert.deepEqual(limits.by(place), { how: 'project' });
      const home = mkdtempSync(join(place, 'home-'));
      await limits.limit(home, 5 << 20);
      assert.equal(limits.isLimited(home), true);
      const project = quotas.projectOf(home);
      assert.equal(quotas.use(place, project).limit, 5 << 20);
      const writing = [
        '--clear-groups',
        '--bounding-set',
        '-sys_resource',
        '--',
        'dd',
        'if=/dev/zero',
        'bs=1M',
        'count=9',
      ];
      const full = run('setpriv', [...writing, `of=${home}/big`]);
      assert.match(full.stderr, /No space left on device|Disk quota exceeded/);
      assert.equal(run('setpriv', [...writing, `of=${place}/big`]).status, 0);
      limits.release(home);
      rmSync(home, { recursive: true });
      rmSync(join(place, 'big'));
      assert.equal(limitOf(quotas, place, project), 0);

      if (type === 'xfs') return;
      // One engine is enough: what is not the kernel's is the same on both. And without the kills, which take their time here.
      const chosen = '--test-name-pattern=a container has|a volume has|nothing is left';
      const engine = run(process.execPath, ['--test', chosen, 'test/system/disk-limits.test.ts'], {
        TMPDIR: place,
        BERTH_TEST_CACHE: cache,
        NODE_TEST_CONTEXT: undefined,
      });
      assert.equal(engine.status, 0, engine.stdout);
      assert.doesNotMatch(must('losetup', '--list', '--noheadings', '--output', 'BACK-FILE'), /limited\.ext4/);
    } finally {
      run('umount', ['-R', place]);
      rmSync(disk, { force: true });
    }
  });

test('volumes of an NFS server, by address and by name, go with their last user', limit, async () => {
  const socket = 'unix:///run/berth/berth.sock';
  const docker = (...args: string[]) => must('docker', '-H', socket, ...args);
  mkdirSync('/srv/shared/empty', { recursive: true });
  writeFileSync('/srv/shared/there', 'on the server\n');
  writeFileSync('/etc/exports', '/srv/shared *(rw,no_root_squash,insecure,no_subtree_check,fsid=0)\n');
  writeFileSync('/etc/nfs.conf', '[nfsd]\nvers3=n\ngrace-time=10\nlease-time=10\n');
  must('systemctl', 'unmask', 'nfs-server', 'rpcbind.service', 'rpcbind.socket');
  must('systemctl', 'start', 'nfs-server');
  try {
    for (const [name, address] of [
      ['by-address', '127.0.0.1'],
      ['by-name', 'localhost'],
    ] as const) {
      docker('volume', 'create', '-o', 'type=nfs', '-o', `o=addr=${address},rw,nfsvers=4.2`, '-o', 'device=:/', name);
      const script = `cat /data/there; echo ${name} >/data/${name}; grep ' /data ' /proc/mounts`;
      assert.match(
        docker('run', '--rm', '-v', `${name}:/data`, 'bb:1', 'sh', '-c', script),
        /^on the server\n:\/ \/data nfs4? rw\S*vers=4\.2\S*addr=127\.0\.0\.1/,
      );
      assert.equal(readFileSync(`/srv/shared/${name}`, 'utf8'), `${name}\n`);
      // What the container held is released after the answer.
      for (let round = 0; round < 600 && / nfs4? /.test(readFileSync('/proc/mounts', 'utf8')); round++)
        await sleep(100);
      assert.doesNotMatch(readFileSync('/proc/mounts', 'utf8'), / nfs4? /);
      docker('volume', 'rm', name);
      assert.equal(existsSync('/srv/shared/there'), true);
    }
    docker('volume', 'create', '-o', 'type=nfs', '-o', 'o=addr=127.0.0.1,nfsvers=4.2', '-o', 'device=:/none', 'none');
    assert.match(
      run('docker', ['-H', socket, 'run', '--rm', '-v', 'none:/data', 'bb:1', 'true']).stderr,
      /failed to mount local volume: mount :\/none:\S+\/none\/_data, data: addr=127\.0\.0\.1,nfsvers=4\.2: no such file or directory/,
    );
    docker('volume', 'rm', 'none');
  } finally {
    run('systemctl', ['stop', 'nfs-server']);
    run('systemctl', ['mask', 'nfs-server', 'rpcbind.service', 'rpcbind.socket']);
  }
});
