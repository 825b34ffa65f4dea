import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { dockerCli, startBerth, startReference, type TestEngine } from '../lib/engines.ts';

/** The same file for both. */
const content = {
  labels: ['place=here', 'tier=test'],
  'default-ulimits': { nofile: { Name: 'nofile', Soft: 321, Hard: 654 } },
  'default-shm-size': '32M',
  dns: ['10.123.0.53'],
  'dns-search': ['example.org'],
  'dns-opts': ['timeout:3'],
  'log-opts': { 'max-size': '2m', 'max-file': '3' },
  'default-address-pools': [{ base: '10.211.0.0/16', size: 24 }],
  'default-ipc-mode': 'shareable',
  'no-new-privileges': true,
  init: true,
  bip: '10.212.7.1/24',
  mtu: 1432,
  'fixed-cidr': '10.212.7.128/25',
  icc: false,
  ip: '127.0.0.1',
  'host-gateway-ips': ['10.9.8.7'],
  'default-network-opts': { bridge: { 'com.docker.network.driver.mtu': '1345' } },
  'max-concurrent-downloads': 2,
  'max-concurrent-uploads': 2,
  'max-download-attempts': 3,
};

const starters: readonly (readonly [string, (file: string) => Promise<TestEngine | undefined>])[] = [
  ['berth', (file) => startBerth({ flags: ['--daemon-json', file] })],
  ['docker (newest)', (file) => startReference('newest', ['--config-file', file])],
];

for (const [name, start] of starters)
  describe(`daemon.json, ${name}`, () => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-daemon-json-'));
    const file = join(dir, 'daemon.json');
    let engine: TestEngine | undefined;
    before(async () => {
      writeFileSync(file, JSON.stringify(content));
      engine = await start(file);
      engine?.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
    });
    after(async () => {
      await engine?.[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    });
    const holds = (title: string, check: (engine: TestEngine) => void | Promise<void>) =>
      test(title, async (t) => {
        if (!engine) t.skip(`${name} cannot be had here`);
        else await check(engine);
      });

    holds('info shows labels and pools', (engine) => {
      const info = JSON.parse(engine.must('info', '--format', '{{json .}}')) as Record<string, unknown>;
      assert.deepEqual((info['Labels'] as string[]).toSorted(), ['place=here', 'tier=test']);
      assert.deepEqual(info['DefaultAddressPools'], [{ Base: '10.211.0.0/16', Size: 24 }]);
    });

    holds('a container that says nothing gets limits, names, an init and no new privileges', (engine) => {
      const said = engine.must(
        ...['run', '--rm', 'bb:1', 'sh', '-c'],
        'ulimit -Sn; ulimit -Hn; grep -E "^(nameserver|search|options)" /etc/resolv.conf; grep NoNewPrivs /proc/self/status; [ $$ = 1 ] || echo init; cat /sys/class/net/eth0/mtu',
      );
      assert.deepEqual(
        said.split('\n').map((line) => line.replace(/\s+/g, ' ').trim()),
        [
          '321',
          '654',
          'nameserver 10.123.0.53',
          'search example.org',
          'options timeout:3',
          'NoNewPrivs: 1',
          'init',
          '1432',
        ],
      );
    });

    holds(
      'the default bridge: its range, nobody reaches a neighbour, ports on the address that was given',
      async (engine) => {
        const serving = ['sh', '-c', 'echo served > /index.html; exec httpd -f -h / -p 80'];
        engine.must(
          'run',
          '-d',
          '--name',
          'one',
          '-p',
          '8123:80',
          '--add-host',
          'here:host-gateway',
          'bb:1',
          ...serving,
        );
        const { IPAddress } = JSON.parse(
          engine.must('inspect', '-f', '{{json .NetworkSettings.Networks.bridge}}', 'one'),
        ) as { IPAddress: string };
        assert.match(IPAddress, /^10\.212\.7\.(12[89]|1[3-9]\d|2\d\d)$/);
        assert.equal(engine.must('port', 'one'), '80/tcp -> 127.0.0.1:8123');
        assert.match(engine.must('exec', 'one', 'cat', '/etc/hosts'), /^10\.9\.8\.7\s+here$/m);
        const reach = ['sh', '-c', `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 3 nc ${IPAddress} 80 | tail -n 1`];
        for (let round = 0; round < 50 && engine.must('exec', 'one', ...reach) !== 'served'; round++) await sleep(100);
        assert.equal(engine.must('exec', 'one', ...reach), 'served');
        assert.equal(engine.docker(['run', '--rm', 'bb:1', ...reach]).stdout, '');
        engine.must('network', 'create', 'plain');
        engine.must('network', 'create', '-o', 'com.docker.network.driver.mtu=1300', 'said');
        const mtu = (network: string) =>
          engine.must('run', '--rm', '--network', network, 'bb:1', 'cat', '/sys/class/net/eth0/mtu');
        assert.deepEqual(['plain', 'said'].map(mtu), ['1345', '1300']);
        engine.must('rm', '-f', 'one');
        engine.must('network', 'rm', 'plain', 'said');
      },
    );

    holds("the container's own word comes first", (engine) => {
      const said = engine.must(
        ...[
          'run',
          '--rm',
          '--ulimit',
          'nofile=100:200',
          '--dns',
          '10.1.1.1',
          '--security-opt',
          'no-new-privileges=false',
        ],
        ...['--init=false', 'bb:1', 'sh', '-c'],
        'ulimit -Sn; grep ^nameserver /etc/resolv.conf; grep NoNewPrivs /proc/self/status; echo $$',
      );
      assert.deepEqual(
        said.split('\n').map((line) => line.replace(/\s+/g, ' ').trim()),
        ['100', 'nameserver 10.1.1.1', 'NoNewPrivs: 0', '1'],
      );
    });

    holds('inspect shows what was decided at create, and not what each start looks at', (engine) => {
      engine.must('create', '--name', 'plain', 'bb:1', 'true');
      const { HostConfig: host } = JSON.parse(engine.must('inspect', '--format', '{{json .}}', 'plain')) as {
        HostConfig: Record<string, unknown>;
      };
      assert.deepEqual(host['LogConfig'], { Type: 'json-file', Config: { 'max-file': '3', 'max-size': '2m' } });
      assert.equal(host['ShmSize'], 32 * 1024 * 1024);
      assert.equal(host['IpcMode'], 'shareable');
      assert.deepEqual(host['Ulimits'], [{ Name: 'nofile', Hard: 654, Soft: 321 }]);
      assert.deepEqual(host['Dns'] ?? [], []);
      assert.equal(host['SecurityOpt'] ?? null, null);
      engine.must('rm', 'plain');
    });

    holds('networks take their subnets from the pools, the default one from bip', (engine) => {
      const subnet = (network: string) =>
        engine.must('network', 'inspect', '--format', '{{(index .IPAM.Config 0).Subnet}}', network);
      engine.must('network', 'create', 'one');
      assert.match(subnet('one'), /^10\.211\.\d+\.0\/24$/);
      assert.equal(subnet('bridge'), '10.212.7.0/24');
      engine.must('network', 'rm', 'one');
    });

    holds('SIGHUP reads it again, and a file with a mistake changes nothing', async (engine) => {
      const events = spawn(dockerCli(), ['events', '--filter', 'type=daemon', '--format', '{{json .}}'], {
        env: engine.env,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let seen = '';
      events.stdout.on('data', (chunk: Buffer) => {
        seen += chunk;
      });
      const labels = () => engine.must('info', '--format', '{{json .Labels}}');
      const until = async (holds: () => boolean) => {
        const deadline = Date.now() + 60_000;
        while (!holds() && Date.now() < deadline) await sleep(100);
      };
      try {
        writeFileSync(file, JSON.stringify({ ...content, labels: ['place=there'], debug: true }));
        // The listener may not be there yet: told until it was heard.
        await until(() => {
          process.kill(engine.pid, 'SIGHUP');
          return seen.includes('\n');
        });
        const event = JSON.parse(seen.split('\n')[0]!) as {
          Type: string;
          Action: string;
          Actor: { Attributes: Record<string, string> };
        };
        assert.deepEqual([event.Type, event.Action], ['daemon', 'reload']);
        const { debug, labels: told, 'live-restore': _ } = event.Actor.Attributes;
        assert.deepEqual([debug, told], ['true', '["place=there"]']);
        for (const name of [
          'max-concurrent-downloads',
          'max-concurrent-uploads',
          'shutdown-timeout',
          'runtimes',
          'name',
        ])
          assert.ok(name in event.Actor.Attributes, name);
        assert.equal(labels(), '["place=there"]');

        const before = engine.log().length;
        writeFileSync(file, '{"labels": ["place=nowhere"],');
        process.kill(engine.pid, 'SIGHUP');
        await until(() => /error/i.test(engine.log().slice(before)));
        assert.match(engine.log().slice(before), /error/i);
        assert.equal(labels(), '["place=there"]');
      } finally {
        events.kill('SIGKILL');
      }
    });
  });
