import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import Docker from 'dockerode';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';
import { tar } from '../lib/images.ts';

/** Calls of dockerode as its users make them: streams that are taken over, errors with a status, progress, promises. */

const client = (engine: TestEngine) => new Docker({ socketPath: engine.socket });

/** Output of both streams, taken apart by the client. */
async function demultiplexed(docker: Docker, stream: NodeJS.ReadableStream): Promise<[string, string]> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.once('end', () => {
    out.end();
    err.end();
  });
  return Promise.all([text(out), text(err)]);
}

function failure(call: Promise<unknown>): Promise<[number | undefined, string]> {
  return call.then(
    () => [0, 'no error'],
    ({ statusCode, json, reason }: { statusCode?: number; json?: { message?: string }; reason?: string }) => [
      statusCode,
      (json?.message ?? reason ?? '').replace(/[0-9a-f]{64}/g, 'ID'),
    ],
  );
}

async function untilSaid(stream: Readable, wanted: RegExp): Promise<void> {
  let got = '';
  for await (const chunk of stream) {
    got += chunk;
    if (wanted.test(got)) return;
  }
  assert.fail(`${got} is not ${wanted}`);
}

onBothEngines('dockerode', {}, ({ same }) => {
  same('create, attach with input, start, wait, logs, inspect, remove', async (engine) => {
    const docker = client(engine);
    const container = await docker.createContainer({
      name: 'ode',
      Image: 'bb:1',
      Cmd: ['sh', '-c', 'read line; echo "got $line"; sleep 0.3; echo err >&2; exit 4'],
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
      Labels: { tier: 'web' },
      HostConfig: { Memory: 64 << 20, Binds: ['odevol:/data'] },
    });
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    const output = demultiplexed(docker, stream);
    await container.start();
    stream.write('hello\n');
    stream.end();
    assert.deepEqual(await container.wait(), { StatusCode: 4 });
    assert.deepEqual(await output, ['got hello\n', 'err\n']);
    const { State, HostConfig, Config, Mounts } = await container.inspect();
    assert.deepEqual([State.Status, State.ExitCode, HostConfig.Memory], ['exited', 4, 64 << 20]);
    assert.deepEqual([Config.Labels, Mounts.map(({ Name }) => Name)], [{ tier: 'web' }, ['odevol']]);
    const logs = await container.logs({ stdout: true, stderr: true, follow: false, timestamps: false });
    assert.match(logs.toString('latin1'), /got hello\n[^]*err\n$/);
    assert.deepEqual((await docker.listContainers({ all: true, filters: { label: ['tier=web'] } })).length, 1);
    assert.deepEqual(await docker.listContainers({ filters: { label: ['tier=web'] } }), []);
    await container.remove({ v: true });
    await docker.getVolume('odevol').remove();
    assert.deepEqual(await failure(container.inspect()), [404, `No such container: ${container.id}`].map(idOut));
  });

  same('run: the stream, the exit code; and a log that is followed', async (engine) => {
    const docker = client(engine);
    const [out, err] = [new PassThrough(), new PassThrough()];
    const [data, container] = (await docker.run('bb:1', ['sh', '-c', 'echo o; echo e >&2; exit 2'], [out, err], {
      Tty: false,
      HostConfig: { AutoRemove: false },
    })) as [{ StatusCode: number }, Docker.Container];
    assert.equal(data.StatusCode, 2);
    assert.deepEqual([out.read()?.toString(), err.read()?.toString()], ['o\n', 'e\n']);
    await container.remove();
    const talker = await docker.createContainer({ Image: 'bb:1', Cmd: ['sh', '-c', 'echo one; sleep 0.5; echo two'] });
    await talker.start();
    const followed = await talker.logs({ follow: true, stdout: true, stderr: true });
    assert.deepEqual(await demultiplexed(docker, followed), ['one\ntwo\n', '']);
    await talker.remove({ force: true });
  });

  same(
    'exec: input through a connection that is taken over, both streams, a terminal, the exit code',
    async (engine) => {
      const docker = client(engine);
      const container = await docker.createContainer({ name: 'box', Image: 'bb:1', Cmd: ['sleep', '1000'] });
      await container.start();
      const cat = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
      const stream = await cat.start({ hijack: true, stdin: true });
      const echoed = demultiplexed(docker, stream);
      stream.write('through\n');
      stream.end();
      assert.deepEqual(await echoed, ['through\n', '']);
      const both = await container.exec({
        Cmd: ['sh', '-c', 'echo o; sleep 0.3; echo e >&2; exit 5'],
        AttachStdout: true,
        AttachStderr: true,
        Env: ['A=1'],
        User: '1000',
        WorkingDir: '/tmp',
      });
      assert.deepEqual(await demultiplexed(docker, await both.start({})), ['o\n', 'e\n']);
      const { ExitCode, Running } = await both.inspect();
      assert.deepEqual([ExitCode, Running], [5, false]);
      const terminal = await container.exec({
        Cmd: ['sh', '-c', 'sleep 1; stty size; tty'],
        AttachStdout: true,
        Tty: true,
      });
      const started = terminal.start({ Tty: true });
      await terminal.resize({ h: 11, w: 33 });
      assert.match(await text(await started), /^11 33\r\n\/dev\/pts\/\d+\r\n$/);
      assert.deepEqual(await failure(both.start({ Detach: true })), [409, 'container stopped/paused']);
      await container.remove({ force: true });
    },
  );

  same('files both ways, changes, export, commit, top, stats, rename, pause, update', async (engine) => {
    const docker = client(engine);
    const container = await docker.createContainer({ name: 'box', Image: 'bb:1', Cmd: ['sleep', '1000'] });
    await container.start();
    await container.putArchive(tar([{ name: 'given', content: 'from outside\n' }]), { path: '/tmp' });
    const got = Buffer.concat(await ((await container.getArchive({ path: '/tmp/given' })) as Readable).toArray());
    assert.match(got.toString('latin1'), /from outside\n/);
    const { headers } = await engine.api('HEAD', '/containers/box/archive?path=/tmp/given');
    const stat = JSON.parse(
      Buffer.from(String(headers['x-docker-container-path-stat']), 'base64').toString(),
    ) as object;
    assert.deepEqual({ ...stat, mtime: '' }, { name: 'given', size: 13, mode: 0o644, mtime: '', linkTarget: '' });
    assert.deepEqual(await container.changes(), [
      { Path: '/tmp', Kind: 0 },
      { Path: '/tmp/given', Kind: 1 },
    ]);
    const exported = Buffer.concat(await ((await container.export()) as Readable).toArray());
    assert.match(exported.toString('latin1'), /tmp\/given\0/);
    const { Id } = (await container.commit({ repo: 'ode', tag: '1', comment: 'a test', changes: 'ENV B=2' })) as {
      Id: string;
    };
    assert.match(Id, /^sha256:[0-9a-f]{64}$/);
    assert.ok((await docker.getImage('ode:1').inspect()).Config.Env.includes('B=2'));
    await docker.getImage('ode:1').remove();
    const { Titles, Processes } = await container.top({ ps_args: '-o pid,args' });
    assert.deepEqual([Titles, Processes.map((row: string[]) => row.at(-1))], [['PID', 'COMMAND'], ['sleep 1000']]);
    const stats = await container.stats({ stream: false });
    assert.ok(stats.memory_stats.usage > 0 && stats.pids_stats?.current === 1 && stats.name === '/box');
    await container.update({ Memory: 32 << 20, MemorySwap: 64 << 20 });
    assert.equal((await container.inspect()).HostConfig.Memory, 32 << 20);
    await container.rename({ name: 'boxed' });
    await container.pause();
    assert.deepEqual(await failure(container.pause()), [409, 'Container ID is already paused']);
    assert.deepEqual(await failure(container.remove()), [
      409,
      'cannot remove container "ID": container is paused and must be unpaused first',
    ]);
    await container.unpause();
    await container.restart({ t: 0 });
    await container.kill({ signal: 'KILL' });
    assert.deepEqual(await container.wait(), { StatusCode: 137 });
    assert.deepEqual(await failure(container.kill()), [409, 'cannot kill container: ID: container ID is not running']);
    await container.remove();
  });

  same('events as they come, and their filters', async (engine) => {
    const docker = client(engine);
    const events = (await docker.getEvents({ filters: { type: ['container'], event: ['create', 'die'] } })) as Readable;
    const container = await docker.createContainer({ name: 'seen', Image: 'bb:1', Cmd: ['true'] });
    await container.start();
    await untilSaid(events, /"Action":"create"[^]*"Action":"die"/);
    events.destroy();
    await container.remove();
  });

  same('networks, volumes, images, prune', async (engine) => {
    const docker = client(engine);
    const network = await docker.createNetwork({ Name: 'odenet', Labels: { a: 'b' }, Internal: true });
    const box = await docker.createContainer({ name: 'box', Image: 'bb:1', Cmd: ['sleep', '1000'] });
    await box.start();
    await network.connect({ Container: 'box', EndpointConfig: { Aliases: ['alias'] } });
    assert.deepEqual(
      Object.values((await network.inspect()).Containers ?? {}).map(({ Name }) => Name),
      ['box'],
    );
    assert.deepEqual((await failure(network.remove()))[0], 403);
    await network.disconnect({ Container: 'box', Force: true });
    await box.remove({ force: true });
    assert.deepEqual((await docker.pruneNetworks({ filters: { label: ['a=b'] } })).NetworksDeleted, ['odenet']);
    await docker.createVolume({ Name: 'odevol', Labels: { a: 'b' } });
    assert.equal((await docker.getVolume('odevol').inspect()).Driver, 'local');
    const pruned = await docker.pruneVolumes({ filters: { all: ['true'], label: ['a=b'] } });
    assert.deepEqual(pruned.VolumesDeleted, ['odevol']);

    const image = docker.getImage('bb:1');
    await image.tag({ repo: 'localhost:1/other', tag: '2' });
    assert.deepEqual((await image.history()).length, 1);
    const saved = Buffer.concat(await ((await docker.getImage('localhost:1/other:2').get()) as Readable).toArray());
    await docker.getImage('localhost:1/other:2').remove();
    const loading = await docker.loadImage(Readable.from([saved]));
    const progress = await new Promise<{ stream?: string }[]>((resolve, reject) =>
      docker.modem.followProgress(loading, (error, lines) => (error ? reject(error) : resolve(lines))),
    );
    assert.match(progress.map(({ stream }) => stream ?? '').join(''), /Loaded image: localhost:1\/other:2\n$/);
    // Nobody listens there: the last line of a push says so.
    const pushing = await docker.getImage('localhost:1/other:2').push({});
    const told = await new Promise<{ error?: string }[]>((resolve, reject) =>
      docker.modem.followProgress(pushing, (error, lines) => (error ? reject(error) : resolve(lines))),
    );
    assert.match(told.at(-1)?.error ?? 'no error', /refused|connect/);
    assert.ok(((await failure(docker.pull('localhost:1/nosuch:1')))[0] ?? 0) >= 500);
    await docker.getImage('localhost:1/other:2').remove();
  });

  same('errors have their status and their words', async (engine) => {
    const docker = client(engine);
    const create = (options: object) => failure(docker.createContainer(options as Docker.ContainerCreateOptions));
    assert.deepEqual(
      [
        await create({ Image: 'nosuch:1' }),
        await create({ Image: 'bb:1', name: 'a b' }),
        await failure(docker.getContainer('nosuch').start()),
        await failure(docker.getContainer('nosuch').exec({ Cmd: ['true'] })),
        await failure(docker.getExec('nosuch').inspect()),
        await failure(docker.getImage('nosuch:1').inspect()),
        await failure(docker.getImage('nosuch:1').remove()),
        await failure(docker.getVolume('nosuch').inspect()),
        await failure(docker.getNetwork('nosuch').inspect()),
        await failure(docker.listContainers({ filters: { nosuch: ['x'] } })),
      ],
      [
        [404, 'No such image: nosuch:1'],
        [400, 'Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed'],
        [404, 'No such container: nosuch'],
        [404, 'No such container: nosuch'],
        [404, 'No such exec instance: nosuch'],
        [404, 'No such image: nosuch:1'],
        [404, 'No such image: nosuch:1'],
        [404, 'get nosuch: no such volume'],
        [404, 'network nosuch not found'],
        [400, "invalid filter 'nosuch'"],
      ],
    );
  });
});

function idOut(word: number | string): number | string {
  return typeof word === 'string' ? word.replace(/[0-9a-f]{64}/g, 'ID') : word;
}
