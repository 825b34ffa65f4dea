import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

describe('berth ports', () => {
  let engine: TestEngine;
  let berth: BerthCli;
  const inside = (...command: string[]) =>
    execFileSync('nsenter', [`--net=/run/netns/${engine.netns}`, ...command], { encoding: 'utf8' });

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine, { inside: true });
    engine.must('load', '-i', busyboxArchive({ name: 'bb:1' }));
    // Something that is the outside.
    inside('ip', 'link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'lan1');
    inside('ip', 'address', 'add', '192.168.77.5/24', 'dev', 'lan0');
    inside('ip', 'address', 'add', '203.0.113.5/24', 'dev', 'lan0');
    for (const link of ['lan0', 'lan1']) inside('ip', 'link', 'set', link, 'up');
    engine.must('run', '-d', '--name', 'open', '-p', '9090:80', 'bb:1', 'sleep', '600');
    engine.must('run', '-d', '--name', 'closed', '-p', '127.0.0.1:9091:81/udp', 'bb:1', 'sleep', '600');
  });
  after(async () => {
    inside('ip', 'link', 'delete', 'lan0');
    await engine[Symbol.asyncDispose]();
  });

  test('each published port, its container, and who can reach it by which address', () => {
    const said = berth.must('ports');
    assert.match(said, /^PORT +CONTAINER +INSIDE +WHO CAN REACH IT$/m);
    assert.match(
      said,
      /^9090\/tcp +open +80 +the internet at 203\.0\.113\.5 \(lan0\); the local network at 192\.168\.77\.5 \(lan0\)$/m,
    );
    assert.match(said, /^9091\/udp +closed +81 +this machine only$/m);
    assert.doesNotMatch(berth.must('ports', 'closed'), /9090/);
    assert.match(berth.run(['ports', 'nosuch']).stderr, /No such container: nosuch/);
  });

  test('what the firewalls of the host make of it', () => {
    assert.match(berth.must('ports'), /^open +no firewall of this host drops them/m);
    inside(
      'nft',
      'add table inet strict; add chain inet strict forward { type filter hook forward priority 0; policy drop; }',
    );
    inside('nft', 'add chain inet strict input { type filter hook input priority 0; policy drop; }');
    try {
      const said = berth.must('ports');
      assert.match(
        said,
        /^drops +inet strict forward drops what is forwarded -> nft add rule inet strict forward iifname/m,
      );
      assert.match(said, /^drops +inet strict input drops .*by IPv6/m);
      const { firewalls } = berth.json<{ firewalls: { opinion: string }[] }>('ports', '--json');
      assert.deepEqual(
        firewalls.map(({ opinion }) => opinion),
        ['drops', 'drops'],
      );
    } finally {
      inside('nft', 'delete', 'table', 'inet', 'strict');
    }
  });

  test('of a container that does not run: who has its port, container or process', async () => {
    engine.must('create', '--name', 'late', '-p', '9090:1', '-p', '9099:2', 'bb:1');
    const server = berth.occupy(9099);
    try {
      await server.ready;
      const said = berth.must('ports', 'late');
      assert.match(said, /^9090\/tcp +late +1 +nobody: it does not run; container open has the port$/m);
      assert.match(said, /^9099\/tcp +late +2 +nobody: it does not run; node \(pid \d+\) has the port$/m);
    } finally {
      server.end();
    }
  });
});
