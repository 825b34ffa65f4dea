import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

describe('what is done with a container that becomes unhealthy', () => {
  let engine: TestEngine;
  let berth: BerthCli;

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine);
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine[Symbol.asyncDispose]());

  const check = ['--health-interval', '200ms', '--health-retries', '1', '--health-timeout', '20s'];
  const seen = (name: string, format: string) => engine.must('inspect', '-f', format, name);
  async function until(what: string, is: () => boolean) {
    for (let round = 0; round < 600; round++) {
      if (is()) return;
      await sleep(100);
    }
    assert.fail(`never: ${what}`);
  }
  // A probe may come before its program has said that it lives again.
  const healed = (name: string) => /^healthy [1-9]/.test(seen(name, '{{.State.Health.Status}} {{.RestartCount}}'));
  const restarts = (name: string) => Number(seen(name, '{{.RestartCount}}'));

  test('restart: it is started again until it is well, without a restart policy', async () => {
    // Well in its second life.
    const program = 'echo x >>/lives; exec sleep 1000';
    const well = 'test "$(wc -l </lives)" -ge 2';
    const flags = ['-d', '--name', 'heals', '--stop-timeout', '1', '--health-cmd', well, ...check];
    berth.must('run', ...flags, '--on-unhealthy', 'restart', 'bb:1', 'sh', '-c', program);
    await until('healthy again', () => healed('heals'));
    const told = berth.must('why', 'heals');
    assert.match(told, /^ {2}restarts +never \(policy no\), restart when it is unhealthy, restarted \d+ times?$/m);
    assert.match(told, / {2}unhealthy, so: restart\n[^]*the engine sent SIGTERM\n/);
    assert.equal(seen('heals', '{{index .Config.Labels "berth.on-unhealthy"}}'), 'restart');
    engine.must('rm', '-f', 'heals');
  });

  test('stop: it stays stopped, whatever its restart policy', async () => {
    const flags = [
      '-d',
      '--name',
      'ends',
      '--restart',
      'always',
      '--stop-timeout',
      '1',
      '--health-cmd',
      'false',
      ...check,
    ];
    berth.must('run', ...flags, '--on-unhealthy', 'stop', 'bb:1', 'sleep', '1000');
    await until('stopped', () => seen('ends', '{{.State.Status}}') === 'exited');
    assert.match(berth.must('why', 'ends'), /^ends ended .*: ended because it was unhealthy/);
    assert.equal(restarts('ends'), 0);
    engine.must('rm', '-f', 'ends');
  });

  test('none and no label do nothing; what cannot be meant is refused', async () => {
    for (const [name, action] of [
      ['plain', []],
      ['none', ['--on-unhealthy', 'none']],
    ] as const) {
      berth.must('run', '-d', '--name', name, '--health-cmd', 'false', ...check, ...action, 'bb:1', 'sleep', '1000');
      await until('unhealthy', () => seen(name, '{{.State.Health.FailingStreak}}') >= '3');
      assert.equal(seen(name, '{{.State.Status}} {{.RestartCount}}'), 'running 0');
      engine.must('rm', '-f', name);
    }
    const wrong = engine.docker(['create', '--label', 'berth.on-unhealthy=reboot', 'bb:1']);
    assert.match(wrong.stderr, /invalid label berth\.on-unhealthy=reboot: expected restart, stop, none/);
    const both = berth.run(['create', '--rm', '--on-unhealthy', 'restart', 'bb:1']);
    assert.match(both.stderr, /can't create 'AutoRemove' container with label berth\.on-unhealthy=restart/);
    assert.equal(berth.run(['create', '--on-unhealthy', 'reboot', 'bb:1']).status, 125);
  });

  test('an engine that is killed while it ends one starts it again all the same', async () => {
    // Deaf to SIGTERM: the engine is killed while it waits.
    const program = 'trap "" TERM; echo x >>/lives; while :; do sleep 1; done';
    const flags = [
      '-d',
      '--init=false',
      '--name',
      'deaf',
      '--stop-timeout',
      '8',
      '--health-cmd',
      'test "$(wc -l </lives)" -ge 2',
    ];
    berth.must('run', ...flags, ...check, '--on-unhealthy', 'restart', 'bb:1', 'sh', '-c', program);
    await until('unhealthy', () => /health_action/.test(berth.must('events', '--since', '0', '--until', '0s')));
    await engine.kill();
    await engine.restart();
    await until('healthy again', () => healed('deaf'));
    engine.must('rm', '-f', 'deaf');
  });
});
