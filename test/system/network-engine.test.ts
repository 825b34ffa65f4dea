import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

function inside(namespace: string, script: string): string {
  const args = [`--net=/run/netns/${namespace}`, 'timeout', '4', 'sh', '-c', script];
  return spawnSync('nsenter', args, { encoding: 'utf8', timeout: 8_000 }).stdout.trim();
}

const get = (address: string, port: number) => `busybox nc -w 1 ${address} ${port} </dev/null 2>/dev/null`;

async function becomes(look: () => string, wanted: string): Promise<void> {
  const until = Date.now() + 5000;
  let got = look();
  while (got !== wanted && Date.now() < until) got = look();
  assert.equal(got, wanted);
}

describe("the engine's published ports, seen from another machine of its LAN", () => {
  let engine: TestEngine;
  let lan: string;
  let address: string;

  before(async () => {
    engine = await startBerth();
    lan = `${engine.netns}-lan`;
    spawnSync('ip', ['netns', 'add', lan]);
    inside(
      engine.netns,
      `ip link add lan0 type veth peer name eth0 netns ${lan}
       ip address add 10.99.0.1/24 dev lan0; ip link set lan0 up`,
    );
    // As an attacker would set it: a route to the containers through the host.
    inside(
      lan,
      `ip link set lo up; ip address add 10.99.0.2/24 dev eth0; ip link set eth0 up
       ip route add 172.16.0.0/12 via 10.99.0.1`,
    );
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
    const serve = ['bb:1', 'nc', '-ll', '-p', '80', '-e', 'echo', 'served'];
    engine.must(
      'run',
      '-d',
      '--name',
      'web',
      '-p',
      '8080:80',
      '-p',
      '127.0.0.1:8081:80',
      '-p',
      '[::1]:8082:80',
      ...serve,
    );
    address = engine.must('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', 'web');
  });
  after(async () => {
    inside(engine.netns, 'ip link del lan0');
    await engine[Symbol.asyncDispose]();
    spawnSync('ip', ['netns', 'del', lan]);
  });

  async function holds(): Promise<void> {
    await becomes(() => inside(lan, get('10.99.0.1', 8080)), 'served');
    await becomes(() => inside(engine.netns, get('127.0.0.1', 8081)), 'served');
    await becomes(() => inside(engine.netns, get('::1', 8082)), 'served');
    // Rules that somebody flushed are back within seconds.
    await becomes(() => inside(lan, get(address, 80)), '');
    await becomes(() => inside(lan, get('10.99.0.1', 8081)), '');
    assert.equal(inside(lan, `ip route add 127.0.0.2 via 10.99.0.1; ${get('127.0.0.2', 8081)}`), '');
  }

  test('S39: loopback stays on loopback, and nothing is reached past its published port', holds);

  test('S39 R20: the same after the ruleset was flushed', async () => {
    inside(engine.netns, 'nft flush ruleset');
    await holds();
  });

  test('S39: the same after kill -9 of the engine, while it is down and when it is back', async () => {
    await engine.kill();
    await holds();
    await engine.restart();
    await holds();
  });

  test('S24: a container finds no open port of the engine on its gateway but what was published', () => {
    const gateway = engine.must('inspect', '-f', '{{.NetworkSettings.Networks.bridge.Gateway}}', 'web');
    const listening = inside(engine.netns, "ss -Hltn | awk '{print $4}'").split('\n').filter(Boolean);
    const ports = new Set([...listening.map((text) => text.split(':').at(-1)!), '2375', '2376', '80', '443', '53']);
    for (const published of ['8080', '8081', '8082']) ports.delete(published);
    const open = [...ports].map((port) => `nc -w 1 ${gateway} ${port} </dev/null >/dev/null 2>&1 && echo ${port}`);
    assert.equal(engine.docker(['exec', 'web', 'sh', '-c', `${open.join('; ')}; true`]).stdout.trim(), '');
    assert.equal(engine.docker(['exec', 'web', 'sh', '-c', 'find / -xdev -type s']).stdout.trim(), '');
  });
});
