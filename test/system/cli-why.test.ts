import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

describe('berth why', () => {
  let engine: TestEngine;
  let berth: BerthCli;

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine);
    engine.must('load', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine[Symbol.asyncDispose]());

  const fails = ['sh', '-c', 'sleep 0.3; exit 1'];
  const ended = async (name: string, state = 'exited') => {
    const deadline = Date.now() + 20_000;
    while (engine.must('inspect', '-f', '{{.State.Status}}', name) !== state) {
      if (Date.now() > deadline) throw new Error(`${name} is not ${state}`);
      await sleep(50);
    }
    return berth.must('why', name);
  };

  test('one that ended by itself: exit code, last output, events, advice', async () => {
    engine.must('run', '-d', '--name', 'own', 'bb:1', 'sh', '-c', 'echo the last words; sleep 0.3; exit 3');
    const said = await ended('own');
    assert.match(said, /^own ended .* ago: exit code 3$/m);
    assert.match(said, /^ {2}ended by +itself/m);
    assert.match(said, /\| the last words$/m);
    assert.match(said, /\d\d:\d\d:\d\d {2}start$/m);
    assert.match(said, /^ {2}try +berth logs -n 50 own$/m);
    assert.doesNotMatch(said, /\x1b/, 'piped: no colours');
  });

  test('out of memory, with the limit', async () => {
    engine.must('run', '-d', '--name', 'oom', '-m', '16m', '--memory-swap', '16m', 'bb:1', 'tail', '/dev/zero');
    const said = await ended('oom');
    assert.match(said, /^oom ended .* ago: out of memory, exit code 137$/m);
    assert.match(said, /needed more than its limit of 16 MiB of memory$/m);
  });

  test('a client that stopped it and had to kill; a client that killed it', async () => {
    engine.must('run', '-d', '--name', 'stopped', 'bb:1', 'sh', '-c', 'trap "" TERM; sleep 60');
    engine.must('stop', '-t', '1', 'stopped');
    assert.match(
      await ended('stopped'),
      /as docker stop does\): SIGTERM at .*, then SIGKILL at .*: it did not end within/,
    );
    engine.must('run', '-d', '--name', 'killed', 'bb:1', 'sleep', '60');
    engine.must('kill', 'killed');
    assert.match(await ended('killed'), /as docker kill does\): SIGKILL at/);
  });

  test('one that cannot be started, in the words of the runtime', async () => {
    assert.equal(engine.docker(['run', '-d', '--name', 'typo', 'bb:1', 'nosuch']).status, 127);
    const said = berth.must('why', 'typo');
    assert.match(said, /^typo could not be started$/m);
    assert.match(said, /the error .*exec: "nosuch": executable file not found in \$PATH/);
  });

  test('a restart policy that gave up, and one that waits', async () => {
    engine.must('run', '-d', '--name', 'up', '--restart', 'on-failure:2', 'bb:1', ...fails);
    const deadline = Date.now() + 20_000;
    while (engine.must('inspect', '-f', '{{.RestartCount}} {{.State.Status}}', 'up') !== '2 exited') {
      assert.ok(Date.now() < deadline);
      await sleep(50);
    }
    const said = berth.must('why', 'up');
    assert.match(said, /policy on-failure:2, restarted 2 times of 2, given up/);
    assert.match(said, /before +ended 2 times since .*exit codes 1, 1/);
    engine.must('run', '-d', '--name', 'again', '--restart', 'always', 'bb:1', 'false');
    // By then it waits for some seconds between two tries.
    while (Number(engine.must('inspect', '-f', '{{.RestartCount}}', 'again')) < 6) await sleep(50);
    assert.match(await ended('again', 'restarting'), /waits for its next start/);
    engine.must('rm', '-f', 'again');
  });

  test('one that runs, one that never did; as JSON; on a terminal no escape of the container gets through', () => {
    engine.must('run', '-d', '--name', 'runs', 'bb:1', 'sh', '-c', 'printf "\\033]0;evil\\007hello\\n"; sleep 60');
    engine.must('create', '--name', 'made', 'bb:1');
    assert.match(berth.must('why', 'runs'), /^runs runs since .*, for /);
    assert.match(berth.must('why', 'made'), /^made was created and never started$/m);
    const { stdout } = berth.onTerminal(['why', 'runs']);
    assert.match(stdout, /\| hello/);
    assert.doesNotMatch(stdout, /evil|\x1b\]/);
    const story = berth.json<{ state: string; log: string[]; events: { what: string }[] }>('why', '--json', 'runs');
    assert.equal(story.state, 'running');
    assert.deepEqual(story.log, ['\x1b]0;evil\x07hello']);
    assert.deepEqual(
      story.events.map(({ what }) => what),
      ['create', 'start'],
    );
    engine.must('rm', '-f', 'runs');
  });

  test('one that removed itself is remembered with its exit code', async () => {
    assert.equal(engine.docker(['run', '--rm', '--name', 'gone', 'bb:1', 'sh', '-c', 'sleep 0.3; exit 4']).status, 4);
    const said = berth.must('why', 'gone');
    assert.match(said, /^gone is gone: it was removed .* ago, after it had ended with exit code 4$/m);
    assert.match(said, /\d\d:\d\d:\d\d {2}removed$/m);
  });

  test('what is not there is said', () => {
    const { status, stderr } = berth.run(['why', 'nosuch']);
    assert.equal(status, 1);
    assert.match(stderr, /No such container: nosuch/);
  });
});
