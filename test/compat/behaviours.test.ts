import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';

onBothEngines('behaviours', { runtimes: ['crun'] }, ({ same }) => {
  same('restart on-failure: as often as it says, and counted', async (engine) => {
    engine.must('run', '-d', '--name', 'again', '--restart', 'on-failure:2', 'bb:1', 'sh', '-c', 'echo try; exit 3');
    const state = () =>
      engine.must('inspect', '-f', '{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}', 'again');
    for (let round = 0; round < 100 && state() !== 'exited 2 3'; round++) await sleep(100);
    assert.equal(state(), 'exited 2 3');
    assert.equal(engine.must('logs', 'again'), 'try\ntry\ntry');
  });

  same('wait for several, kill by names and numbers, rm -f of what is paused or was never started', (engine) => {
    for (const name of ['w1', 'w2', 'w3']) engine.must('run', '-d', '--name', name, 'bb:1', 'sleep', '100');
    engine.must('kill', '-s', '9', 'w1');
    engine.must('kill', '-s', 'kill', 'w2');
    engine.must('kill', '-s', 'SIGKILL', 'w3');
    assert.equal(engine.must('wait', 'w1', 'w2', 'w3'), '137\n137\n137');
    engine.must('start', 'w1');
    engine.must('pause', 'w1');
    engine.must('create', '--name', 'w4', 'bb:1');
    assert.equal(engine.must('rm', '-f', 'w1', 'w2', 'w3', 'w4'), 'w1\nw2\nw3\nw4');
    assert.equal(engine.must('ps', '-aq'), '');
  });

  same('logs of a terminal and of lines longer than any buffer', (engine) => {
    engine.docker(['run', '-t', '--name', 'lt', 'bb:1', 'sh', '-c', 'echo one; echo two >&2']);
    assert.equal(engine.docker(['logs', 'lt']).stdout, 'one\r\ntwo\r\n');
    engine.docker(['run', '--name', 'll', 'bb:1', 'sh', '-c', 'head -c 40000 /dev/zero | tr "\\0" x; echo; echo end']);
    assert.equal(engine.docker(['logs', 'll']).stdout, `${'x'.repeat(40000)}\nend\n`);
    assert.equal(engine.docker(['logs', '--tail', '1', 'll']).stdout, 'end\n');
    const timed = engine.docker(['logs', '-t', '--tail', '1', 'll']).stdout;
    assert.match(timed, /^\d{4}-\d\d-\d\dT[\d:.]+Z end\n$/);
    assert.equal(engine.docker(['logs', '--since', '2000-01-01', '--until', '2001-01-01', 'll']).stdout, '');
    engine.must('run', '--name', 'ld', '--label', 'a=b', '--log-opt', 'labels=a', 'bb:1', 'echo', 'x');
    assert.equal(engine.docker(['logs', '--details', 'ld']).stdout, 'a=b x\n');
  });

  same('attach without stdin ends with the container; start -a -i feeds it', (engine) => {
    engine.must('run', '-d', '-i', '--name', 'at', 'bb:1', 'sh', '-c', 'sleep 1; echo late; exit 5');
    const attached = engine.docker(['attach', '--no-stdin', '--sig-proxy=false', 'at'], { input: 'ignored' });
    assert.equal(attached.stdout, 'late\n');
    assert.equal(attached.status, 5);
    engine.must('create', '-i', '--name', 'in', 'bb:1', 'cat');
    assert.equal(engine.docker(['start', '-a', '-i', 'in'], { input: 'fed\n' }).stdout, 'fed\n');
  });

  same('events: filters and formats', (engine) => {
    const since = (Date.now() / 1000 - 0.01).toFixed(3);
    engine.docker(['run', '--name', 'ev', '--label', 'k=v', 'bb:1', 'true']);
    const until = () => (Date.now() / 1000 + 0.2).toFixed(3);
    const events = (format: string, ...filters: string[]) =>
      engine.must(
        'events',
        '--since',
        since,
        '--until',
        until(),
        '--format',
        format,
        ...filters.flatMap((one) => ['--filter', one]),
      );
    assert.equal(
      // Of this container alone: one of the test before may just have ended.
      events('{{.Type}} {{.Action}} {{.Actor.Attributes.name}}', 'event=die', 'type=container', 'container=ev'),
      'container die ev',
    );
    assert.equal(events('{{.Action}}', 'label=k=v', 'event=start', 'event=create'), 'create\nstart');
    assert.equal(events('{{.Action}}', 'container=nosuch'), '');
    assert.match(events('{{json .}}', 'event=die'), /"exitCode":"0"/);
  });

  same('ps: by port, volume, network and health', (engine) => {
    engine.must('run', '-d', '--name', 'pp', '-p', '127.0.0.1:28080:80', '-v', 'pv:/data', 'bb:1', 'sleep', '100');
    const names = (filter: string) => engine.must('ps', '--filter', filter, '--format', '{{.Names}}');
    for (const filter of ['publish=28080', 'publish=28000-28100/tcp', 'expose=80', 'volume=pv', 'volume=/data'])
      assert.equal(names(filter), 'pp', filter);
    for (const filter of ['network=bridge', 'health=none', 'is-task=false', 'name=^pp$', 'name=^/pp$'])
      assert.equal(names(filter), 'pp', filter);
    for (const filter of ['publish=80', 'expose=81', 'volume=other', 'network=host', 'is-task=true', 'label=x'])
      assert.equal(names(filter), '', filter);
    assert.equal(engine.must('ps', '--format', '{{.Ports}}'), '127.0.0.1:28080->80/tcp');
    engine.must('rm', '-f', 'pp');
    engine.must('volume', 'rm', 'pv');
  });
});
