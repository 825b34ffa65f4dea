import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Opened } from '../../src/networks/networks.ts';
import { Lab, newId, port, run, until } from './networks-lab.ts';

describe('networks after kill -9 of the engine', () => {
  let lab: Lab;
  before(() => {
    lab = new Lab();
  });
  after(() => lab[Symbol.asyncDispose]());

  async function engine(mode: 'hold' | 'churn') {
    const script = fileURLToPath(new URL('./networks-engine.ts', import.meta.url));
    const child = lab.start(process.execPath, [script, lab.root, mode]);
    const [line] = child.stdout ? await once(child.stdout, 'data') : [''];
    const kill = async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    };
    return { line: String(line), kill };
  }

  test('ports go on while it is away, S39 holds, and the next one adopts them', async () => {
    const first = await engine('hold');
    const { sandbox, endpoints }: Opened = JSON.parse(first.line);
    const endpoint = endpoints[0]!;
    await lab.serve({ id: endpoint.containerId, path: sandbox.path, endpoint }, 80, 53);
    const works = () => {
      assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8080), `from ${lab.lanAddress}\nping`);
      assert.match(lab.ask('', '::1', 8080), /ping$/);
      assert.match(lab.ask(lab.lanPath, lab.hostAddress, 5353, { udp: true }), /ping/);
      assert.equal(lab.ask(lab.lanPath, endpoint.address, 80), '');
      assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8081), '');
      assert.match(lab.ask('', '127.0.0.1', 8081), /ping$/);
    };
    works();
    const connections = [lab.talk(lab.lanPath, lab.hostAddress, 8080), lab.talk(lab.lanPath, 'fd99::1', 8080)];
    const goOn = async () => {
      const before = connections.map((answers) => answers());
      await until(3_000, () => connections.every((answers, index) => answers() > (before[index] ?? 0)));
      for (const [index, answers] of connections.entries())
        assert.ok(answers() > (before[index] ?? 0), `connection ${index}`);
    };
    await goOn();
    await first.kill();
    // Longer than a helper without an engine would stay that holds nothing.
    await sleep(1_500);
    works();
    await goOn();
    const intruder = createServer().listen(8080, '0.0.0.0');
    assert.equal((await once(intruder, 'error'))[0].code, 'EADDRINUSE');
    assert.equal(readdirSync(join(lab.root, 'run/netns')).length, 4, 'the container and three made ahead');

    await using networks = await lab.open();
    await networks.recover([{ containerId: endpoint.containerId, sandbox: sandbox.path, endpoints }]);
    works();
    await goOn();
    assert.deepEqual(readdirSync(join(lab.root, 'run/netns')), [endpoint.id.slice(0, 12)]);
    assert.equal(lab.leftovers().filter((what) => what.startsWith('bth')).length, 1);
    await assert.rejects(lab.container(networks, [port(80, 8080)]), { kind: 'conflict' });
    const next = await lab.container(networks);
    assert.notEqual(next.endpoint.address, endpoint.address);

    await networks.close(next.id);
    await networks.close(endpoint.containerId);
    assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8080), '');
  });

  test('an engine that ends leaves its containers their network; the last one gone, nothing is left', async () => {
    const first = await lab.open();
    await first.recover([]);
    const web = await lab.container(first, [port(80, 8080)]);
    await lab.serve(web, 80);
    await first[Symbol.asyncDispose]();
    assert.equal(lab.ask(lab.lanPath, lab.hostAddress, 8080), `from ${lab.lanAddress}\nping`);
    assert.equal(readdirSync(join(lab.root, 'run/netns')).length, 1);

    // The container died while no engine was there.
    await lab.stopProcesses();
    const second = await lab.open();
    await second.recover([]);
    await second[Symbol.asyncDispose]();
    await until(5_000, () => lab.leftovers().length === 0);
    assert.deepEqual(lab.leftovers(), []);
  });

  test('the helper is started again when it was killed', async () => {
    await using networks = await lab.open();
    const web = await lab.container(networks, [port(80, 8080)]);
    await lab.serve(web, 80);
    const pid = Number(/helper (\d+)/.exec(lab.leftovers().join(' '))?.[1]);
    process.kill(pid, 'SIGKILL');
    const again = await until(5_000, () => lab.ask('', '::1', 8080).endsWith('ping'));
    assert.ok(again);
    // The namespace is held by the test's server: its link stays after the container and after the bridge.
    await networks.close(web.id);
    await networks[Symbol.asyncDispose]();
    assert.equal(lab.leftovers().filter((what) => what.startsWith('bth')).length, 1);
    await using next = await lab.open();
    await next.recover([]);
    assert.equal(lab.leftovers().filter((what) => what.startsWith('bth')).length, 0);
    await lab.stopProcesses();
  });

  test('R01: killed at any moment of opening and closing, nothing is left after the next start', async () => {
    for (let round = 0; round < 6; round++) {
      const churning = await engine('churn');
      await sleep(Math.random() * 300);
      await churning.kill();
      const next = await lab.open();
      await next.recover([]);
      const id = newId();
      await next.open(id, { joins: [{ network: 'bridge' }], ports: [port(80, 8080)] });
      await next.close(id);
      await next[Symbol.asyncDispose]();
      await until(5_000, () => lab.leftovers().length === 0);
      assert.deepEqual(lab.leftovers(), [], `round ${round}`);
      assert.deepEqual(readdirSync(join(lab.root, 'run/netns')), []);
    }
    assert.equal(run('nft', 'list', 'ruleset').includes('berth'), false);
  });
});
