/** The whole engine, as it is bundled, killed and started again under what runs. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { dockerCli, startBerth, type TestEngine } from '../lib/engines.ts';
import { assertNoLeaks, knownTo, nothing, processesOf } from '../lib/leaks.ts';

/** An idle engine starts in a fifth of it; the machine may be busy. */
const startWithinMs = 10_000;

async function berth(): Promise<TestEngine> {
  const engine = await startBerth();
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  return engine;
}

/** kill -9 and start, and how long the start took. */
async function crash(engine: TestEngine, meanwhile: () => void | Promise<void> = () => {}): Promise<number> {
  await engine.kill();
  await meanwhile();
  const from = performance.now();
  await engine.restart();
  const took = performance.now() - from;
  assert.ok(took < startWithinMs, `the start took ${Math.round(took)} ms`);
  return took;
}

const noLeaks = (engine: TestEngine, { execs = 0 } = {}) =>
  assertNoLeaks(engine, async () => ({ ...(await knownTo(engine)), execs }));

function client(
  engine: TestEngine,
  ...args: string[]
): { child: ChildProcess; out: Promise<string>; code: Promise<number | null> } {
  const child = spawn(dockerCli(), args, { env: engine.env, stdio: ['pipe', 'pipe', 'pipe'] });
  const code = once(child, 'exit').then(([status]) => status as number | null);
  return { child, out: text(child.stdout!), code };
}

/** What a published port says, asked in the engine's network namespace. */
function fetchPort({ netns }: TestEngine, port: number): string {
  return spawnSync(
    'nsenter',
    [`--net=/run/netns/${netns}`, '/usr/bin/busybox', 'nc', '-w', '5', '127.0.0.1', String(port)],
    { encoding: 'utf8', input: '', timeout: 10_000 },
  ).stdout;
}

async function eventually(check: () => boolean | Promise<boolean>, what: string, within = 10_000): Promise<void> {
  for (const until = Date.now() + within; !(await check()); await sleep(50))
    if (Date.now() > until) assert.fail(`${what}: not within ${within} ms`);
}

function noBugs(engine: TestEngine): void {
  assert.deepEqual(
    engine
      .log()
      .split('\n')
      .filter((line) => line.includes('bug:')),
    [],
  );
}

describe('an engine that is killed', () => {
  test('R01 containers, ports, logs and sessions go on, and are taken up by the next engine, again and again', {
    timeout: 120_000,
  }, async () => {
    await using engine = await berth();
    engine.must(
      ...['run', '-d', '--name', 'web', '-p', '18080:80', 'bb:1'],
      ...['nc', '-ll', '-p', '80', '-e', 'echo', 'here'],
    );
    engine.must(
      ...['run', '-d', '--name', 'lines', 'bb:1', 'sh', '-c'],
      'i=0; while [ ! -e /end ]; do i=$((i+1)); echo $i; [ $((i % 50)) = 0 ] && sleep 0.02; done; echo end $i',
    );
    engine.must('run', '-di', '--name', 'session', 'bb:1', 'cat');
    engine.must('exec', '-d', 'session', 'sh', '-c', 'while :; do date +%s >> /tmp/beat; sleep 0.1; done');
    for (let round = 0; round < 3; round++) {
      engine.must('run', '-d', '--name', 'normal', 'bb:1', 'sh', '-c', 'sleep 0.5; exit 7');
      engine.must('run', '-d', '--name', 'signal', 'bb:1', 'sleep', '1000');
      const doomed = Number(engine.must('inspect', '-f', '{{.State.Pid}}', 'signal'));
      const removed = engine.must('run', '-d', '--rm', 'bb:1', 'sleep', '0.5');
      engine.must(
        'run',
        '-d',
        '--name',
        'after',
        'bb:1',
        'sh',
        '-c',
        'while [ ! -e /go ]; do sleep 0.05; done; exit 5',
      );
      const follower = client(engine, 'logs', '-f', 'lines');
      const pids = engine.must('inspect', '-f', '{{.State.Pid}}', 'web', 'lines', 'session', 'after');
      await crash(engine, async () => {
        assert.equal(fetchPort(engine, 18080), 'here\n');
        process.kill(doomed, 'SIGKILL');
        await sleep(1000);
      });
      await follower.code;
      assert.equal(engine.must('inspect', '-f', '{{.State.Pid}}', 'web', 'lines', 'session', 'after'), pids);
      assert.deepEqual(engine.must('ps', '--format', '{{.Names}}').split('\n').sort(), [
        'after',
        'lines',
        'session',
        'web',
      ]);
      assert.equal(engine.must('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'normal'), 'exited 7');
      assert.equal(engine.must('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'signal'), 'exited 137');
      assert.equal(engine.must('wait', 'normal'), '7');
      assert.notEqual(engine.docker(['inspect', removed]).status, 0);
      assert.equal(fetchPort(engine, 18080), 'here\n');
      // What is asked of an adopted container works as of any other.
      const waiting = client(engine, 'wait', 'after');
      await sleep(300);
      engine.must('exec', 'after', 'touch', '/go');
      assert.equal((await waiting.out).trim(), '5');
      const attached = client(engine, 'attach', 'session');
      attached.child.stdin!.write(`round ${round}\n`);
      let echoed = '';
      attached.child.stdout!.on('data', (chunk: Buffer) => {
        echoed += chunk.toString();
      });
      await eventually(() => echoed.includes(`round ${round}`), 'the attached session answers');
      attached.child.kill('SIGKILL');
      await attached.code;
      const beats = () => engine.must('exec', 'session', 'wc', '-l', '/tmp/beat');
      const before = beats();
      await sleep(400);
      assert.notEqual(beats(), before, 'the exec session goes on');
      engine.must('rm', 'normal', 'signal', 'after');
      await noLeaks(engine, { execs: 1 });
    }
    engine.must('exec', 'lines', 'touch', '/end');
    engine.must('wait', 'lines');
    const lines = engine.must('logs', 'lines').split('\n');
    const last = Number(lines.pop()!.replace('end ', ''));
    assert.ok(last > 500, `only ${last} lines`);
    assert.deepEqual(
      lines.filter((line, at) => line !== String(at + 1)),
      [],
      'no line is lost or double',
    );
    assert.equal(lines.length, last);
    assert.equal(engine.must('stop', '-t', '1', 'web', 'session').split('\n').length, 2);
    assert.equal(fetchPort(engine, 18080), '');
    engine.must('start', 'web');
    assert.equal(fetchPort(engine, 18080), 'here\n');
    engine.must('rm', '-f', 'web', 'session', 'lines');
    await noLeaks(engine);
    noBugs(engine);
  });

  test('R02 a monitor that is killed: its container is ended and told, and can be started again', {
    timeout: 60_000,
  }, async () => {
    await using engine = await berth();
    const monitorOf = (id: string) =>
      processesOf(engine.dir).find(
        ({ words }) => words.includes(`id=${id}`) && !words.some((word) => word.startsWith('session=')),
      )!;
    for (const down of [false, true]) {
      const id = engine.must('run', '-d', '--name', 'cc', '-p', '18081:80', 'bb:1', 'sleep', '1000');
      const pid = engine.must('inspect', '-f', '{{.State.Pid}}', 'cc');
      const waiting = client(engine, 'wait', 'cc');
      await sleep(200);
      const { pid: monitor } = monitorOf(id);
      if (down) {
        await crash(engine, () => void process.kill(monitor, 'SIGKILL'));
      } else {
        process.kill(monitor, 'SIGKILL');
        assert.equal((await waiting.out).trim(), '255');
      }
      await waiting.code;
      assert.equal(engine.must('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'cc'), 'exited 255');
      await eventually(() => !readdirSync('/proc').includes(pid), 'what nobody watches is ended');
      await noLeaks(engine);
      engine.must('start', 'cc');
      assert.equal(engine.must('exec', 'cc', 'echo', 'works'), 'works');
      engine.must('rm', '-f', 'cc');
    }
    await noLeaks(engine);
    noBugs(engine);
  });

  test('R02 a network helper that is killed is started again and holds the ports', { timeout: 60_000 }, async () => {
    await using engine = await berth();
    const helper = () =>
      processesOf(engine.dir).find(({ words }) => words.some((word) => word.endsWith('networks-helper.js')));
    engine.must('run', '-d', '--name', 'cc', '-p', '18082:80', 'bb:1', 'nc', '-ll', '-p', '80', '-e', 'echo', 'here');
    for (const down of [false, true]) {
      const first = helper()!;
      if (down) await crash(engine, () => void process.kill(first.pid, 'SIGKILL'));
      else process.kill(first.pid, 'SIGKILL');
      await eventually(() => helper() !== undefined && helper()!.pid !== first.pid, 'another helper');
      assert.equal(fetchPort(engine, 18082), 'here\n');
      await eventually(
        () =>
          engine.docker(['run', '--rm', '-p', '18082:80', 'bb:1', 'true']).stderr.includes('port is already allocated'),
        'the port is held',
      );
    }
    engine.must('rm', '-f', 'cc');
    engine.must('run', '--rm', '-p', '18082:80', 'bb:1', 'true');
    await noLeaks(engine);
    noBugs(engine);
  });

  test('R02 a runtime that hangs in a start does not hold up the next engine', { timeout: 60_000 }, async () => {
    const runtimes = mkdtempSync(join(tmpdir(), 'berth-hung-'));
    const hung = join(runtimes, 'hung');
    writeFileSync(hung, '#!/bin/sh\ncase " $* " in *" run "*) exec sleep 1000;; esac\nexec crun "$@"\n', {
      mode: 0o755,
    });
    await using _ = { [Symbol.asyncDispose]: () => rm(runtimes, { recursive: true }) };
    await using engine = await startBerth({ flags: ['--runtimes', `hung=${hung}`, '--drain-timeout', '2'] });
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
    const id = engine.must('create', '--name', 'cc', '--runtime', 'hung', 'bb:1', 'true');
    const start = client(engine, 'start', 'cc');
    await eventually(() => processesOf(engine.dir).some(({ words }) => words.includes('run')), 'the runtime hangs');
    await crash(engine);
    assert.notEqual(await start.code, 0);
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}}', 'cc'), 'created');
    await noLeaks(engine);
    const again = client(engine, 'start', 'cc');
    await eventually(() => processesOf(engine.dir).some(({ words }) => words.includes('run')), 'the runtime hangs');
    assert.equal(await engine.stop(), 0);
    await again.code;
    await assertNoLeaks(engine, { ...nothing, containers: [id] }, { within: 1000 });
    await engine.restart();
    engine.must('rm', 'cc');
    assert.equal(engine.must('run', '--rm', 'bb:1', 'echo', 'fine'), 'fine');
  });

  test('R19 after a reboot nothing runs, nothing is stale, and restart policies hold', {
    timeout: 60_000,
  }, async () => {
    await using engine = await berth();
    const policies = ['no', 'always', 'unless-stopped', 'on-failure'];
    for (const policy of policies)
      engine.must('run', '-d', '--name', policy, '--restart', policy, 'bb:1', 'sleep', '1000');
    for (const policy of ['always', 'unless-stopped'])
      engine.must('run', '-d', '--name', `${policy}-stopped`, '--restart', policy, 'bb:1', 'sleep', '1000');
    engine.must('stop', '-t', '0', 'always-stopped', 'unless-stopped-stopped');
    engine.must('run', '-d', '--rm', '--name', 'gone', 'bb:1', 'sleep', '1000');
    engine.must(
      'run',
      '-d',
      '--name',
      'web',
      '--restart',
      'always',
      '-p',
      '18083:80',
      'bb:1',
      'nc',
      '-ll',
      '-p',
      '80',
      '-e',
      'echo',
      'here',
    );
    // What is told of a start may be written a moment later.
    await sleep(200);
    await engine.kill();
    reboot(engine);
    const from = performance.now();
    await engine.restart();
    assert.ok(performance.now() - from < startWithinMs);
    const running = () => engine.must('ps', '--format', '{{.Names}}').split('\n').sort().join(' ');
    const wanted = ['always', 'always-stopped', 'on-failure', 'unless-stopped', 'web'].join(' ');
    await eventually(() => running() === wanted, `running is ${wanted}`).catch(() => assert.equal(running(), wanted));
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'no'), 'exited 255');
    assert.notEqual(engine.docker(['inspect', 'gone']).status, 0);
    await eventually(() => fetchPort(engine, 18083) === 'here\n', 'the port is there again');
    engine.must('start', 'no');
    await noLeaks(engine);
    noBugs(engine);
  });
});

/** Everything that a reboot ends and forgets. */
function reboot({ dir, netns, cgroupParent }: TestEngine): void {
  const ids = new Set<number>(processesOf(dir).map(({ pid }) => pid));
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    const parent = join('/sys/fs/cgroup', controller, cgroupParent);
    for (const path of spawnSync('find', [parent, '-name', 'cgroup.procs'], { encoding: 'utf8' }).stdout.split('\n'))
      if (path) for (const pid of readFileSync(path, 'utf8').split('\n').filter(Boolean)) ids.add(Number(pid));
  }
  for (const pid of ids) spawnSync('kill', ['-9', String(pid)]);
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n').reverse()) {
    const target = line.split(' ')[1];
    if (target?.startsWith(`${dir}/`)) spawnSync('umount', ['-l', target]);
  }
  rmSync(join(dir, 'run'), { recursive: true, force: true });
  spawnSync('sleep', ['0.3']);
  for (const controller of readdirSync('/sys/fs/cgroup'))
    spawnSync('find', [
      join('/sys/fs/cgroup', controller, cgroupParent),
      '-depth',
      '-type',
      'd',
      '-exec',
      'rmdir',
      '{}',
      ';',
    ]);
  spawnSync('ip', ['-n', netns, 'link', 'del', 'berth0']);
  spawnSync('nsenter', [`--net=/run/netns/${netns}`, 'nft', 'flush', 'ruleset']);
}

describe('an engine that is told to end', () => {
  test('R26 ends in time under clients that hold on, and touches no container', { timeout: 60_000 }, async () => {
    await using engine = await berth();
    engine.must('run', '-di', '--name', 'cc', 'bb:1', 'sh', '-c', 'while :; do echo x; sleep 0.1; done');
    const pid = engine.must('inspect', '-f', '{{.State.Pid}}', 'cc');
    const clients = [
      client(engine, 'attach', 'cc'),
      client(engine, 'logs', '-f', 'cc'),
      client(engine, 'events'),
      client(engine, 'wait', 'cc'),
      client(engine, 'exec', '-i', 'cc', 'cat'),
      client(engine, 'stop', '-t', '-1', 'cc'),
    ];
    // A load whose archive never ends.
    const load = connect(engine.socket);
    load.on('error', () => {});
    load.write(
      'POST /v1.47/images/load HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: 1000000\r\n\r\n',
    );
    await sleep(1000);
    const from = performance.now();
    assert.equal(await engine.stop(), 0);
    const took = performance.now() - from;
    assert.ok(took < 10_000, `it took ${Math.round(took)} ms`);
    for (const { code, child } of clients) {
      const late = setTimeout(() => child.kill('SIGKILL'), 5000);
      assert.notEqual(await code, null, `told: ${child.spawnargs.join(' ')}`);
      clearTimeout(late);
    }
    load.destroy();
    assert.ok(readdirSync('/proc').includes(pid), 'the container goes on');
    await engine.restart();
    assert.equal(engine.must('inspect', '-f', '{{.State.Pid}} {{.State.Status}}', 'cc'), `${pid} running`);
    engine.must('rm', '-f', 'cc');
    await noLeaks(engine);
    noBugs(engine);
  });

  test('without containers leaves no mount, rule, bridge, helper, cgroup', { timeout: 60_000 }, async () => {
    await using engine = await berth();
    engine.must('run', '--rm', '-p', '18084:80', 'bb:1', 'true');
    assert.equal(await engine.stop(), 0);
    await assertNoLeaks(engine, nothing, { within: 1000 });
    await engine.restart();
  });
});

test('R18 a second engine on the same root is refused and says who has it', { timeout: 60_000 }, async () => {
  await using engine = await berth();
  const { pid, dir } = engine;
  const [program, ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
  const second = spawnSync(program!, args, { encoding: 'utf8', timeout: 20_000 });
  assert.notEqual(second.status, 0);
  assert.match(second.stderr, new RegExp(`another engine \\(pid ${pid}, .*\\) is using ${join(dir, 'root')}`));
  assert.equal(engine.must('run', '--rm', 'bb:1', 'echo', 'fine'), 'fine');
  // A lock file without its engine is no lock.
  await crash(engine);
  assert.equal(engine.must('run', '--rm', 'bb:1', 'echo', 'fine'), 'fine');
});
