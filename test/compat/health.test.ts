import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

async function until(what: () => boolean, message: string): Promise<void> {
  for (let round = 0; round < 200 && !what(); round++) await sleep(100);
  assert.ok(what(), message);
}

interface Health {
  readonly Status: string;
  readonly FailingStreak: number;
  readonly Log: readonly { Start: string; End: string; ExitCode: number; Output: string }[];
}

const healthOf = (engine: TestEngine, name: string) =>
  JSON.parse(engine.must('inspect', '-f', '{{json .State.Health}}', name)) as Health;
const statusIs = (engine: TestEngine, name: string, status: string) =>
  until(() => healthOf(engine, name).Status === status, `${name} is ${status}`);
const shown = (engine: TestEngine, ...args: string[]) => engine.must('ps', '-a', ...args, '--format', '{{.Names}}');

const checkedImage = { name: 'checked:1', config: { Healthcheck: { Test: ['CMD', 'test', '-e', '/tmp/well'] } } };

onBothEngines(
  'health checks',
  { runtimes: ['crun', 'runc'], images: [{ name: 'bb:1' }, checkedImage] },
  ({ same, berthOnly }) => {
    same('starting, healthy, unhealthy and back: inspect, ps, filters and events', async (engine) => {
      const since = (Date.now() / 1000 - 0.01).toFixed(3);
      const flags = ['--health-interval', '300ms', '--health-retries', '2', '--health-start-period', '0s'];
      engine.must('run', '-d', '--name', 'web', ...flags, 'checked:1', 'sleep', '1000');
      const first = healthOf(engine, 'web');
      assert.deepEqual([first.Status, first.Log], ['starting', []]);
      assert.match(engine.must('ps', '--format', '{{.Status}}'), /^Up .* \(health: starting\)$/);
      engine.must('exec', 'web', 'touch', '/tmp/well');
      await statusIs(engine, 'web', 'healthy');
      assert.match(engine.must('ps', '--format', '{{.Status}}'), /^Up .* \(healthy\)$/);
      assert.equal(shown(engine, '-f', 'health=healthy'), 'web');
      assert.equal(shown(engine, '-f', 'health=none'), '');
      engine.must('exec', 'web', 'rm', '/tmp/well');
      await statusIs(engine, 'web', 'unhealthy');
      const bad = healthOf(engine, 'web');
      assert.ok(bad.FailingStreak >= 2);
      assert.deepEqual([bad.Log.at(-1)!.ExitCode, bad.Log.at(-1)!.Output], [1, '']);
      assert.match(bad.Log[0]!.Start, /^\d{4}-\d\d-\d\dT[\d:]+\.\d+Z$/);
      assert.equal(shown(engine, '-f', 'health=unhealthy'), 'web');
      await until(() => healthOf(engine, 'web').Log.length === 5, 'five results');
      engine.must('rm', '-f', 'web');
      const events = (filter: string) =>
        engine
          .must(
            'events',
            '--since',
            since,
            '--until',
            (Date.now() / 1000 + 0.2).toFixed(3),
            '-f',
            filter,
            '--format',
            '{{.Action}}',
          )
          .split('\n');
      assert.deepEqual(events('event=health_status'), ['health_status: healthy', 'health_status: unhealthy']);
      const execs = events('event=exec_create').filter((action) => action.includes('test -e'));
      assert.ok(execs.length >= 3);
      assert.equal(execs[0], 'exec_create: test -e /tmp/well');
      assert.ok(events('event=exec_die').length >= 3);
    });

    same('a shell command, its output, cut; and what a probe that hangs or is not there says', async (engine) => {
      const run = (name: string, command: string, ...more: string[]) =>
        engine.must(
          'run',
          '-d',
          '--name',
          name,
          '--health-cmd',
          command,
          '--health-interval',
          '200ms',
          ...more,
          'bb:1',
          'sleep',
          '1000',
        );
      run('says', 'echo out; echo err >&2; exit 3', '--health-retries', '1');
      run('long', 'head -c 5000 /dev/zero | tr "\\0" x');
      run('hangs', 'echo before; sleep 1000', '--health-timeout', '500ms', '--health-retries', '2');
      engine.must('create', '--name', 'nosuch', '--health-cmd', 'x', 'bb:1');
      await statusIs(engine, 'says', 'unhealthy');
      await statusIs(engine, 'long', 'healthy');
      await statusIs(engine, 'hangs', 'unhealthy');
      const [says, long, hangs] = ['says', 'long', 'hangs'].map((name) => healthOf(engine, name).Log[0]!);
      assert.equal(says!.ExitCode, 3);
      assert.deepEqual(says!.Output.trim().split('\n').sort(), ['err', 'out']);
      assert.equal(long!.Output, `${'x'.repeat(4096)}...`);
      assert.deepEqual([hangs!.ExitCode, hangs!.Output], [-1, 'Health check exceeded timeout (500ms): before\n']);
      await until(
        () => !/sleep 1000.*sleep 1000.*sleep 1000/s.test(engine.must('top', 'hangs', '-o', 'pid,args')),
        'probes that took too long are killed',
      );
      const { body } = await engine.api('POST', '/containers/create?name=missing', {
        Image: 'bb:1',
        Cmd: ['sleep', '1000'],
        Healthcheck: { Test: ['CMD', '/nosuch'], Interval: 200_000_000, Retries: 1 },
      });
      assert.match(body, /"Id"/);
      engine.must('start', 'missing');
      await statusIs(engine, 'missing', 'unhealthy');
      const missing = healthOf(engine, 'missing').Log[0]!;
      assert.equal(missing.ExitCode, -1);
      assert.match(missing.Output, /^OCI runtime exec failed: .*\/nosuch.*no such file or directory/);
    });

    same('a start period forgives, and the start interval hurries', async (engine) => {
      const common = ['--health-interval', '100s', '--health-start-period', '100s', '--health-start-interval', '200ms'];
      engine.must('run', '-d', '--name', 'slow', ...common, '--health-retries', '1', 'checked:1', 'sleep', '1000');
      await until(() => healthOf(engine, 'slow').Log.length >= 3, 'three probes');
      assert.deepEqual([healthOf(engine, 'slow').Status, healthOf(engine, 'slow').FailingStreak], ['starting', 0]);
      engine.must('exec', 'slow', 'touch', '/tmp/well');
      await statusIs(engine, 'slow', 'healthy');
      const seen = healthOf(engine, 'slow').Log.at(-1)!.Start;
      await sleep(700);
      assert.equal(healthOf(engine, 'slow').Log.at(-1)!.Start, seen, 'healthy: the long interval');
    });

    same('pause, stop, restart; and no health check at all', async (engine) => {
      const common = ['--health-cmd', 'true', '--health-interval', '200ms'];
      engine.must('run', '-d', '--name', 'paus', ...common, 'bb:1', 'sleep', '1000');
      await statusIs(engine, 'paus', 'healthy');
      engine.must('pause', 'paus');
      assert.equal(healthOf(engine, 'paus').Status, 'unhealthy');
      assert.match(engine.must('ps', '--format', '{{.Status}}'), /\(Paused\)$/);
      const paused = healthOf(engine, 'paus').Log;
      await sleep(600);
      assert.deepEqual(healthOf(engine, 'paus').Log, paused);
      engine.must('unpause', 'paus');
      await statusIs(engine, 'paus', 'healthy');
      engine.must('stop', '-t', '0', 'paus');
      const stopped = healthOf(engine, 'paus');
      assert.deepEqual([stopped.Status, stopped.Log.length > 0], ['unhealthy', true]);
      assert.equal(shown(engine, '-f', 'health=unhealthy'), 'paus');
      engine.must('start', 'paus');
      await statusIs(engine, 'paus', 'healthy');
      engine.must('restart', '-t', '0', 'paus');
      await statusIs(engine, 'paus', 'healthy');
      engine.must('run', '-d', '--name', 'n1', '--no-healthcheck', 'checked:1', 'sleep', '1000');
      engine.must('run', '-d', '--name', 'n2', 'bb:1', 'sleep', '1000');
      for (const name of ['n1', 'n2'])
        assert.equal(engine.must('inspect', '-f', '{{json .State}}', name).includes('"Health"'), false);
      assert.equal(shown(engine, '-f', 'health=none').split('\n').sort().join(), 'n1,n2');
    });

    same('what is no health check is refused', async (engine) => {
      for (const [flags, message] of [
        [['--health-interval', '1us'], /Interval in Healthcheck cannot be less than 1ms/],
        [['--health-timeout', '1us'], /Timeout in Healthcheck cannot be less than 1ms/],
      ] as const)
        assert.match(engine.docker(['create', '--health-cmd', 'true', ...flags, 'bb:1']).stderr, message);
      const { status, body } = await engine.api('POST', '/containers/create', {
        Image: 'bb:1',
        Healthcheck: { Test: ['CMD', 'true'], Retries: -1 },
      });
      assert.deepEqual([status, body.trim()], [400, '{"message":"Retries in Healthcheck cannot be negative"}']);
      assert.match(engine.docker(['ps', '-f', 'health=bogus']).stderr, /invalid value for health \(bogus\)/);
    });

    berthOnly('after kill -9 the asking goes on, and what hung is ended', async (engine) => {
      const common = ['--health-interval', '300ms', '--health-timeout', '60s'];
      engine.must('run', '-d', '--name', 'ok', '--health-cmd', 'true', ...common, 'bb:1', 'sleep', '1000');
      engine.must(
        'run',
        '-d',
        '--name',
        'hang',
        '--health-cmd',
        'sleep 2000 | cat',
        ...common,
        'bb:1',
        'sleep',
        '1000',
      );
      engine.must('run', '-d', '--name', 'flood', '--health-cmd', 'yes', ...common, 'bb:1', 'sleep', '1000');
      await statusIs(engine, 'ok', 'healthy');
      const hanging = () => engine.must('top', 'hang', '-o', 'pid,args').includes('sleep 2000');
      await until(hanging, 'the probe hangs');
      await engine.kill();
      await engine.restart();
      assert.equal(healthOf(engine, 'ok').Status, 'healthy');
      const last = healthOf(engine, 'ok').Log.at(-1)?.Start;
      await until(() => healthOf(engine, 'ok').Log.at(-1)?.Start !== last, 'a probe after the restart');
      // One of before would be here beside the new one.
      await until(hanging, 'a new one hangs');
      assert.equal(engine.must('top', 'hang', '-o', 'pid,args').match(/sleep 2000$/gm)?.length, 1);
      engine.must('pause', 'hang');
      engine.must('unpause', 'hang');
      engine.must('stop', '-t', '0', 'hang', 'flood');
    });
  },
);
