import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';
import { Lab, run, until } from './networks-lab.ts';

describe("networks of one's own after kill -9", () => {
  let engine: TestEngine;
  before(async () => {
    engine = await startBerth();
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine[Symbol.asyncDispose]());

  test('R01: names are answered while the engine is down; the next one has networks, endpoints and ports', async () => {
    engine.must('network', 'create', '--subnet', '10.71.0.0/24', 'front');
    engine.must('network', 'create', 'back');
    const sleeper = ['bb:1', 'sleep', '1000'];
    const serve = ['bb:1', 'nc', '-ll', '-p', '80', '-e', 'echo', 'hello'];
    engine.must('run', '-d', '--name', 'web', '--network', 'front', '-p', '8080:80', ...serve);
    engine.must('run', '-d', '--name', 'client', '--network', 'front', ...sleeper);
    engine.must('network', 'connect', 'back', 'web');
    const pid = engine.must('inspect', '-f', '{{.State.Pid}}', 'client');
    const described = () => [
      JSON.parse(engine.must('network', 'inspect', 'front', 'back')),
      ...['web', 'client'].map((name) => JSON.parse(engine.must('inspect', '-f', '{{json .NetworkSettings}}', name))),
    ];
    const before = described();
    await engine.kill();
    const [image = ''] = readdirSync(`/proc/${pid}/root/bin`).filter((name) => name === 'busybox');
    assert.equal(image, 'busybox');
    const ask = (...args: string[]) =>
      run('nsenter', `--target=${pid}`, '--net', '--mount', '/bin/busybox', 'timeout', '5', '/bin/busybox', ...args);
    assert.match(ask('nslookup', 'web'), /Address: 10\.71\.0\.2/);
    assert.equal(ask('sh', '-c', '/bin/busybox nc -w 2 web 80 </dev/null'), 'hello\n');

    await engine.restart();
    assert.deepEqual(described(), before);
    engine.must('run', '-d', '--name', 'late', '--network', 'back', ...sleeper);
    assert.equal(engine.must('exec', 'late', 'sh', '-c', 'nc -w 2 web 80 </dev/null'), 'hello');
    assert.equal(engine.must('exec', 'client', 'sh', '-c', 'nc -w 2 web 80 </dev/null'), 'hello');
    engine.must('network', 'disconnect', 'back', 'web');
    engine.must('network', 'connect', 'back', 'client');
    assert.match(engine.must('exec', 'client', 'nslookup', 'late'), /Address: /);
    engine.must('rm', '-f', 'web', 'client', 'late');
    engine.must('network', 'rm', 'front', 'back');
  });
});

describe('a room of networks, killed', () => {
  let lab: Lab;
  before(() => {
    lab = new Lab();
  });
  after(() => lab[Symbol.asyncDispose]());

  test('R01: at any moment of making, joining, leaving and removing; the next one has what its records say', async () => {
    const script = fileURLToPath(new URL('./networks-engine.ts', import.meta.url));
    for (let round = 0; round < 4; round++) {
      const child = lab.start(process.execPath, [script, lab.root, 'own']);
      if (child.stdout) await once(child.stdout, 'data');
      await sleep(Math.random() * 700);
      child.kill('SIGKILL');
      await once(child, 'exit');

      const next = await lab.open();
      await next.recover([]);
      const known = next.list().filter(({ name }) => /^(one|two)-/.test(name));
      for (const { name } of known) {
        const one = await lab.joined(next, [{ network: name, names: ['one'] }]);
        assert.equal(lab.resolve(one, 'one'), `0 ${one.endpoint.address}`, `round ${round}`);
        await next.close(one.id);
      }
      await next.prune(() => true);
      await next[Symbol.asyncDispose]();
      await until(5_000, () => lab.leftovers().length === 0);
      assert.deepEqual(lab.leftovers(), [], `round ${round}`);
      assert.deepEqual(readdirSync(join(lab.root, 'run/netns')), []);
    }
  });

  test('R01: the same on a link of the host: nobody has an address of the killed one any more', async () => {
    const script = fileURLToPath(new URL('./networks-engine.ts', import.meta.url));
    for (let round = 0; round < 4; round++) {
      const child = lab.start(process.execPath, [script, lab.root, 'parent']);
      if (child.stdout) await once(child.stdout, 'data');
      await sleep(Math.random() * 700);
      child.kill('SIGKILL');
      await once(child, 'exit');

      const next = await lab.open();
      await next.recover([]);
      for (const { name } of next.list().filter((network) => network.name.startsWith('lan-'))) {
        // The kernel refuses a MAC that another link on the parent still has.
        const one = await lab.joined(next, [{ network: name, address: '10.98.0.50', names: ['one'] }]);
        assert.equal(lab.resolve(one, 'one'), '0 10.98.0.50', `round ${round}`);
        await next.close(one.id);
      }
      await next.prune(() => true);
      await next[Symbol.asyncDispose]();
      await until(10_000, () => lab.leftovers().length === 0);
      assert.deepEqual(lab.leftovers(), [], `round ${round}`);
      assert.deepEqual(readdirSync(join(lab.root, 'run/netns')), []);
    }
  });
});
