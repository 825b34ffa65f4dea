import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

/** Runs in the namespace that the engine lives in: what the engine's host sees. */
function host(engine: TestEngine, script: string): string {
  const { stdout } = spawnSync('nsenter', [`--net=/run/netns/${engine.netns}`, 'timeout', '5', 'sh', '-c', script], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  return stdout.trim();
}

function eventually(look: () => string, wanted: string): void {
  const until = Date.now() + 5000;
  let got = look();
  while (got !== wanted && Date.now() < until) got = look();
  assert.equal(got, wanted);
}

/** Says `said` to everybody who connects. */
const serve = (said: string, port = 80) => ['bb:1', 'nc', '-ll', '-p', `${port}`, '-e', 'echo', said];
const get = (address: string) => `busybox nc -w 2 ${address.replace(':', ' ')} </dev/null 2>/dev/null`;
const addressOf = (engine: TestEngine, name: string) =>
  engine.must('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', name);

onBothEngines('docker networking', {}, ({ same }) => {
  same('a published port answers on every address, and docker port, ps and inspect name it', (engine) => {
    engine.must('run', '-d', '--name', 'web', '-p', '8080:80', ...serve('published'));
    eventually(() => host(engine, get('127.0.0.1:8080')), 'published');
    assert.match(engine.must('port', 'web'), /^80\/tcp -> 0\.0\.0\.0:8080\b/);
    assert.match(engine.must('port', 'web', '80'), /^0\.0\.0\.0:8080\b/);
    assert.match(engine.must('ps', '--format', '{{.Ports}}'), /0\.0\.0\.0:8080->80\/tcp/);
    engine.must('stop', '-t', '0', 'web');
    assert.equal(host(engine, get('127.0.0.1:8080')), '');
    engine.must('start', 'web');
    eventually(() => host(engine, get('127.0.0.1:8080')), 'published');
  });

  same('-P publishes what the image or --expose names; a range takes the first that is free', (engine) => {
    engine.must('run', '-d', '--name', 'all', '--expose', '80', '-P', ...serve('exposed'));
    const port = /0\.0\.0\.0:(\d+)/.exec(engine.must('port', 'all', '80'))?.[1];
    assert.ok(Number(port) >= 32768);
    eventually(() => host(engine, get(`127.0.0.1:${port}`)), 'exposed');
    engine.must('run', '-d', '--name', 'r1', '-p', '9100-9101:80', ...serve('one'));
    engine.must('run', '-d', '--name', 'r2', '-p', '9100-9101:80', ...serve('two'));
    assert.deepEqual(
      ['r1', 'r2'].map((name) => /0\.0\.0\.0:(\d+)/.exec(engine.must('port', name, '80'))?.[1]),
      ['9100', '9101'],
    );
    engine.must('run', '-d', '--name', 'r3', '-p', '9200-9201:80-81', ...serve('three', 81));
    eventually(() => host(engine, get('127.0.0.1:9201')), 'three');
  });

  same('a port that is taken is refused with exit code 125, and the container can start once it is free', (engine) => {
    engine.must('run', '-d', '--name', 'first', '-p', '8081:80', ...serve('first'));
    const second = engine.docker(['run', '-d', '--name', 'second', '-p', '8081:80', ...serve('second')]);
    assert.equal(second.status, 125);
    assert.match(second.stderr, /8081.*(port is already allocated|address already in use|in use)/s);
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}}', 'second'), 'created');
    engine.must('rm', '-f', 'first');
    engine.must('start', 'second');
    eventually(() => host(engine, get('127.0.0.1:8081')), 'second');
    const beside = engine.docker(['run', '--rm', '-p', '127.0.0.1:8081:80', 'bb:1', 'true']);
    assert.equal(beside.status, 125);
  });

  same('a port bound to loopback and one bound to the host address answer only there', (engine) => {
    host(
      engine,
      'ip link add other0 type veth peer name other1; ip address add 10.77.0.1/24 dev other0; ip link set other0 up; ip link set other1 up',
    );
    engine.must('run', '-d', '-p', '127.0.0.1:8082:80', '-p', '10.77.0.1:8083:80', ...serve('bound'));
    eventually(() => host(engine, get('127.0.0.1:8082')), 'bound');
    assert.equal(host(engine, get('10.77.0.1:8082')), '');
    assert.equal(host(engine, get('10.77.0.1:8083')), 'bound');
    assert.equal(host(engine, get('127.0.0.1:8083')), '');
    host(engine, 'ip link del other0');
  });

  same('UDP is published too', async (engine) => {
    engine.must('run', '-d', '--name', 'udp', '-p', '5353:53/udp', 'bb:1', 'sleep', '60');
    assert.match(engine.must('port', 'udp'), /^53\/udp -> 0\.0\.0\.0:5353\b/);
    const pid = engine.must('inspect', '-f', '{{.State.Pid}}', 'udp');
    const listener = spawn('nsenter', [
      `--net=/proc/${pid}/ns/net`,
      process.execPath,
      '-e',
      `require('dgram').createSocket('udp4').on('message', (m, from) => { console.log(String(m)); process.exit(); }).bind(53)`,
    ]);
    const heard = text(listener.stdout);
    // Ends by itself, whatever becomes of this test.
    const sender = spawn(
      'nsenter',
      [
        `--net=/run/netns/${engine.netns}`,
        'bash',
        '-c',
        'exec 3>/dev/udp/127.0.0.1/5353; for try in $(seq 25); do echo datagram >&3; sleep 0.2; done',
      ],
      { stdio: 'ignore' },
    );
    try {
      assert.equal(await Promise.race([heard, sleep(5000, 'nothing')]), 'datagram\n\n');
    } finally {
      sender.kill('SIGKILL');
      listener.kill();
    }
  });

  same('containers reach each other by address, the host and what the host is routed to', (engine) => {
    engine.must('run', '-d', '--name', 'neighbour', ...serve('near'));
    const address = addressOf(engine, 'neighbour');
    eventually(
      () =>
        engine.docker(['run', '--rm', 'bb:1', 'sh', '-c', get(`${address}:80`).replace('busybox ', '')]).stdout.trim(),
      'near',
    );
    assert.equal(host(engine, get(`${address}:80`)), 'near');
    const gateway = engine.must('inspect', '-f', '{{.NetworkSettings.Networks.bridge.Gateway}}', 'neighbour');
    // A second namespace is the world outside: it knows no way to the containers but through the host.
    const world = `${engine.netns}-world`;
    host(
      engine,
      `ip netns add ${world}; ip link add out0 type veth peer name eth0 netns ${world}
       ip address add 198.51.100.1/24 dev out0; ip link set out0 up
       ip -n ${world} address add 198.51.100.2/24 dev eth0; ip -n ${world} link set eth0 up`,
    );
    const servers = [
      spawn('nsenter', [`--net=/run/netns/${world}`, 'busybox', 'nc', '-ll', '-p', '7000', '-e', 'echo', 'world']),
      spawn('nsenter', [
        `--net=/run/netns/${engine.netns}`,
        'busybox',
        'nc',
        '-ll',
        '-p',
        '7001',
        '-e',
        'echo',
        'host',
      ]),
    ];
    try {
      const ask = (to: string) =>
        engine.docker(['exec', 'neighbour', 'timeout', '3', 'sh', '-c', `nc -w 2 ${to} </dev/null`]).stdout.trim();
      eventually(() => ask('198.51.100.2 7000'), 'world');
      eventually(() => ask(`${gateway} 7001`), 'host');
    } finally {
      for (const server of servers) server.kill();
      host(engine, 'ip link del out0');
      spawnSync('ip', ['netns', 'del', world]);
    }
  });

  same('hosts, host name and resolv.conf are what the flags ask for', (engine) => {
    const run = (...args: string[]) => engine.must('run', '--rm', ...args);
    const hosts = run('-h', 'box', '--add-host', 'db:10.1.2.3', 'bb:1', 'cat', '/etc/hosts');
    assert.match(hosts, /^127\.0\.0\.1\tlocalhost$/m);
    assert.match(hosts, /^10\.1\.2\.3\tdb$/m);
    assert.match(hosts, /^172\.\d+\.\d+\.\d+\tbox$/m);
    assert.equal(run('-h', 'box', 'bb:1', 'cat', '/etc/hostname'), 'box');
    const resolv = run(
      '--dns',
      '192.0.2.53',
      '--dns-search',
      'example.org',
      '--dns-option',
      'ndots:3',
      'bb:1',
      'cat',
      '/etc/resolv.conf',
    );
    assert.match(resolv, /^nameserver 192\.0\.2\.53$/m);
    assert.match(resolv, /^search example\.org$/m);
    assert.match(resolv, /^options ndots:3$/m);
  });

  same('--network container: shares one network, none has only loopback, host is the host', (engine) => {
    engine.must('run', '-d', '--name', 'owner', '-h', 'owner', ...serve('shared'));
    const shared = ['run', '--rm', '--network', 'container:owner', 'bb:1', 'sh', '-c'];
    eventually(() => engine.docker([...shared, get('127.0.0.1:80').replace('busybox ', '')]).stdout.trim(), 'shared');
    assert.equal(engine.must(...shared, 'hostname'), 'owner');
    const links = (network: string) =>
      engine.must('run', '--rm', '--network', network, 'bb:1', 'sh', '-c', 'ls /sys/class/net | sort | tr "\\n" " "');
    assert.equal(links('none'), 'lo');
    assert.match(links('bridge'), /\beth0 lo\b/);
    engine.must('run', '-d', '--name', 'onhost', '--network', 'host', ...serve('onhost', 8090));
    eventually(() => host(engine, get('127.0.0.1:8090')), 'onhost');
    assert.equal(engine.must('port', 'onhost'), '');
    const both = engine.docker(['run', '--rm', '--network', 'container:owner', '-p', '1:1', 'bb:1', 'true']);
    assert.equal(both.status, 125);
  });

  same('--mac-address is the address of the interface and of inspect', (engine) => {
    engine.must('run', '-d', '--name', 'mac', '--mac-address', '02:42:ac:11:00:99', 'bb:1', 'sleep', '60');
    assert.equal(engine.must('exec', 'mac', 'cat', '/sys/class/net/eth0/address'), '02:42:ac:11:00:99');
    assert.equal(
      engine.must('inspect', '-f', '{{.NetworkSettings.Networks.bridge.MacAddress}}', 'mac'),
      '02:42:ac:11:00:99',
    );
  });
});
