import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

describe('what is taken is told with who has it, and the way out', () => {
  let engine: TestEngine;
  let berth: BerthCli;

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine, { inside: true });
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine[Symbol.asyncDispose]());

  test('a port that a container has, at run and at start', () => {
    berth.must('run', '-d', '--name', 'first', '-p', '8080:80', 'bb:1', 'sleep', '1000');
    const second = berth.run(['run', '-d', '--name', 'second', '-p', '8080:80', 'bb:1', 'sleep', '1000']);
    assert.deepEqual([second.status, second.stdout], [125, '']);
    assert.match(second.stderr, /port 8080 of 127\.0\.0\.1 is taken by container first: .*port is already allocated/);
    assert.match(
      second.stderr,
      /\n {2}try: berth stop first, or publish on another port: -p 8081:PORT\n {2}code: E_PORT_IN_USE\n$/,
    );
    assert.equal(engine.must('ps', '-aq').split('\n').length, 1);
    engine.must('create', '--name', 'third', '-p', '127.0.0.1:8080:80', 'bb:1', 'sleep', '1000');
    const started = berth.run(['start', 'third']);
    assert.equal(started.status, 1);
    assert.match(started.stderr, /is taken by container first[^]*try: berth stop first/);
    const json = JSON.parse(berth.run(['start', '--json', 'third']).stderr) as Record<string, string>;
    assert.match(json['error']!, /is taken by container first/);
    assert.equal(json['code'], 'E_PORT_IN_USE');
    engine.must('rm', '-f', 'first', 'third');
  });

  test('a port that another process has', async () => {
    const listener = berth.occupy(8090);
    await listener.ready;
    try {
      const taken = berth.run(['run', '-d', '-p', '0.0.0.0:8090:80', 'bb:1', 'sleep', '1000']);
      assert.equal(taken.status, 125);
      assert.match(taken.stderr, /port 8090 is taken by node \(pid \d+\), which is no container: /);
      assert.match(
        taken.stderr,
        /\n {2}try: stop node \(pid \d+\), or publish on another port: -p 8091:PORT\n {2}code: E_PORT_IN_USE\n$/,
      );
      assert.equal(engine.must('ps', '-aq'), '');
    } finally {
      listener.end();
    }
  });

  test('an address of a network, at run and at connect', () => {
    engine.must('network', 'create', '--subnet', '10.55.0.0/24', 'back');
    berth.must('run', '-d', '--name', 'has', '--network', 'back', '--ip', '10.55.0.9', 'bb:1', 'sleep', '1000');
    for (const flags of [[], ['-d']]) {
      const wants = berth.run(['run', ...flags, '--network', 'name=back,ip=10.55.0.9', 'bb:1', 'true']);
      assert.equal(wants.status, 125);
      assert.match(
        wants.stderr,
        /address 10\.55\.0\.9 is taken by container has in network back: .*Address already in use/,
      );
      assert.match(
        wants.stderr,
        /\n {2}try: ask for another address, or berth rm -f has\n {2}code: E_ADDRESS_IN_USE\n$/,
      );
    }
    berth.must('run', '-d', '--name', 'joins', 'bb:1', 'sleep', '1000');
    const joins = berth.run(['network', 'connect', '--ip', '10.55.0.9', 'back', 'joins']);
    assert.equal(joins.status, 1);
    assert.match(joins.stderr, /is taken by container has in network back/);
    engine.must('rm', '-f', 'has', 'joins');
    engine.must('network', 'rm', 'back');
  });

  test('publishing all is for this machine only, unless it is opened', () => {
    const flags = ['--expose', '80', '--expose', '53/udp', '-P'];
    berth.must('run', '-d', '--name', 'closed', ...flags, 'bb:1', 'sleep', '1000');
    assert.match(berth.must('port', 'closed', '80'), /^127\.0\.0\.1:\d+\n$/);
    assert.match(berth.must('port', 'closed', '53/udp'), /^127\.0\.0\.1:\d+\n$/);
    berth.must('run', '-d', '--name', 'open', '--public', ...flags, 'bb:1', 'sleep', '1000');
    assert.match(berth.must('port', 'open', '80'), /^0\.0\.0\.0:\d+$/m);
    engine.must('rm', '-f', 'closed', 'open');
  });
});
