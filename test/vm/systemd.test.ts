/** On a machine with systemd, cgroup v2 alone, AppArmor and no EROFS over files (test/vm/build.sh). */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';

process.env.DOCKER_HOST = 'unix:///run/berth/berth.sock';
const limit = { timeout: 600_000 };

function run(command: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(command, args, { encoding: 'utf8', input: '', timeout: 300_000 });
}

function must(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = run(command, ...args);
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout.trim();
}

const docker = (...args: string[]) => must('docker', ...args);

test('this is such a machine', () => {
  assert.equal(must('stat', '-fc', '%T', '/sys/fs/cgroup'), 'cgroup2fs');
  assert.equal(readFileSync('/sys/module/apparmor/parameters/enabled', 'utf8').trim(), 'Y');
  assert.ok(existsSync('/run/systemd/system'));
});

test('berth doctor finds nothing that fails but a runtime with known holes', limit, () => {
  const { stdout } = run('./berth', 'doctor', '--json');
  const { checks } = JSON.parse(stdout) as { checks: { name: string; state: string }[] };
  const failed = checks.filter(({ state }) => state === 'fail');
  assert.deepEqual(
    failed.filter(({ name }) => !name.startsWith('runtime.runc')),
    [],
  );
  assert.doesNotMatch(stdout, /could not be checked/);
});

test('the unit of `berth engine install` runs the engine, and systemd is told when it is ready', limit, () => {
  must('./berth', 'engine', 'install');
  const unit = readFileSync('/etc/systemd/system/berth.service', 'utf8');
  assert.doesNotMatch(unit, /\.build\//);
  must('systemctl', 'enable', '--now', 'berth');
  assert.equal(must('systemctl', 'is-active', 'berth'), 'active');
  assert.match(docker('info', '-f', '{{.CgroupVersion}} {{json .SecurityOptions}}'), /^2 .*name=apparmor/);
  docker('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
});

for (const runtime of ['crun', 'runc']) {
  test(`${runtime}: limits are in cgroup v2, and nothing of it stays`, limit, () => {
    const limits = ['-m', '64m', '--memory-swap', '96m', '--cpus', '0.5', '--pids-limit', '50', '--cpu-shares', '512'];
    const files = ['memory.max', 'memory.swap.max', 'cpu.max', 'pids.max', 'cpu.weight', 'cpuset.cpus'];
    const out = docker(
      ...['run', '--rm', '--runtime', runtime, ...limits, '--cpuset-cpus', '1', 'bb:1', 'sh', '-c'],
      `cd /sys/fs/cgroup; cat ${files.join(' ')}`,
    );
    assert.deepEqual(out.split('\n'), ['67108864', '33554432', '50000 100000', '50', '20', '1']);
  });

  test(`${runtime}: the default AppArmor profile is enforced, and another one can be named`, limit, () => {
    const label = (...args: string[]) =>
      docker('run', '--rm', '--runtime', runtime, ...args, 'bb:1', 'cat', '/proc/self/attr/current');
    assert.match(label(), /^berth-default \(enforce\)$/);
    assert.match(label('--security-opt', 'apparmor=unconfined'), /^unconfined$/);
    assert.match(label('--privileged'), /^unconfined$/);
    const denied = run(
      ...(['docker', 'run', '--rm', '--runtime', runtime, '--cap-add', 'SYS_ADMIN', 'bb:1'] as const),
      ...['mount', '-t', 'tmpfs', 'none', '/mnt'],
    );
    assert.notEqual(denied.status, 0);
    const missing = run('docker', 'run', '--rm', '--security-opt', 'apparmor=nosuch', 'bb:1', 'true');
    assert.notEqual(missing.status, 0);
  });

  test(`${runtime}: who runs out of memory is told so`, limit, () => {
    const id = docker(
      'run',
      '-d',
      '--runtime',
      runtime,
      '-m',
      '20m',
      '--memory-swap',
      '20m',
      'bb:1',
      'tail',
      '/dev/zero',
    );
    assert.equal(docker('wait', id), '137');
    assert.equal(docker('inspect', '-f', '{{.State.OOMKilled}}', id), 'true');
    docker('rm', id);
  });

  test(`${runtime}: what it uses is read from cgroup v2, and its limits can be changed there`, limit, () => {
    const id = docker(
      'run',
      '-d',
      '--runtime',
      runtime,
      '-m',
      '64m',
      'bb:1',
      'sh',
      '-c',
      'head -c 20m /dev/zero | tail >/x; sleep 1000',
    );
    const stats = docker('stats', '--no-stream', '--format', '{{.MemUsage}} {{.PIDs}} {{.CPUPerc}}', id);
    assert.match(stats, /^[\d.]+(KiB|MiB) \/ 64MiB [1-3] [\d.]+%$/);
    docker('update', '--memory', '128m', '--memory-swap', '128m', '--cpus', '0.25', '--pids-limit', '40', id);
    const read = (file: string) => readFileSync(`/sys/fs/cgroup/berth/${id}/${file}`, 'utf8').trim();
    assert.deepEqual(['memory.max', 'cpu.max', 'pids.max'].map(read), ['134217728', '25000 100000', '40']);
    docker('rm', '-f', id);
  });

  test(`${runtime}: exec, pause, top, restart`, limit, () => {
    const id = docker('run', '-d', '--init', '--runtime', runtime, 'bb:1', 'sleep', '1000');
    assert.equal(docker('exec', id, 'echo', 'hello'), 'hello');
    docker('pause', id);
    assert.equal(docker('inspect', '-f', '{{.State.Status}}', id), 'paused');
    docker('unpause', id);
    assert.match(docker('top', id), /sleep 1000/);
    docker('restart', '-t', '2', id);
    docker('rm', '-f', id);
    assert.equal(existsSync(`/sys/fs/cgroup/berth/${id}`), false);
  });
}

test('unpacked directories: cp, diff, commit and export', limit, () => {
  assert.match(docker('info', '-f', '{{json .DriverStatus}}'), /unpacked directories/);
  docker('run', '--name', 'files', 'bb:1', 'sh', '-c', 'echo one >/new; rm /etc/group; mkdir /dir; echo two >/dir/in');
  assert.deepEqual(docker('diff', 'files').split('\n').toSorted(), [
    'A /dir',
    'A /dir/in',
    'A /new',
    'C /etc',
    'D /etc/group',
  ]);
  docker('cp', 'files:/dir', '/tmp/copied');
  assert.equal(readFileSync('/tmp/copied/in', 'utf8'), 'two\n');
  docker('cp', '/tmp/copied/in', 'files:/back');
  docker('commit', 'files', 'made:1');
  assert.equal(
    docker('run', '--rm', 'made:1', 'sh', '-c', 'cat /new /back; ls /etc/group 2>/dev/null || echo gone'),
    'one\ntwo\ngone',
  );
  docker('rm', 'files');
  docker('rmi', 'made:1');
});

test('networks of one’s own have names, and a health check is run', limit, async () => {
  docker('network', 'create', 'lan');
  const healthy = ['--health-cmd', 'true', '--health-interval', '1s'];
  docker('run', '-d', '--name', 'server', '--network', 'lan', ...healthy, 'bb:1', 'sleep', '100000');
  assert.match(docker('run', '--rm', '--network', 'lan', 'bb:1', 'ping', '-c', '1', 'server'), / 0% packet loss/);
  const health = () => docker('inspect', '-f', '{{.State.Health.Status}}', 'server');
  for (let n = 0; n < 100 && health() !== 'healthy'; n++) await sleep(300);
  assert.equal(health(), 'healthy');
  docker('rm', '-f', 'server');
  docker('network', 'rm', 'lan');
});

test('a page is served while systemd stops and starts the engine', limit, async () => {
  must('./berth', 'quickstart');
  const page = () => fetch('http://localhost:8080').then((answer) => answer.status);
  assert.equal(await page(), 200);
  const pid = docker('inspect', '-f', '{{.State.Pid}}', 'welcome');
  must('systemctl', 'stop', 'berth');
  assert.equal(await page(), 200);
  must('systemctl', 'restart', 'berth');
  execFileSync('systemctl', ['kill', '-s', 'KILL', '--kill-who=main', 'berth']);
  assert.equal(await page(), 200);
  for (let n = 0; n < 200 && run('docker', 'version').status !== 0; n++) await sleep(300);
  assert.equal(docker('inspect', '-f', '{{.State.Status}} {{.State.Pid}}', 'welcome'), `running ${pid}`);
  docker('rm', '-f', 'welcome');
});

test('Berth takes the place of a Docker that runs, and gives it back', limit, () => {
  const state = (verb: string, ...units: string[]) =>
    run('systemctl', verb, ...units)
      .stdout.trim()
      .split('\n');
  const docks = ['docker.service', 'docker.socket'];
  run('systemctl', 'unmask', ...docks, 'containerd.service');
  must('systemctl', 'enable', '--now', ...docks);
  const refused = run('./berth', 'engine', 'install', '--as-docker');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /Docker's place is taken: Docker runs here/);

  must('./berth', 'engine', 'install', '--as-docker', '--replace');
  assert.deepEqual(state('is-active', ...docks), ['inactive', 'inactive']);
  assert.deepEqual(state('is-enabled', ...docks), ['disabled', 'disabled']);
  assert.equal(must('stat', '-c', '%a %G', '/run/docker.sock'), '660 docker');
  const usual = { ...process.env, DOCKER_HOST: 'unix:///var/run/docker.sock' };
  const id = () =>
    execFileSync('docker', ['info', '-f', '{{.ID}}'], { encoding: 'utf8', env: usual, timeout: 300_000 });
  assert.equal(id().trim(), docker('info', '-f', '{{.ID}}'));
  // A client that comes while the engine is away waits for it.
  execFileSync('systemctl', ['kill', '-s', 'KILL', '--kill-who=main', 'berth']);
  assert.equal(id().trim(), docker('info', '-f', '{{.ID}}'));
  must('systemctl', 'reload', 'berth');

  must('./berth', 'engine', 'uninstall');
  assert.deepEqual(state('is-active', ...docks), ['active', 'active']);
  assert.deepEqual(state('is-enabled', ...docks), ['enabled', 'enabled']);
  run('systemctl', 'disable', '--now', ...docks, 'containerd.service');
  run('systemctl', 'mask', ...docks, 'containerd.service');
  must('./berth', 'engine', 'install');
  must('systemctl', 'enable', '--now', 'berth');
});

test('what the next boot will look at is left running', limit, () => {
  const script = 'trap "echo bye >/data/told; exit 3" TERM; while :; do sleep 0.2; done';
  for (const policy of ['no', 'always', 'unless-stopped', 'on-failure'])
    docker(
      ...['run', '-d', '--name', policy, '--restart', policy, '-v', `${policy}:/data`, 'bb:1', 'sh', '-c', script],
    );
  docker('volume', 'create', '-o', 'size=10m', 'sized');
  const write = 'echo kept | tee /kept /data/kept';
  docker('run', '--name', 'limited', '--storage-opt', 'size=20m', '-v', 'sized:/data', 'bb:1', 'sh', '-c', write);
  docker('run', '-d', '--name', 'deaf', '--stop-timeout', '2', 'bb:1', 'sleep', '100000');
  docker('run', '-d', '--name', 'was-stopped', '--restart', 'unless-stopped', 'bb:1', 'sleep', '100000');
  docker('stop', '-t', '1', 'was-stopped');
});
