import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dockerCli, project, startBerth, type TestEngine } from '../lib/engines.ts';

const cli = join(project, 'dist/cli-main.js');
const berth = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  spawnSync(process.execPath, ['--', cli, ...args], {
    env: { PATH: process.env.PATH, ...env },
    encoding: 'utf8',
    timeout: 60_000,
  });

/** A certificate authority and what it signed, as in Docker's documentation. */
function makeKeys(dir: string): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca-key.pem', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=ca');
  for (const [name, extension] of [
    ['server', 'subjectAltName=IP:127.0.0.1'],
    ['client', 'extendedKeyUsage=clientAuth'],
  ] as const) {
    writeFileSync(join(dir, `${name}.ext`), extension);
    openssl('req', ...key, '-keyout', `${name}-key.pem`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const sign = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`];
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...sign);
  }
  mkdirSync(join(dir, 'client'));
  for (const [from, to] of [
    ['ca.pem', 'ca.pem'],
    ['client.pem', 'cert.pem'],
    ['client-key.pem', 'key.pem'],
  ] as const)
    writeFileSync(join(dir, 'client', to), readFileSync(join(dir, from)));
}

describe('further sockets, by the hosts of daemon.json', () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-as-docker-'));
  const at = (name: string) => join(dir, name);
  let engine: TestEngine;
  before(async () => {
    makeKeys(dir);
    const file = {
      hosts: [`unix://${at('docker.sock')}`, 'tcp://127.0.0.1:2376'],
      ...{ tlsverify: true, tlscacert: at('ca.pem'), tlscert: at('server.pem'), tlskey: at('server-key.pem') },
      pidfile: at('docker.pid'),
      group: '0',
    };
    writeFileSync(at('daemon.json'), JSON.stringify(file));
    engine = await startBerth({ flags: ['--daemon-json', at('daemon.json')] });
  });
  after(async () => {
    await engine?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });
  const inside = (args: readonly string[], env: NodeJS.ProcessEnv) =>
    spawnSync('nsenter', [`--net=/run/netns/${engine.netns}`, ...args], {
      env: { PATH: process.env.PATH, DOCKER_CONFIG: at('config'), ...env },
      encoding: 'utf8',
      timeout: 60_000,
    });
  const tcp = { DOCKER_HOST: 'tcp://127.0.0.1:2376', DOCKER_TLS_VERIFY: '1' };

  test("docker speaks to the engine by its usual socket's other path, which the group may use", () => {
    const facts = statSync(at('docker.sock'));
    assert.equal(facts.mode & 0o777, 0o660);
    const ps = spawnSync(dockerCli(), ['-H', `unix://${at('docker.sock')}`, 'info', '-f', '{{.ID}}'], {
      encoding: 'utf8',
    });
    assert.equal(ps.stdout.trim(), engine.must('info', '-f', '{{.ID}}'));
    assert.equal(readFileSync(at('docker.pid'), 'utf8'), String(engine.pid));
  });

  test('a port is for those with a certificate', () => {
    const known = inside([dockerCli(), 'info', '-f', '{{.ID}}'], { ...tcp, DOCKER_CERT_PATH: at('client') });
    assert.equal(known.stdout.trim(), engine.must('info', '-f', '{{.ID}}'), known.stderr);
    const ours = inside([process.execPath, '--', cli, 'version'], {
      BERTH_HOST: 'tcp://127.0.0.1:2376',
      BERTH_CERT_PATH: at('client'),
    });
    assert.match(ours.stdout, /engine {2}.*API/, ours.stderr);
    const unknown = inside(['curl', '-sk', '--max-time', '20', 'https://127.0.0.1:2376/_ping'], {});
    assert.notEqual(unknown.status, 0);
    assert.equal(unknown.stdout, '');
    assert.equal(inside(['curl', '-s', '--max-time', '20', 'http://127.0.0.1:2376/_ping'], {}).stdout, '');
  });

  test('the sockets and the pid file go with the engine, and come back after a crash', async () => {
    await engine.kill();
    await engine.restart();
    assert.equal(readFileSync(at('docker.pid'), 'utf8'), String(engine.pid));
    await engine.stop();
    assert.equal(existsSync(at('docker.pid')), false);
    assert.equal(existsSync(at('docker.sock')), false);
    await engine.restart();
  });
});

test('a socket that the service manager opened is served as fd://', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-activated-'));
  const socket = join(dir, 'activated.sock');
  // It waits for the first client, then becomes the engine, with the socket as descriptor 3.
  const engine = spawn(
    'systemd-socket-activate',
    [
      ...['-l', socket, process.execPath, join(project, 'dist/daemon-main.js'), '--hosts', 'fd://', '--socket'],
      ...[join(dir, 'own.sock'), '--root', join(dir, 'root'), '--run-dir', join(dir, 'run')],
      ...['--bridge', 'berthact0', '--cgroup-parent', `/bt-activated-${process.pid}`, '--group', ''],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  engine.stderr.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  try {
    const deadline = Date.now() + 60_000;
    while (!existsSync(socket) && Date.now() < deadline) await sleep(50);
    const version = spawnSync(dockerCli(), ['-H', `unix://${socket}`, 'version', '-f', '{{.Server.Version}}'], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.equal(version.status, 0, version.stderr + said);
  } finally {
    const ended = new Promise((resolve) => engine.once('exit', resolve));
    engine.kill('SIGTERM');
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
});

describe('berth engine install below another root', () => {
  const root = mkdtempSync(join(tmpdir(), 'berth-destdir-'));
  after(() => rmSync(root, { recursive: true, force: true }));
  const units = ['berth.service', 'berth.socket'].map((name) => join(root, 'etc/systemd/system', name));

  test('a plan is shown, and with --dry-run nothing is done', () => {
    const plan = berth(['engine', 'install', '--as-docker', '--destdir', root, '--dry-run']);
    assert.equal(plan.status, 0, plan.stderr);
    assert.match(plan.stdout, /write \/etc\/systemd\/system\/berth\.socket/);
    for (const unit of units) assert.equal(existsSync(unit), false);
  });

  test('the units are there, and systemd takes them', () => {
    const done = berth(['engine', 'install', '--as-docker', '--destdir', root]);
    assert.equal(done.status, 0, done.stderr);
    for (const unit of units) assert.ok(existsSync(unit));
    const checked = spawnSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8' });
    if (!checked.error) assert.doesNotMatch(checked.stderr, /berth\.(service|socket):\d+:/);
  });

  test('uninstall takes them away, and a second time has nothing to do', () => {
    assert.equal(berth(['engine', 'uninstall', '--destdir', root]).status, 0);
    for (const unit of units) assert.equal(existsSync(unit), false);
    assert.match(berth(['engine', 'uninstall', '--destdir', root]).stdout, /nothing is installed/);
    assert.match(berth(['engine', 'install', '--replace', '--destdir', root]).stderr, /belongs to install --as-docker/);
  });
});

test('start --validate says what is wrong with the file and starts nothing', () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-validate-'));
  const file = join(dir, 'daemon.json');
  const validate = (content: string) => {
    writeFileSync(file, content);
    return berth(['engine', 'start', '--validate', '--daemon-json', file, '--root', join(dir, 'root')]);
  };
  try {
    assert.equal(validate('{"debug": true}').stdout, 'configuration OK\n');
    const unknown = validate('{"debgu": true}');
    assert.notEqual(unknown.status, 0);
    assert.match(unknown.stderr, /the following directives don't match any configuration option: debgu/);
    assert.match(validate('{"debug": true,}').stderr, /line 1, column \d+/);
    assert.equal(existsSync(join(dir, 'root')), false);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
