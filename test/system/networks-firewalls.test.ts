import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeFirewalls } from '../../src/networks/host-firewalls.ts';
import type { HostNetworks } from '../../src/networks/host-networks.ts';
import { type Container, Lab, port, run, until } from './networks-lab.ts';

describe('networks beside other firewalls', () => {
  let lab: Lab;
  let networks: HostNetworks;
  let web: Container;

  before(async () => {
    lab = new Lab();
    networks = await lab.open({ auditMs: 300 });
    web = await lab.container(networks, [port(80, 8080)]);
    await lab.serve(web, 80);
    await lab.serve({ ...web, path: lab.lanPath }, 7000);
  });
  after(async () => {
    await networks.close(web.id).catch(() => {});
    await networks[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  });

  const fromLan = () => lab.ask(lab.lanPath, lab.hostAddress, 8080);
  const toLan = () => lab.ask(web.path, lab.lanAddress, 7000);
  const ours = () =>
    run('iptables', '-S')
      .split('\n')
      .filter((line) => line.includes('berth-berth0'));

  async function letsThrough() {
    assert.ok(await until(30_000, () => fromLan() !== '' && toLan() !== ''), run('iptables', '-S'));
    assert.equal(fromLan(), `from ${lab.lanAddress}\nping`);
    assert.equal(toLan(), `from ${lab.hostAddress}\nping`);
  }

  test('with a FORWARD policy of DROP', async () => {
    run('iptables', '-P', 'FORWARD', 'DROP');
    await letsThrough();
    assert.deepEqual(await describeFirewalls('berth0'), [
      { name: 'iptables', hook: 'FORWARD', drops: true, accepted: true },
    ]);
    run('iptables', '-P', 'FORWARD', 'ACCEPT');
    assert.ok(await until(30_000, () => ours().length === 0));
  });

  test("networks of one's own are let through by one name, and taken back with the last of them", async () => {
    run('iptables', '-P', 'FORWARD', 'DROP');
    const request = lab.network('lan');
    const named = lab.network('named', { options: { 'com.docker.network.bridge.name': 'mine0' } });
    await Promise.all([request, named, lab.network('lan2')].map((one) => networks.create(one)));
    const all = () => run('iptables', '-S').match(/berth-(berth0|bn-\+|mine0)/g) ?? [];
    for (const network of ['lan', 'named']) {
      const one = await lab.joined(networks, [network], { ports: [port(80, 8085)] });
      await lab.serve(one, 80);
      assert.ok(await until(30_000, () => lab.ask(lab.lanPath, lab.hostAddress, 8085) !== ''), network);
      assert.equal(lab.ask(one.path, lab.lanAddress, 7000), `from ${lab.hostAddress}\nping`);
      await networks.close(one.id);
    }
    assert.deepEqual(new Set(all()), new Set(['berth-berth0', 'berth-bn-+', 'berth-mine0']));
    await networks.remove('lan');
    await networks.remove('named');
    assert.deepEqual(new Set(all()), new Set(['berth-berth0', 'berth-bn-+']));
    await networks.remove('lan2');
    assert.deepEqual(new Set(all()), new Set(['berth-berth0']));
    run('iptables', '-P', 'FORWARD', 'ACCEPT');
    assert.ok(await until(30_000, () => all().length === 0));
  });

  test('with the chains of ufw, and after they were loaded anew', async () => {
    const rules = `*filter
:FORWARD DROP
:ufw-before-forward -
:ufw-user-forward -
:ufw-reject-forward -
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-reject-forward
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
COMMIT
`;
    for (let loading = 0; loading < 2; loading++) {
      execFileSync('iptables-restore', [], { input: rules });
      assert.equal(fromLan(), '', 'its rules do drop');
      await letsThrough();
      assert.equal(ours().length, 2);
      assert.ok(ours().every((rule) => rule.startsWith('-A ufw-user-forward ')));
    }
    run('iptables', '-F');
    run('iptables', '-X');
    run('iptables', '-P', 'FORWARD', 'ACCEPT');
  });

  test('beside dockerd: its containers and ours have their networks, and are closed to each other', {
    skip: !existsSync('/usr/sbin/dockerd'),
  }, async () => {
    await using docker = await Docker.start(lab);
    const serve = ['bb', '/busybox', 'httpd', '-f', '-p', '80', '-h', '/www'];
    docker.cli('run', '-d', '--name', 'theirs', '-p', '8181:80', ...serve);
    docker.cli('run', '-d', '--name', 'unpublished', ...serve);
    const unpublished = docker.cli('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'unpublished').trim();
    const fetch = (namespace: string, address: string, number: number) =>
      spawnSync('nsenter', [`--net=${namespace}`, 'curl', '-s', '-m', '1', `http://${address}:${number}/`], {
        encoding: 'utf8',
      }).stdout;

    // What dockerd does itself where it is the first to turn forwarding on.
    run('iptables', '-P', 'FORWARD', 'DROP');
    await letsThrough();
    assert.ok(await until(30_000, () => fetch(lab.lanPath, lab.hostAddress, 8181) === 'theirs\n'));
    assert.equal(fetch(web.path, lab.hostAddress, 8181), 'theirs\n', 'published by the other');
    assert.ok(await until(30_000, () => fetch(`/proc/${process.pid}/ns/net`, unpublished, 80) !== ''));
    assert.equal(fetch(web.path, unpublished, 80), '', 'not published');
    const pid = docker.cli('inspect', '-f', '{{.State.Pid}}', 'theirs').trim();
    assert.match(lab.ask(`/proc/${pid}/ns/net`, lab.hostAddress, 8080), /ping$/);
    assert.equal(lab.ask(`/proc/${pid}/ns/net`, web.endpoint.address, 80), '');
    const neighbour = await lab.container(networks);
    assert.match(lab.ask(neighbour.path, web.endpoint.address, 80), /ping$/, 'among ours');
    assert.match(lab.ask(neighbour.path, lab.hostAddress, 8080), /ping$/, 'hairpin');
    await networks.close(neighbour.id);

    run('iptables', '-F', 'DOCKER-USER');
    assert.equal(fromLan(), '');
    await letsThrough();

    // Rules that a person put above ours stay above.
    run('iptables', '-I', 'DOCKER-USER', '-s', '203.0.113.7', '-j', 'DROP');
    await sleep(1_000);
    assert.match(run('iptables', '-S', 'DOCKER-USER').split('\n')[1] ?? '', /203\.0\.113\.7/);

    await networks.close(web.id);
    await networks[Symbol.asyncDispose]();
    assert.deepEqual(ours(), []);
    assert.equal(fetch(lab.lanPath, lab.hostAddress, 8181), 'theirs\n');
    docker.cli('rm', '-f', 'theirs');
    networks = await lab.open();
  });
});

/** Debian's dockerd in this namespace, with directories of its own. */
class Docker implements AsyncDisposable {
  readonly #root: string;
  readonly #process: ReturnType<Lab['start']>;

  private constructor(root: string, process: ReturnType<Lab['start']>) {
    this.#root = root;
    this.#process = process;
  }

  static async start(lab: Lab): Promise<Docker> {
    const root = join(lab.root, 'docker');
    mkdirSync(join(root, 'image/www'), { recursive: true });
    const child = lab.start('dockerd', [
      ...['--data-root', join(root, 'data'), '--exec-root', join(root, 'exec'), '--pidfile', join(root, 'pid')],
      ...['-H', `unix://${root}/sock`, '--storage-driver', 'vfs', '--log-level', 'fatal'],
    ]);
    const docker = new Docker(root, child);
    await until(30_000, () => existsSync(join(root, 'sock')) && docker.#succeeds('version'));
    copyFileSync('/usr/bin/busybox', join(root, 'image/busybox'));
    execFileSync('sh', ['-c', 'echo theirs > www/index.html; chmod 755 busybox; tar cf ../image.tar .'], {
      cwd: join(root, 'image'),
    });
    docker.cli('import', join(root, 'image.tar'), 'bb');
    return docker;
  }

  cli(...args: string[]): string {
    return execFileSync('docker', ['-H', `unix://${this.#root}/sock`, ...args], { encoding: 'utf8', timeout: 30_000 });
  }

  #succeeds(...args: string[]): boolean {
    return spawnSync('docker', ['-H', `unix://${this.#root}/sock`, ...args], { timeout: 5_000 }).status === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#succeeds('ps'))
      for (const id of this.cli('ps', '-aq').split('\n').filter(Boolean)) this.cli('rm', '-f', id);
    this.#process.kill('SIGTERM');
    await until(15_000, () => this.#process.exitCode !== null);
    for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n').reverse()) {
      const target = line.split(' ')[1];
      if (target?.startsWith(this.#root)) spawnSync('umount', ['-l', target]);
    }
  }
}
