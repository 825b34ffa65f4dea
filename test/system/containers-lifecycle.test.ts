/** Containers on the real rooms below: snapshots, networks, runtime, volumes, images, database. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { Composed, ownNetwork } from '../lib/engine.ts';

let composed: Composed;

before(async () => {
  ownNetwork();
  composed = await Composed.open();
  await composed.load({ name: 'bb:latest' });
  await composed.load({
    name: 'vol:latest',
    files: { 'data/file': 'from the image', 'data/sub/deep': 'deep' },
    config: {
      Volumes: { '/data': {} },
      User: 'web',
      WorkingDir: '/home/app',
      Env: ['PATH=/bin', 'A=image'],
      Entrypoint: ['/bin/sh', '-c'],
    },
  });
});
after(async () => {
  await composed[Symbol.asyncDispose]();
});

const all = { stdin: true, stdout: true, stderr: true, logs: false, stream: true, detachKeys: undefined };
const gone = { force: true, volumes: true, link: false };
const gentle = { timeout: undefined, signal: undefined };

/** The payloads of frames, by stream. */
function split(bytes: Buffer): { out: string; err: string } {
  const found = { out: '', err: '' };
  for (let from = 0; from < bytes.length; ) {
    const length = bytes.readUInt32BE(from + 4);
    found[bytes[from] === 2 ? 'err' : 'out'] += bytes.toString('utf8', from + 8, from + 8 + length);
    from += 8 + length;
  }
  return found;
}

async function run(body: Readonly<Record<string, unknown>>, input = '') {
  const { containers } = composed;
  const { id } = await containers.create('', composed.request(body), undefined);
  const stream = await containers.attach(id, all);
  const ended = containers.wait(id, 'next-exit').result;
  stream.end(input);
  await containers.start(id);
  const chunks = (await stream.toArray()) as Buffer[];
  const { code } = await ended;
  return {
    id,
    code,
    raw: Buffer.concat(chunks),
    ...(body['Tty'] ? { out: '', err: '' } : split(Buffer.concat(chunks))),
  };
}

async function logs(id: string, options: Record<string, unknown> = {}) {
  const chunks: Buffer[] = [];
  const asked = {
    follow: false,
    stdout: true,
    stderr: true,
    since: undefined,
    until: undefined,
    timestamps: false,
    details: false,
    tail: undefined,
  };
  for await (const chunk of composed.containers.logs(id, { ...asked, signal: AbortSignal.timeout(10_000), ...options }))
    chunks.push(chunk);
  return split(Buffer.concat(chunks));
}

test("output, exit code, name, hosts, user, environment and working directory are the container's own", async () => {
  const { id, code, out, err } = await run({
    Cmd: ['sh', '-c', 'hostname; id -u; pwd; echo $A; cat /etc/hosts; echo oops >&2; exit 3'],
    WorkingDir: '/made/here',
    Env: ['A=1'],
    User: 'web',
  });
  assert.equal(code, 3);
  assert.match(out, new RegExp(`^${id.slice(0, 12)}\n1000\n/made/here\n1\n`));
  assert.match(out, new RegExp(`\t${id.slice(0, 12)}\n$`));
  assert.equal(err, 'oops\n');
  const log = await logs(id);
  assert.deepEqual([log.out, log.err], [out, err]);
  assert.match((await logs(id, { tail: 2, stderr: false })).out, new RegExp(`\\t${id.slice(0, 12)}\n$`));
  await composed.containers.remove(id, gone);
});

test('output is never cut: everything arrives before the end, and before the exit is known', async () => {
  const { code, out } = await run({
    Cmd: ['sh', '-c', 'i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done'],
  });
  assert.equal(code, 0);
  assert.equal(out.split('\n').length, 20_001);
});

test('stdin: what was written before the start arrives, half-close ends it', async () => {
  const input = 'x'.repeat(300_000);
  const { code, out } = await run({ Cmd: ['cat'], OpenStdin: true, StdinOnce: true }, input);
  assert.equal(code, 0);
  assert.equal(out.length, input.length);
});

test('a terminal gives raw bytes and has its size', async () => {
  const { raw } = await run({
    Cmd: ['sh', '-c', 'stty size; tty'],
    Tty: true,
    OpenStdin: true,
    HostConfig: { ConsoleSize: [40, 100] },
  });
  assert.match(raw.toString(), /^40 100\r\n\/dev\/pts\/0\r\n$/);
});

test('a command that is not there: 127, 126 for one that may not be run, and nothing left', async () => {
  const { containers } = composed;
  for (const [Cmd, exitCode, words] of [
    [['nosuch'], 127, /exec: "nosuch": executable file not found in \$PATH/],
    [['/etc/passwd'], 126, /permission denied/],
  ] as const) {
    const { id } = await containers.create('', composed.request({ Cmd }), undefined);
    await assert.rejects(containers.start(id), { message: words });
    const { state } = containers.get(id);
    assert.deepEqual([state.status, state.exitCode], ['created', exitCode]);
    assert.match(state.error, words);
    assert.equal(existsSync(join(composed.runDir, 'containers', id)), false);
    await containers.remove(id, gone);
  }
});

test('a working directory that is a file, and an unknown user, are refused clearly', async () => {
  const { containers } = composed;
  const file = await containers.create('', composed.request({ Cmd: ['true'], WorkingDir: '/etc/passwd' }), undefined);
  await assert.rejects(containers.start(file.id), {
    kind: 'invalid',
    message: 'Cannot mkdir: /etc/passwd is not a directory',
  });
  const user = await containers.create('', composed.request({ Cmd: ['true'], User: 'nobody-here' }), undefined);
  await assert.rejects(containers.start(user.id), {
    kind: 'invalid',
    message: 'unable to find user nobody-here: no matching entries in passwd file',
  });
  for (const { id } of [file, user]) await containers.remove(id, gone);
});

test("an image's volume is filled from it, and goes with rm -v; its defaults are merged", async () => {
  const { containers } = composed;
  const { id, out } = await run({
    Image: 'vol:latest',
    Cmd: ['cat /data/file /data/sub/deep; echo; id -un; pwd; echo $A; touch /data/x; ls /data'],
  });
  assert.equal(out, 'from the imagedeep\nweb\n/home/app\nimage\nfile\nsub\n');
  assert.equal(composed.engine.volumes.list().length, 1);
  assert.equal(containers.get(id).mounts[0]?.Type, 'volume');
  await containers.remove(id, gone);
  await containers.idle();
  assert.deepEqual(composed.engine.volumes.list(), []);
});

test('S02 a volume at a link of the image is filled from inside the image only', async () => {
  await composed.load({ name: 'trap:latest', files: { 'etc/motd': "the image's own" }, config: {} });
  const { out } = await run({
    Image: 'trap:latest',
    Cmd: ['cat', '/var/../etc/motd'],
    HostConfig: { Binds: ['trapped:/etc'] },
  });
  assert.equal(out, "the image's own");
});

test('exec: output, exit code, environment, and a missing command in the stream', async () => {
  const { containers } = composed;
  const { id } = await containers.create('host', composed.request({ Cmd: ['sleep', '100'], Env: ['A=1'] }), undefined);
  await containers.start(id);
  const asked = {
    Cmd: ['sh', '-c', 'echo $A$B; cat; exit 5'],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    Detach: false,
    DetachKeys: '',
    Env: ['B=2'],
    User: '',
    WorkingDir: '/tmp',
    Privileged: false,
    ConsoleSize: undefined,
  };
  const exec = await containers.execCreate('host', asked);
  const stream = (await containers.execStart(exec, { detach: false, tty: false, size: undefined }))!;
  stream.end('typed');
  assert.equal(split(Buffer.concat(await stream.toArray())).out, '12\ntyped');
  assert.equal(containers.execInspect(exec).exitCode, 5);
  const missing = await containers.execCreate('host', { ...asked, Cmd: ['nosuch'] });
  const told = (await containers.execStart(missing, { detach: false, tty: false, size: undefined }))!;
  assert.match(
    split(Buffer.concat(await told.toArray())).out,
    /^OCI runtime exec failed: .*exec: "nosuch": executable file not found in \$PATH.*\r\n$/,
  );
  assert.equal(containers.execInspect(missing).exitCode, 127);
  const { Titles, Processes } = await containers.top('host', '');
  assert.equal(Processes.length, 1, JSON.stringify(Processes));
  assert.match(Processes[0]![Titles.indexOf('CMD')]!, /sleep 100/);
  await containers.remove('host', gone);
});

test('stop sends the signal and kills after the timeout; pause freezes', async () => {
  const { containers } = composed;
  const trap = { Cmd: ['sh', '-c', 'trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.05; done'] };
  const polite = await containers.create('polite', composed.request(trap), undefined);
  await containers.start('polite');
  for await (const _ of containers.logs('polite', {
    follow: true,
    stdout: true,
    stderr: true,
    since: undefined,
    until: undefined,
    timestamps: false,
    details: false,
    tail: undefined,
    signal: AbortSignal.timeout(5000),
  }))
    break;
  await containers.pause('polite');
  assert.equal(containers.get('polite').state.status, 'paused');
  await containers.unpause('polite');
  await containers.stop('polite', gentle);
  assert.equal(containers.get('polite').state.exitCode, 9);
  assert.equal((await logs(polite.id)).out, 'ready\nbye\n');

  await containers.create(
    'deaf',
    composed.request({ Cmd: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'] }),
    undefined,
  );
  await containers.start('deaf');
  await containers.stop('deaf', { timeout: 0, signal: undefined });
  assert.equal(containers.get('deaf').state.exitCode, 137);
  for (const name of ['polite', 'deaf']) await containers.remove(name, gone);
});

test('namespaces of another container: network with its files, process IDs, shared memory', async () => {
  const { containers } = composed;
  await containers.create(
    'donor',
    composed.request({ Cmd: ['sh', '-c', 'echo hi > /dev/shm/x; sleep 100'], HostConfig: { IpcMode: 'shareable' } }),
    undefined,
  );
  await assert.rejects(run({ Cmd: ['true'], HostConfig: { NetworkMode: 'container:donor' } }), {
    kind: 'conflict',
    message: 'cannot join network namespace of a non running container: container donor is created',
  });
  await containers.start('donor');
  const { out } = await run({
    Cmd: [
      'sh',
      '-c',
      'sleep 0.1; hostname; cat /dev/shm/x; ps | grep -c "[s]leep 100"; ip -o address show eth0 | grep -c inet',
    ],
    HostConfig: { NetworkMode: 'container:donor', PidMode: 'container:donor', IpcMode: 'container:donor' },
  });
  assert.match(out, /\nhi\n[1-9]\n1\n$/);
  await containers.remove('donor', gone);
});

test('a published port answers, and is free again when the wait is over', async () => {
  const { containers } = composed;
  for (let round = 0; round < 2; round++) {
    await containers.create(
      'web',
      composed.request({
        Cmd: ['sh', '-c', 'echo hello | nc -l -p 80'],
        ExposedPorts: { '80/tcp': {} },
        HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '18080' }] }, AutoRemove: true },
      }),
      undefined,
    );
    const removed = containers.wait('web', 'removed').result;
    await containers.start('web');
    assert.equal(containers.get('web').attached[0]?.ports[0]?.hostPort, 18080);
    let said = '';
    for (let tries = 0; said === '' && tries < 50; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      said = await text(connect(18080, '127.0.0.1')).catch(() => '');
    }
    assert.equal(said, 'hello\n');
    await removed;
  }
});

test('R01 an engine that comes back adopts what runs: exit code, logs, attach, stop', async () => {
  const { containers } = composed;
  const { id } = await containers.create(
    'stays',
    composed.request({ Cmd: ['sh', '-c', 'echo one; sleep 1000 & read line; echo $line; wait'], OpenStdin: true }),
    undefined,
  );
  await containers.create('leaves', composed.request({ Cmd: ['sh', '-c', 'sleep 0.3; exit 6'] }), undefined);
  await containers.create('never', composed.request({ Cmd: ['true'] }), undefined);
  await containers.start('stays');
  await containers.start('leaves');
  const before = containers.get('stays');
  await composed.stop();
  await new Promise((resolve) => setTimeout(resolve, 700));
  await composed.start();
  const again = composed.containers;
  assert.notEqual(again, containers);
  const { state, attached, name } = again.get(id);
  assert.deepEqual([state.status, state.pid, attached, name], ['running', before.state.pid, before.attached, 'stays']);
  assert.deepEqual([again.get('leaves').state.status, again.get('leaves').state.exitCode], ['exited', 6]);
  assert.equal(again.get('never').state.status, 'created');
  const stream = await again.attach('stays', all);
  stream.write('still here\n');
  let out = '';
  for await (const chunk of stream) {
    out += chunk;
    if (out.includes('still here')) break;
  }
  assert.match((await logs(id)).out, /^one\nstill here\n$/);
  await again.stop('stays', { timeout: 0, signal: undefined });
  for (const each of ['stays', 'leaves', 'never']) await again.remove(each, gone);
});

test('nothing is left of containers that are gone', async () => {
  const { containers } = composed;
  for (const { id } of containers.list()) await containers.remove(id, gone);
  await containers.idle();
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  assert.deepEqual(readdirSync(join(composed.runDir, 'containers')), []);
  assert.deepEqual(readdirSync(join(composed.base, 'root/containers')), []);
  assert.equal(mounts.includes(`${composed.runDir}/containers`), false);
  assert.equal(composed.engine.networks.get('bridge').endpoints.length, 0);
  const cgroup = `/sys/fs/cgroup/pids/berth-test-${process.pid}`;
  assert.deepEqual(
    existsSync(cgroup) ? readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory()) : [],
    [],
  );
  const complaints = composed.lines.filter((line) => / (warn|error) /.test(line));
  assert.deepEqual(complaints, []);
});
