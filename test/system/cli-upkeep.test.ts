import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { project, startBerth, type TestEngine } from '../lib/engines.ts';

describe('berth stats, update, volume and prune', () => {
  let engine: TestEngine;
  const berth = (...args: string[]) =>
    spawnSync(process.execPath, ['--', join(project, 'dist/cli-main.js'), ...args], {
      env: { PATH: process.env.PATH, BERTH_SOCKET: engine.socket },
      encoding: 'utf8',
      timeout: 30_000,
    });
  const says = (...args: string[]) => {
    const { status, stdout, stderr } = berth(...args);
    assert.equal(status, 0, stderr);
    return stdout;
  };

  before(async () => {
    engine = await startBerth();
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine[Symbol.asyncDispose]());

  test('stats shows how busy, of those that run or those that are named', () => {
    engine.must('run', '-d', '--name', 'busy', '-m', '64m', 'bb:1', 'sh', '-c', 'while :; do :; done');
    engine.must('create', '--name', 'idle', 'bb:1', 'true');
    const lines = says('stats').trim().split('\n');
    assert.match(lines[0]!, /^NAME +CPU +MEMORY +LIMIT +NET IN\/OUT +DISK IN\/OUT +PROCESSES +ID$/);
    assert.equal(lines.length, 2);
    assert.match(
      lines[1]!,
      /^busy +[1-9][\d.]*% +[\d.]+ [kM]B +67\.1 MB +[\d.]+ \w+ \/ [\d.]+ \w+ +[\d.]+ \w+ \/ [\d.]+ \w+ +1 +[0-9a-f]{12}$/,
    );
    assert.match(says('stats', 'idle'), /^idle +0\.0% +0 B +- /m);
    assert.equal((JSON.parse(says('stats', '--json', 'busy')) as { name: string }[])[0]!.name, '/busy');
    assert.match(berth('stats', 'nosuch').stderr, /No such container: nosuch/);
    engine.must('rm', '-f', 'busy', 'idle');
  });

  test('update changes limits, and refuses what is none', () => {
    engine.must('run', '-d', '--name', 'web', '-m', '64m', 'bb:1', 'sleep', '1000');
    const limits = ['-m', '70m', '--memory-swap', '-1', '--cpus', '0.5', '--pids-limit', '33'];
    assert.equal(says('update', ...limits, '--restart', 'on-failure:3', 'web'), 'web\n');
    const format =
      '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}';
    assert.equal(engine.must('inspect', '-f', format, 'web'), '73400320 -1 500000000 33 on-failure');
    for (const [args, message] of [
      [['web'], /nothing to change was named/],
      [['-m', 'lots', 'web'], /--memory lots: expected a size/],
      [['--pids-limit', 'x', 'web'], /--pids-limit x: expected a number/],
    ] as const) {
      const { status, stderr } = berth('update', ...args);
      assert.equal(status, 125);
      assert.match(stderr, message);
    }
    assert.match(berth('update', '--restart', 'bogus', 'web').stderr, /invalid restart policy: unknown policy 'bogus'/);
    engine.must('rm', '-f', 'web');
  });

  test('volume: create, ls, inspect, rm', () => {
    assert.equal(says('volume', 'create', 'data'), 'data\n');
    assert.equal(says('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-l', 'a=b', 'mem'), 'mem\n');
    const listed = says('volume');
    assert.match(listed, /^VOLUME +MADE +OF$/m);
    assert.match(listed, /^data +\d{4}-\d\d-\d\d +a folder of the engine$/m);
    assert.match(listed, /^mem +\d{4}-\d\d-\d\d +tmpfs$/m);
    assert.equal(says('volume', 'ls', '-q', '--filter', 'label=a=b'), 'mem\n');
    assert.equal(
      (JSON.parse(says('volume', 'inspect', 'mem')) as { Options: { type: string } }[])[0]!.Options.type,
      'tmpfs',
    );
    assert.match(berth('volume', 'create', '-o', 'bogus=1', 'x1').stderr, /create x1: invalid option: "bogus"/);
    const some = berth('volume', 'rm', 'nosuch', 'data', 'mem');
    assert.deepEqual([some.status, some.stdout], [1, 'data\nmem\n']);
    assert.match(some.stderr, /get nosuch: no such volume/);
    assert.equal(says('volume', 'rm', '-f', 'nosuch'), 'nosuch\n');
    assert.equal(berth('volume', 'rm').status, 125);
    assert.match(berth('volume', 'bogus').stderr, /no such volume command: bogus\n/);
  });

  test('prune shows what it will remove, asks, and removes that and nothing else', () => {
    engine.must(
      'run',
      '--name',
      'ended',
      '-v',
      '/data',
      'bb:1',
      'sh',
      '-c',
      'head -c 100000 /dev/zero >/data/x; echo x >/y',
    );
    engine.must('run', '-d', '--name', 'runs', '-v', '/data', 'bb:1', 'sleep', '1000');
    engine.must('network', 'create', 'idle');
    engine.must('volume', 'create', 'kept');
    const refused = berth('prune');
    assert.equal(refused.status, 125);
    assert.match(refused.stderr, /nobody to ask[^]*try: berth prune --dry-run, or berth prune -f/);
    const shown = says('prune', '--dry-run', '--volumes');
    assert.match(shown, /^container +ended +[\d.]+ k?B +bb:1, exit code 0, ended .* ago$/m);
    assert.match(shown, /^network +idle +- +bridge$/m);
    assert.match(shown, /^volume +[0-9a-f]{64} +1\d\d kB +made \d{4}-\d\d-\d\d$/m);
    assert.doesNotMatch(shown, /runs|kept/);
    assert.match(shown, /\n\n1\d\d kB in all\n$/);
    assert.equal(engine.must('ps', '-aq').split('\n').length, 2);
    assert.match(says('container', 'prune', '--dry-run', '--filter', 'label=nosuch'), /^nothing is to be removed\n$/);

    interface Plan {
      Containers: { Id: string }[];
      Volumes: { Name: string }[];
    }
    const plan = JSON.parse(says('prune', '--dry-run', '--json', '--volumes')) as Plan;
    assert.deepEqual([plan.Containers.length, plan.Volumes.length], [1, 1]);
    // Told no on a terminal.
    const cli = [process.execPath, '--', join(project, 'dist/cli-main.js'), 'prune']
      .map((word) => `'${word}'`)
      .join(' ');
    const asked = spawnSync('script', ['-qec', cli, '/dev/null'], {
      env: { PATH: process.env.PATH, BERTH_SOCKET: engine.socket, NO_COLOR: '1' },
      input: 'n\n',
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(asked.status, 1);
    assert.match(asked.stdout, /container +ended[^]*Remove all of this\? \[y\/N\][^]*nothing was removed/);
    assert.match(says('prune', '--yes'), /^WHAT[^]*removed container ended\nremoved network idle\nfreed [\d.]+ k?B\n$/);
    assert.equal(engine.must('volume', 'ls', '-q').split('\n').length, 3);
    const done = JSON.parse(says('volume', 'prune', '-f', '--json')) as { Volumes: string[]; SpaceReclaimed: number };
    assert.deepEqual([done.Volumes, done.SpaceReclaimed >= 100_000], [[plan.Volumes[0]!.Name], true]);
    assert.match(says('volume', 'prune', '-af'), /^volume +kept[^]*removed volume kept\n/m);
    assert.equal(engine.must('ps', '-a', '--format', '{{.Names}}'), 'runs');
    assert.equal(says('prune', '-f', '--volumes'), 'nothing is to be removed\n');
    engine.must('rm', '-fv', 'runs');
  });

  test('what came later, or is in use by now, stays, whatever was shown', async () => {
    engine.must('create', '--name', 'shown', 'bb:1', 'sleep', '1000');
    engine.must('create', '--name', 'busy', 'bb:1', 'sleep', '1000');
    engine.must('volume', 'create', 'again');
    engine.must('tag', 'bb:1', 'extra:1');
    const path = '/v1.51/berth/prune';
    const query = 'containers=1&networks=1&volumes=all&images=all';
    interface Planned {
      Containers: { Id: string; Name: string }[];
      Volumes: { Name: string }[];
      Images: { Names: string[]; Whole: boolean; Size: number }[];
    }
    const plan = JSON.parse((await engine.api('GET', `${path}?${query}`)).body) as Planned;
    assert.deepEqual(plan.Containers.map(({ Name }) => Name).sort(), ['busy', 'shown']);
    assert.deepEqual(
      plan.Images.map(({ Whole }) => Whole),
      [true],
    );
    assert.deepEqual(plan.Images[0]!.Names.sort(), ['bb:1', 'extra:1']);
    assert.equal(plan.Images[0]!.Size > 100_000, true);
    engine.must('start', 'busy');
    engine.must('create', '--name', 'later', 'bb:1', 'true');
    engine.must('volume', 'rm', 'again');
    engine.must('volume', 'create', 'again');
    engine.must('tag', 'bb:1', 'newer:1');
    const done = JSON.parse((await engine.api('POST', path, plan)).body) as Record<string, unknown>;
    assert.deepEqual(done['Containers'], [plan.Containers.find(({ Name }) => Name === 'shown')!.Id]);
    assert.deepEqual([done['Volumes'], done['Images'], done['Untagged']], [[], [], []]);
    assert.deepEqual(engine.must('ps', '-a', '--format', '{{.Names}}').split('\n').sort(), ['busy', 'later']);
    assert.equal(engine.must('volume', 'ls', '-q'), 'again');
    assert.equal((await engine.api('POST', path, { Containers: 'all' })).status, 400);
    assert.equal((await engine.api('GET', `${path}?filters=${encodeURIComponent('{"colour":["red"]}')}`)).status, 400);
    engine.must('rm', '-f', 'busy', 'later');
    engine.must('rmi', 'extra:1', 'newer:1');
    engine.must('volume', 'rm', 'again');
  });

  test('ps shows health', async () => {
    engine.must(
      'run',
      '-d',
      '--name',
      'well',
      '--health-cmd',
      'true',
      '--health-interval',
      '200ms',
      'bb:1',
      'sleep',
      '1000',
    );
    for (let round = 0; round < 100 && !/^well .*healthy/m.test(says('ps')); round++) await sleep(100);
    assert.match(says('ps'), /^well +up .*\bhealthy\b/m);
    engine.must('rm', '-f', 'well');
  });
});
