import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBerth, type TestEngine } from '../lib/engines.ts';

const count = 300;
const patience = 60_000;

interface Listed {
  readonly Id: string;
  readonly Name: string;
  readonly IPAM: { readonly Config: readonly { readonly Subnet: string }[] };
}

describe('hundreds of networks', { timeout: 600_000 }, () => {
  let engine: TestEngine;
  before(async () => {
    engine = await startBerth({ name: 'networks-many' });
  });
  after(() => engine?.[Symbol.asyncDispose]());

  const host = (script: string) =>
    spawnSync('nsenter', [`--net=/run/netns/${engine.netns}`, 'sh', '-c', script], {
      encoding: 'utf8',
      timeout: 30_000,
    }).stdout;
  const own = async () => {
    const { body } = await engine.api('GET', '/networks?filters={"type":["custom"]}');
    return JSON.parse(body) as Listed[];
  };
  const bridges = () =>
    host('ip -o link show type bridge')
      .split('\n')
      .filter((line) => line.includes(': bn-'));
  async function eventually<T>(look: () => T, wanted: T): Promise<void> {
    const until = Date.now() + patience;
    let got = look();
    while (got !== wanted && Date.now() < until) {
      await sleep(200);
      got = look();
    }
    assert.equal(got, wanted);
  }

  test('each has a subnet of its own that no route of the host lies in', async () => {
    host('ip link add far type veth peer name away; ip link set far up; ip route add 10.192.0.0/20 dev far');
    for (let at = 0; at < count; at++) {
      const { status, body } = await engine.api('POST', '/networks/create', { Name: `n${at}` });
      assert.equal(status, 201, body);
    }
    const networks = await own();
    assert.equal(networks.length, count);
    const subnets = networks.map(({ IPAM }) => IPAM.Config[0]!.Subnet);
    assert.equal(new Set(subnets).size, count);
    assert.deepEqual(
      subnets.filter((subnet) => /^10\.192\.(\d|1[0-5])\./.test(subnet)),
      [],
    );
    assert.equal(bridges().length, count);
  });

  test('one that somebody deletes or takes down, or its address, comes back', async () => {
    const [first, second, third] = bridges().map((line) => /(bn-\w+)/.exec(line)![1]!);
    // An audit has seen all as it should be, and expects to be told of changes.
    await sleep(5_000);
    const address = host(`ip -o -4 address show dev ${third}`);
    host(`ip link delete ${first}; ip link set ${second} down; ip address flush dev ${third}`);
    await eventually(() => bridges().length, count);
    await eventually(() => /[<,]UP[,>]/.test(host(`ip -o link show ${second}`)), true);
    await eventually(() => host(`ip -o -4 address show dev ${third}`).split(/\s+/)[3], address.split(/\s+/)[3]);
    host('sysctl -qw net.ipv4.ip_forward=0');
    await eventually(() => host('cat /proc/sys/net/ipv4/ip_forward').trim(), '1');
  });

  test('they outlive the engine, and are removed', async () => {
    const before = (await own()).map(({ Id }) => Id).sort();
    await engine.kill();
    await engine.restart();
    const networks = await own();
    assert.deepEqual(networks.map(({ Id }) => Id).sort(), before);
    const { body } = await engine.api('POST', '/networks/prune');
    assert.equal((JSON.parse(body) as { NetworksDeleted: string[] }).NetworksDeleted.length, count);
    assert.equal(bridges().length, 0);
    assert.doesNotMatch(host('nft list table inet berth'), /"bn-/);
    host('ip link delete far');
  });
});
