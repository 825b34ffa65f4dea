import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfig, type SettingName, settings } from './config.ts';
import { parseDaemonJson, readDaemonJson } from './daemon-json.ts';
import { dockerKeys } from './docker-keys.ts';
import { reloadPlan } from './reload.ts';

const at = '/etc/docker/daemon.json';
const parse = (value: unknown) => parseDaemonJson(JSON.stringify(value), at);

function config(file: unknown, flags: Readonly<Record<string, string>> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'berth-daemon-json-'));
  const path = join(directory, 'daemon.json');
  writeFileSync(path, JSON.stringify(file));
  try {
    return readConfig({ file: undefined, env: {}, flags: { daemonJson: path, ...flags } });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The long flags of `dockerd --help`, 28.5, and the keys of its file that have another name or no flag. */
const flagsOf28 =
  'add-runtime allow-direct-routing authorization-plugin bip bip6 bridge cdi-spec-dir cgroup-parent config-file containerd containerd-namespace containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-root debug default-address-pool default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode default-network-opt default-runtime default-shm-size default-ulimit dns dns-opt dns-search exec-opt exec-root experimental feature fixed-cidr fixed-cidr-v6 group help host host-gateway-ip http-proxy https-proxy icc init init-path insecure-registry ip ip-forward ip-forward-no-drop ip-masq ip6tables iptables ipv6 label live-restore log-driver log-format log-level log-opt max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr mtu network-control-plane-mtu no-new-privileges no-proxy node-generic-resource pidfile raw-logs registry-mirror rootless seccomp-profile selinux-enabled shutdown-timeout storage-driver storage-opt swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify userland-proxy userland-proxy-path userns-remap validate version'.split(
    ' ',
  );
const named: Readonly<Record<string, string>> = {
  'add-runtime': 'runtimes',
  'authorization-plugin': 'authorization-plugins',
  'cdi-spec-dir': 'cdi-spec-dirs',
  'default-address-pool': 'default-address-pools',
  'default-network-opt': 'default-network-opts',
  'default-ulimit': 'default-ulimits',
  'dns-opt': 'dns-opts',
  'exec-opt': 'exec-opts',
  feature: 'features',
  host: 'hosts',
  'host-gateway-ip': 'host-gateway-ips',
  'insecure-registry': 'insecure-registries',
  label: 'labels',
  'log-opt': 'log-opts',
  'node-generic-resource': 'node-generic-resources',
  'registry-mirror': 'registry-mirrors',
  'storage-opt': 'storage-opts',
};
const commandsOnly = ['config-file', 'help', 'validate', 'version'];

test('every key of dockerd 28.5 is in the table, once, and says what becomes of it', () => {
  const keys = dockerKeys.map(({ key }) => key);
  assert.equal(new Set(keys).size, keys.length);
  const missing = flagsOf28
    .filter((flag) => !commandsOnly.includes(flag))
    .map((flag) => named[flag] ?? flag)
    .filter((key) => !keys.includes(key));
  assert.deepEqual(missing, []);
  for (const { key, about, honoured, put } of dockerKeys) {
    assert.ok(about.length > 1, key);
    assert.equal(honoured === 'setting' && put === undefined, false, key);
  }
});

test('a whole file becomes settings, and what does nothing is named with why', () => {
  const file = parse({
    'data-root': '/srv/docker/',
    bip: '10.77.3.1/24',
    'default-address-pools': [
      { base: '10.9.0.0/16', size: 24 },
      { base: 'fd00::/48', size: 64 },
    ],
    'default-ulimits': { nofile: { Name: 'nofile', Soft: 100, Hard: 200 } },
    'default-shm-size': '128M',
    'log-opts': { labels: 'a,b', tag: '{{.Name}}=x' },
    'registry-mirrors': ['https://one', 'https://two'],
    runtimes: { mine: { path: '/usr/bin/mine', runtimeArgs: ['--x'] } },
    proxies: { 'http-proxy': 'http://proxy:3128' },
    'live-restore': false,
    'storage-driver': 'overlay2',
    'storage-opts': ['overlay2.size=10 GiB', 'overlay2.colour=1'],
    'metrics-addr': '127.0.0.1:9323',
    labels: null,
  });
  assert.deepEqual(file.settings, {
    root: '/srv/docker/berth',
    bridgeSubnet: '10.77.3.0/24',
    bridgeGateway: '10.77.3.1',
    defaultAddressPools: ['10.9.0.0/16:24'],
    defaultUlimits: { nofile: '100:200' },
    defaultShmSize: '128M',
    logOptions: { labels: 'a,b', tag: '{{.Name}}=x' },
    registryMirrors: { 'docker.io': 'https://one https://two' },
    runtimes: { mine: '/usr/bin/mine' },
    httpProxy: 'http://proxy:3128',
    containerSize: 10 * 1024 ** 3,
  });
  assert.deepEqual(
    file.unheard.map(({ key }) => key),
    ['default-address-pools', 'runtimes', 'live-restore', 'storage-opts', 'metrics-addr'],
  );
  for (const key of Object.keys(file.settings)) assert.ok(key in settings, key);
});

test('what dockerd refuses is refused: no JSON with its place, keys that are none, values of another form', () => {
  assert.throws(
    () => parseDaemonJson('{\n  "debug": true,\n  "mtu" 5\n}', at),
    /daemon\.json: it is not JSON: line 3, column \d+:/,
  );
  assert.throws(() => parseDaemonJson('{\n  "debug": true', at), /line 2, column \d+/);
  assert.throws(() => parseDaemonJson('[]', at), /not a JSON object/);
  assert.throws(
    () => parse({ zeta: 1, debgu: true }),
    /the following directives don't match any configuration option: debgu, zeta/,
  );
  assert.throws(() => parse({ proxies: { 'ftp-proxy': 'x' } }), /don't match any configuration option: ftp-proxy/);
  assert.throws(() => parse({ mtu: '1500' }), /mtu: expected a whole number, got "1500"/);
  assert.throws(() => parse({ 'log-opts': { 'max-file': 3 } }), /max-file is no text: write "3"/);
  assert.throws(() => parse({ bip: '10.0.0.1' }), /invalid CIDR address: 10\.0\.0\.1/);
  assert.deepEqual(parseDaemonJson('\uFEFF  \n', at).settings, {});
});

test('numbers of transfers, options of networks, and the time to stop', () => {
  const { settings, unheard } = parse({
    'max-concurrent-downloads': 7,
    'max-concurrent-uploads': 0,
    'max-download-attempts': 2,
    'default-network-opts': { bridge: { 'com.docker.network.driver.mtu': '1400' } },
    'host-gateway-ip': '10.9.8.7',
    features: { 'containerd-snapshotter': true },
    'shutdown-timeout': 20,
  });
  assert.deepEqual(settings, {
    maxDownloads: 7,
    downloadAttempts: 2,
    defaultNetworkOptions: { 'bridge:com.docker.network.driver.mtu': '1400' },
    hostGateway: '10.9.8.7',
    shutdownTimeout: 20,
  });
  assert.deepEqual(unheard, []);
  assert.throws(() => parse({ 'max-concurrent-uploads': -1 }), /invalid max concurrent uploads: -1/);
  assert.throws(() => parse({ 'max-download-attempts': 0 }), /invalid max download attempts: 0/);
  assert.throws(() => parse({ 'default-network-opts': { bridge: 'x' } }), /bridge has no options/);
});

test('a file that nobody named need not be there', () => {
  assert.equal(readDaemonJson('/nowhere/daemon.json', { required: false }).found, false);
  assert.throws(() => readDaemonJson('/nowhere/daemon.json', { required: true }), /cannot be read: ENOENT/);
});

test('its settings are checked with its key, stand below ours, and contradict no flag', () => {
  assert.equal(config({ mtu: 1400 }).mtu, 1400);
  assert.throws(() => config({ mtu: 5 }), /daemon\.json: mtu: expected bytes/);
  assert.throws(
    () => config({ debug: false, labels: ['a=b'] }, { labels: 'c=d' }),
    /specified both as a flag and in the configuration file: labels: \(from flag: c=d, from file: \[a=b\]\)/,
  );
});

test("in Docker's place its socket, its file and its pid file are ours, and hosts may say otherwise", () => {
  const plain = readConfig({ file: undefined, env: {}, flags: { asDocker: 'true', daemonJson: '' } });
  assert.deepEqual(plain.hosts, ['unix:///var/run/docker.sock']);
  assert.equal(plain.pidFile, '/var/run/docker.pid');
  const other = config({ hosts: ['unix:///x.sock'], pidfile: '/x.pid' }, { asDocker: 'true' });
  assert.deepEqual([other.hosts, other.pidFile], [['unix:///x.sock'], '/x.pid']);
});

test('a reload takes what can change at once and names the rest', () => {
  const before = config({ labels: ['a=1'], mtu: 1400 });
  const file = {
    ...{ labels: ['a=2'], mtu: 1300, debug: true, features: { x: true } },
    ...{ 'max-concurrent-downloads': 7, 'shutdown-timeout': 20 },
  };
  const next = config(file);
  // Each of the two was read from a folder of its own.
  const plan = reloadPlan({ ...before, daemonJson: next.daemonJson }, next, {
    docker: parse(file),
    name: 'host',
    runtime: 'crun',
  });
  assert.deepEqual(plan.config.labels, ['a=2']);
  assert.equal(plan.config.debug, true);
  assert.equal(plan.config.mtu, 1400);
  assert.deepEqual([plan.config.maxDownloads, plan.config.shutdownTimeout], [7, 20]);
  assert.deepEqual(plan.later, ['mtu'] satisfies SettingName[]);
  const { attributes } = plan;
  assert.equal(attributes['labels'], '["a=2"]');
  assert.equal(attributes['debug'], 'true');
  assert.equal(attributes['max-concurrent-downloads'], '7');
  assert.equal(attributes['max-concurrent-uploads'], '5');
  assert.equal(attributes['features'], 'map[x:true]');
  assert.equal(attributes['default-runtime'], 'crun');
  assert.equal(attributes['live-restore'], 'true');
  assert.equal(attributes['name'], 'host');
});
