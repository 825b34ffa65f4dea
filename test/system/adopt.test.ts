import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { type ReferenceName, startBerth, startReference, type TestEngine } from '../lib/engines.ts';

const address = '10.77.9.9';
const mac = '02:42:0a:4d:09:63';

interface Plan {
  readonly steps: readonly {
    readonly kind: string;
    readonly name: string;
    readonly action: string;
    readonly why?: string;
  }[];
}
interface Facts {
  readonly Id: string;
  readonly Created: string;
  readonly State: { readonly Status: string; readonly ExitCode: number };
  readonly HostConfig: Readonly<Record<string, unknown>>;
  readonly Mounts: readonly { readonly Name: string; readonly Destination: string }[];
}

/** Odd files: a hole, two names of one, a link to nowhere, other owners, attributes, a pipe, a name that is no UTF-8. */
const oddFiles = [
  'cd /data; umask 0',
  'echo same >a; ln a b; ln -s /nowhere link; chown 12:34 a; chmod 4711 a',
  'truncate -s 40M hole; echo end >>hole; mkfifo -m 600 pipe; mkdir -m 1777 sticky',
  "echo x >\"$(printf 'n\\377me')\"; touch -d '2001-02-03 04:05:06' a",
].join('\n');

/** Names, kinds, modes, owners, times (that of the last change too), sizes, links, contents. */
function everythingOf(folder: string): string {
  const script = `cd "$1" && find . -printf '%p %y %m %U %G %T@ %C@ %s %n %l\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum`;
  return execFileSync('sh', ['-c', script, 'sh', folder], { encoding: 'latin1', maxBuffer: 256 * 1024 * 1024 });
}

/** Of a volume: what a copy has to keep, with attributes. */
function copyOf(folder: string): string {
  const script = `cd "$1" && find . \\( -type d -printf '%P %y %m %U %G %T@\\n' -o -printf '%P %y %m %U %G %T@ %s %n %l\\n' \\) | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum `;
  const attributes = execFileSync(
    'python3',
    ['-c', 'import os, sys; print(os.listxattr(sys.argv[1]))', join(folder, 'a')],
    { encoding: 'utf8' },
  );
  return attributes + execFileSync('sh', ['-c', script, 'sh', folder], { encoding: 'latin1' });
}

const inspect = (engine: TestEngine, name: string) => JSON.parse(engine.must('inspect', name))[0] as Facts;

/** What is left of it is a data root, once it is stopped. */
async function prepared(which: ReferenceName): Promise<TestEngine | undefined> {
  const docker = await startReference(which);
  if (!docker) return undefined;
  try {
    await fill(docker);
    return docker;
  } catch (error) {
    await docker[Symbol.asyncDispose]();
    throw error;
  }
}

async function fill(docker: TestEngine): Promise<void> {
  const must = (...args: string[]) => docker.must(...args);
  must('load', '-q', '-i', busyboxArchive({ name: 'bb:1', files: { 'etc/gone': 'x', 'etc/kept': 'y' } }));
  must('run', '--name', 'maker', 'bb:1', 'sh', '-c', 'rm /etc/gone; mkdir -p /srv/deep; echo made >/srv/deep/file');
  must('commit', '-c', 'ENV MADE=1', 'maker', 'made:1');
  must('rm', 'maker');
  must('volume', 'create', '--label', 'kind=odd', 'data');
  must('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=1m', 'memory');
  must('network', 'create', '--subnet', '10.77.9.0/24', '--gateway', '10.77.9.254', '--label', 'a=b', 'front');
  const script = `${oddFiles}\necho own >/anonymous/f; echo changed >/etc/kept; rm -r /srv/deep`;
  // In a version in which a MAC address is the container's: as old clients ask for it.
  const { status, body } = await docker.api('POST', '/v1.41/containers/create?name=web', {
    ...{ Image: 'made:1', Hostname: 'here', StopTimeout: 1, MacAddress: mac, Volumes: { '/anonymous': {} } },
    Cmd: ['sh', '-c', `${script}; echo first; echo second >&2; exec sleep 100000`],
    HostConfig: { NetworkMode: 'front', Binds: ['data:/data'], RestartPolicy: { Name: 'always' } },
    NetworkingConfig: { EndpointsConfig: { front: { IPAMConfig: { IPv4Address: address }, Aliases: ['alias'] } } },
  });
  assert.equal(status, 201, body);
  must('start', 'web');
  const health = ['--health-cmd', 'true', '--health-interval', '1h'];
  must(
    'run',
    '--name',
    'plain',
    '-d',
    '--stop-timeout',
    '1',
    ...health,
    '--volumes-from',
    'web',
    'bb:1',
    'sleep',
    '100000',
  );
  docker.docker(['run', '--name', 'failed', 'bb:1', 'sh', '-c', 'echo bye; exit 3']);
  must('create', '--name', 'fresh', '-v', 'memory:/m', 'bb:1', 'true');
  // The last lines that it writes, before anything is stopped.
  const said = () => docker.docker(['logs', 'web']);
  for (let round = 0; round < 200 && !(said().stderr.includes('second') && said().stdout.includes('first')); round++)
    await sleep(50);
  const file = join(docker.dir, 'root/volumes/data/_data/a');
  execFileSync('python3', ['-c', 'import os, sys; os.setxattr(sys.argv[1], "user.mine", b"kept")', file]);
}

/** Ends the engine in the middle: as soon as it begins with the first volume, with the images done. */
async function killedInTheMiddle(engine: TestEngine, body: object): Promise<void> {
  await new Promise<void>((resolve) => {
    const headers = { 'Content-Type': 'application/json' };
    const sent = request({ socketPath: engine.socket, method: 'POST', path: '/adopt/docker', headers }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('"volumes data"')) void engine.kill();
      });
      response.on('error', () => {});
      response.on('close', resolve);
    });
    sent.on('error', () => resolve());
    sent.end(JSON.stringify(body));
  });
  await engine.kill();
}

describe('berth adopt docker', () => {
  test('takes all of a stopped Docker, also when it is killed in between, and changes nothing of it', async (t) => {
    await using docker = await prepared('debian');
    if (!docker) return t.skip('docker (debian) cannot be had here');
    const root = join(docker.dir, 'root');
    await using engine = await startBerth();
    const berth = new BerthCli(engine);
    const refused = berth.run(['adopt', 'docker', '--from', root, '--plan']);
    assert.match(refused.stderr, /Docker is using .*\(pid \d+\)/);

    const names = ['web', 'plain', 'failed', 'fresh'];
    const before = new Map(names.map((name) => [name, inspect(docker, name)]));
    const logs = new Map(names.map((name) => [name, docker.docker(['logs', '-t', name])]));
    const network = JSON.parse(docker.must('network', 'inspect', 'front'))[0];
    const tagged = JSON.parse(docker.must('image', 'inspect', 'made:1'))[0];
    assert.equal(await docker.stop(), 0);
    const original = everythingOf(root);

    const plan = berth.json<Plan & { readonly fingerprint: string }>(
      'adopt',
      'docker',
      '--from',
      root,
      '--plan',
      '--json',
    );
    const steps = plan.steps.map(({ kind, name, action }) => `${action} ${kind} ${name}`);
    assert.deepEqual(steps.filter((step) => !/ [0-9a-f]{12}$/.test(step)).sort(), [
      ...['take containers failed', 'take containers fresh', 'take containers plain', 'take containers web'],
      ...['take images bb:1', 'take images made:1', 'take networks front'],
      ...['take volumes data', 'take volumes memory'],
    ]);
    const unasked = berth.run(['adopt', 'docker', '--from', root]);
    assert.deepEqual([unasked.status, /there is nobody to ask/.test(unasked.stderr)], [125, true]);
    const { status, body } = await engine.api('POST', '/adopt/docker', {
      From: root,
      Only: ['images'],
      Fingerprint: plan.fingerprint,
    });
    assert.equal(status, 409, body);

    await killedInTheMiddle(engine, { From: root, Only: [], Fingerprint: plan.fingerprint });
    await engine.restart();
    assert.match(berth.must('adopt', 'ls'), /was cut short/);
    // It is there whole, or nothing of it is.
    const volumes = readdirSync(join(engine.dir, 'root/volumes'));
    assert.deepEqual(
      volumes.filter((name) => name.startsWith('.')),
      [],
    );
    assert.equal(volumes.includes('data'), engine.must('volume', 'ls', '-q').includes('data'));
    const rest = berth.json<Plan>('adopt', 'docker', '--from', root, '--plan', '--json');
    assert.ok(rest.steps.some(({ name, action }) => name === 'made:1' && action === 'here'));
    berth.must('adopt', 'docker', '--from', root, '--yes');
    assert.doesNotMatch(berth.must('adopt', 'ls'), /was cut short/);
    assert.match(berth.must('adopt', 'docker', '--from', root), /nothing to take/);

    for (const name of names) {
      const [old, now] = [before.get(name)!, inspect(engine, name)];
      assert.deepEqual([now.Id, now.Created, askedOf(now)], [old.Id, old.Created, askedOf(old)]);
      assert.equal(now.State.Status, name === 'fresh' ? 'created' : 'exited');
      assert.deepEqual(now.Mounts.map(({ Name }) => Name).sort(), old.Mounts.map(({ Name }) => Name).sort());
      const said = engine.docker(['logs', '-t', name]);
      assert.deepEqual([said.stdout, said.stderr], [logs.get(name)!.stdout, logs.get(name)!.stderr]);
    }
    assert.equal(inspect(engine, 'failed').State.ExitCode, 3);
    const here = JSON.parse(engine.must('network', 'inspect', 'front'))[0];
    for (const key of ['Id', 'Name', 'Created', 'Labels', 'Internal', 'EnableIPv6', 'Options'])
      assert.deepEqual(here[key], network[key], key);
    assert.deepEqual(here.IPAM.Config, network.IPAM.Config);
    const image = JSON.parse(engine.must('image', 'inspect', 'made:1'))[0];
    assert.deepEqual(image.RootFS.Layers, tagged.RootFS.Layers);
    assert.ok(image.Config.Env.includes('MADE=1'));
    assert.equal(copyOf(join(engine.dir, 'root/volumes/data/_data')), copyOf(join(root, 'volumes/data/_data')));
    const blocks = (path: string) => Number(execFileSync('stat', ['-c', '%b', path], { encoding: 'utf8' }));
    assert.ok(blocks(join(engine.dir, 'root/volumes/data/_data/hole')) < 2048, 'the hole was filled');

    // A start of the engine starts none of them, whatever their restart policies say; somebody does.
    await engine.stop();
    await engine.restart();
    assert.equal(inspect(engine, 'web').State.Status, 'exited');
    engine.must('start', 'web');
    const shell = (script: string) => engine.must('exec', 'web', 'sh', '-c', script);
    assert.equal(
      shell('cat /etc/kept; ls /srv /etc/gone 2>/dev/null; cat /data/a /anonymous/f; hostname'),
      'changed\n/srv:\nsame\nown\nhere',
    );
    assert.match(shell('ip addr show eth0'), new RegExp(`link/ether ${mac}[^]*inet ${address}/24`));
    assert.match(engine.docker(['logs', 'web']).stdout, /^first\n/);
    assert.ok(everythingOf(root) === original, 'the data root of Docker was changed');

    // What was used stays, with what it needs; the rest goes.
    const undone = berth.json<Plan['steps']>('adopt', 'undo', '--plan', '--json');
    const stays = undone.filter(({ action }) => action === 'stay').map(({ name }) => name);
    assert.deepEqual(stays.filter((name) => !/^[0-9a-f]{12}$/.test(name)).sort(), ['data', 'front', 'made:1', 'web']);
    berth.must('adopt', 'undo', '--yes');
    assert.deepEqual(engine.must('ps', '-a', '--format', '{{.Names}}'), 'web');
    assert.deepEqual(engine.must('images', '--format', '{{.Repository}}'), 'made');
    engine.must('rm', '-f', 'web');
    // Written by the container before: it is another volume now than the one that was adopted, and the user's to remove.
    engine.must('volume', 'rm', 'data');
    berth.must('adopt', 'undo', '--yes');
    assert.equal(engine.must('images', '-q'), '');
    assert.equal(engine.must('network', 'ls', '-q', '--filter', 'type=custom'), '');
    assert.ok(everythingOf(root) === original, 'the data root of Docker was changed by the undo');
  });

  test('takes what a newer Docker left, and starts what ran', async (t) => {
    await using docker = await prepared('newest');
    if (!docker) return t.skip('docker (newest) cannot be had here');
    const root = join(docker.dir, 'root');
    const { stdout } = docker.docker(['logs', '-t', 'web']);
    await using engine = await startBerth();
    const berth = new BerthCli(engine);
    // Its containers run on when it is killed: they are not taken, whatever is taken else.
    await docker.kill();
    const { steps } = berth.json<Plan>('adopt', 'docker', '--from', root, '--plan', '--json');
    const left = steps.filter(({ action, why }) => action === 'leave' && /still runs \(pid \d+\)/.test(why ?? ''));
    assert.deepEqual(left.map(({ name }) => name).sort(), ['plain', 'web']);
    await docker.restart();
    assert.equal(await docker.stop(), 0);
    const original = everythingOf(root);
    berth.must('adopt', 'docker', '--from', root, '--start', '--yes');
    assert.equal(inspect(engine, 'web').State.Status, 'running');
    assert.ok(engine.docker(['logs', '-t', 'web']).stdout.startsWith(stdout));
    assert.match(
      engine.must('exec', 'web', 'sh', '-c', 'ip addr show eth0; cat /etc/kept'),
      new RegExp(`${address}/24[^]*changed`),
    );
    assert.ok(everythingOf(root) === original, 'the data root of Docker was changed');
    assert.match(readFileSync(join(engine.dir, 'root/volumes/data/_data/a'), 'utf8'), /same/);
    engine.must('rm', '-f', 'web', 'plain');
    engine.must('network', 'rm', 'front');
  });
});

/** What was asked for; the rest an engine fills in by itself. */
function askedOf({ HostConfig }: Facts): object {
  const keys = ['Binds', 'RestartPolicy', 'VolumesFrom', 'AutoRemove', 'Privileged', 'LogConfig'] as const;
  return Object.fromEntries(keys.map((key) => [key, HostConfig[key]]));
}
