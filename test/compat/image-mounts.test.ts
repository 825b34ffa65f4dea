import assert from 'node:assert/strict';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

const images = [{ name: 'bb:1' }, { name: 'files:1', files: { 'data/a': 'of the image\n', 'data/sub/b': 'below\n' } }];

onBothEngines('mounts of type image', { images, runtimes: ['crun', 'runc'] }, ({ same, berthOnly }) => {
  const mount = (more = '') => ['--mount', `type=image,source=files:1,target=/m${more}`];
  /** The newest reference says that the feature is experimental. */
  const errors = (text: string) =>
    text
      .replace(/^WARNING: Image mount is an experimental feature\n/m, '')
      .replace(/\n\nRun 'docker.*$/s, '')
      .replace(/\n {2}try: .*$/gm, '')
      .trim();

  same('the files of the image are there and cannot be written', (engine) => {
    const { status, stdout, stderr } = engine.docker([
      ...['run', '--rm', ...mount(), 'bb:1', 'sh', '-c'],
      'cat /m/data/a; echo x > /m/data/a; touch /m/new; ls /m/data',
    ]);
    assert.deepEqual([status, stdout], [0, 'of the image\na\nsub\n']);
    assert.match(stderr, /can't create \/m\/data\/a: Read-only file system[\s\S]*\/m\/new: Read-only file system/);
  });

  same('a part of the image, a directory or a file', (engine) => {
    assert.equal(engine.must('run', '--rm', ...mount(',image-subpath=data/sub'), 'bb:1', 'ls', '/m'), 'b');
    assert.equal(engine.must('run', '--rm', ...mount(',image-subpath=data/a'), 'bb:1', 'cat', '/m'), 'of the image');
  });

  same('it is in use by those that mount it, and only they are in the way', (engine) => {
    for (const name of ['one', 'two']) engine.must('run', '-d', '--name', name, ...mount(), 'bb:1', 'sleep', '600');
    const refused = engine.docker(['rmi', 'files:1']);
    assert.equal(refused.status, 1);
    assert.match(
      refused.stderr,
      /^Error response from daemon: conflict: unable to remove repository reference "files:1" \(must force\) - container [0-9a-f]{12} is using its referenced image [0-9a-f]{12}/,
    );
    for (const name of ['one', 'two'])
      assert.equal(engine.must('exec', name, 'cat', '/m/data/a'), 'of the image', `${name} has it`);
    engine.must('rm', '-f', 'one');
    assert.equal(engine.must('exec', 'two', 'cat', '/m/data/a'), 'of the image', 'the other has it still');
    assert.equal(engine.docker(['rmi', 'files:1']).status, 1);
  });

  same('inspect and ps name it', async (engine) => {
    engine.must('create', '--name', 'one', ...mount(',image-subpath=data/sub'), 'bb:1', 'true');
    const [{ Mounts, HostConfig }] = JSON.parse((await engine.api('GET', '/containers/json?all=1')).body) as [
      { Mounts: Record<string, unknown>[]; HostConfig: unknown },
    ];
    assert.ok(HostConfig);
    const { Source, ...point } = Mounts[0]!;
    assert.equal(typeof Source, 'string');
    const expected = {
      Type: 'image',
      Name: 'files:1',
      Destination: '/m',
      Mode: '',
      RW: false,
      Propagation: 'rprivate',
    };
    assert.deepEqual(point, expected);
    const inspected = JSON.parse(engine.must('inspect', '-f', '{{json .HostConfig.Mounts}}', 'one'));
    assert.deepEqual(inspected, [
      { Type: 'image', Source: 'files:1', Target: '/m', ImageOptions: { Subpath: 'data/sub' } },
    ]);
    assert.equal(engine.must('ps', '-a', '--format', '{{.Mounts}}'), 'files:1');
  });

  same('cp reads what is mounted, and cannot write it', (engine) => {
    engine.must('run', '-d', '--name', 'one', ...mount(), 'bb:1', 'sleep', '600');
    assert.match(engine.must('cp', 'one:/m/data/a', '-'), /of the image/);
    assert.equal(engine.docker(['cp', 'one:/m/data/nosuch', '-']).status, 1);
    assert.equal(engine.docker(['cp', '/etc/passwd', 'one:/m/data/a']).status, 1);
    assert.equal(engine.must('exec', 'one', 'cat', '/m/data/a'), 'of the image');
  });

  same('it is there after a restart of the container', (engine) => {
    engine.must('run', '-d', '--name', 'one', ...mount(), 'bb:1', 'sleep', '600');
    engine.must('restart', '-t', '0', 'one');
    assert.equal(engine.must('exec', 'one', 'cat', '/m/data/a'), 'of the image');
  });

  // The reference's is empty then.
  berthOnly('it is there after a restart of the engine', async (engine) => {
    engine.must('create', '--name', 'one', ...mount(), 'bb:1', 'sleep', '600');
    await engine.stop();
    await engine.restart();
    engine.docker(['start', 'one']);
    assert.equal(engine.must('exec', 'one', 'cat', '/m/data/a'), 'of the image');
    assert.equal(engine.docker(['rmi', 'files:1']).status, 1);
  });

  const refused: readonly (readonly [about: string, mount: object, message: string])[] = [
    ['no source', { Source: '' }, 'invalid mount config for type "image": field Source must not be empty'],
    ['options of binds', { BindOptions: {} }, 'BindOptions must not be specified on mount type "image"'],
    ['options of volumes', { VolumeOptions: {} }, 'VolumeOptions must not be specified on mount type "image"'],
    [
      'options of images for a bind',
      { Type: 'bind', Source: '/tmp', ImageOptions: {} },
      'invalid mount config for type "bind": field ImageOptions must not be specified',
    ],
    ...['../x', '/x'].map(
      (Subpath) =>
        [
          `subpath ${Subpath}`,
          { ImageOptions: { Subpath } },
          'invalid mount config for type "image": subpath must be a relative path within the volume',
        ] as const,
    ),
  ];
  for (const [about, wrong, message] of refused)
    same(`refused: ${about}`, async (engine) => {
      const Mounts = [{ Type: 'image', Source: 'files:1', Target: '/m', ...wrong }];
      const { status, body } = await create(engine, 1048, Mounts);
      assert.deepEqual([status, JSON.parse(body).message], [400, message]);
    });

  same('refused: an older API', async (engine) => {
    const { status, body } = await create(engine, 1047, [{ Type: 'image', Source: 'files:1', Target: '/m' }]);
    assert.deepEqual([status, JSON.parse(body).message], [400, 'Mount type "Image" needs API v1.48 or newer']);
  });

  same('an image that is not here is not fetched', async (engine) => {
    const { status, body } = await create(engine, 1048, [{ Type: 'image', Source: 'nosuch:1', Target: '/m' }]);
    assert.equal(status, engine.isBerth ? 400 : 404);
    assert.equal(errors(JSON.parse(body).message), 'No such image: nosuch:1');
  });

  same('a part that the image does not have', (engine) => {
    const { status, stderr } = engine.docker(['run', '--rm', ...mount(',image-subpath=nosuch'), 'bb:1', 'true']);
    assert.equal(status, 127);
    assert.match(errors(stderr), /cannot access path (\S+\/nosuch): lstat \1: no such file or directory/);
  });

  berthOnly('volumes-from gives another container the image too', (engine) => {
    engine.must('create', '--name', 'one', ...mount(), 'bb:1', 'true');
    engine.must('run', '-d', '--name', 'two', '--volumes-from', 'one', 'bb:1', 'sleep', '600');
    engine.must('rm', 'one');
    assert.equal(engine.must('exec', 'two', 'cat', '/m/data/a'), 'of the image');
    assert.equal(engine.docker(['rmi', 'files:1']).status, 1);
  });
});

function create(engine: TestEngine, version: number, Mounts: readonly object[]) {
  const body = { Image: 'bb:1', Cmd: ['true'], HostConfig: { Mounts } };
  return engine.api('POST', `/v1.${version % 1000}/containers/create`, body);
}
