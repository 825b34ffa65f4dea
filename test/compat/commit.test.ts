import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { onBothEngines } from '../lib/both-engines.ts';
import { dockerCli, type TestEngine } from '../lib/engines.ts';

const sorted = (text: string) => text.split('\n').filter(Boolean).sort();

/** `docker export | tar -t`, sorted; without what only one of the engines has in its root. */
function exported(engine: TestEngine, name: string): string[] {
  const { status, stdout } = spawnSync(dockerCli(), ['export', name], { env: engine.env, maxBuffer: 1 << 28 });
  assert.equal(status, 0);
  const list = spawnSync('tar', ['-t'], { input: stdout, encoding: 'utf8' });
  assert.equal(list.stderr, '');
  return sorted(list.stdout);
}

interface ImageFacts {
  readonly Config: Readonly<Record<string, unknown>>;
  readonly RootFS: { readonly Layers: readonly string[] };
  readonly Author: string;
  readonly Comment: string;
}

const image = (engine: TestEngine, name: string) =>
  (JSON.parse(engine.must('image', 'inspect', name)) as [ImageFacts])[0];

const changes =
  'mkdir -p /new/a/b; echo x >/new/a/f; rm /bin/vi; rm -rf /home; mkdir /home; touch /home/z; chmod 700 /root;' +
  'mkdir /var/x; rm -r /var/x; echo q >>/etc/passwd; mknod /node c 1 3; rm -rf /tmp; rm /bin/wc; mkdir /bin/wc; touch /bin/wc/in;' +
  'ln /new/a/f /new/hard; ln -s nowhere /new/link; chown 1000:29 /new/a/f; chmod 4711 /new/a/f';

const changed = [
  ...['A /bin/wc/in', 'A /home/z', 'A /mnt', 'A /mnt/vol', 'A /new', 'A /new/a', 'A /new/a/b', 'A /new/a/f'],
  ...['A /new/hard', 'A /new/link', 'A /node', 'A /tmpf', 'A /work', 'C /bin', 'C /bin/wc', 'C /etc'],
  ...['C /etc/passwd', 'C /home', 'C /root', 'D /bin/vi', 'D /tmp'],
];

onBothEngines('diff, export and commit', {}, ({ same, berthOnly }) => {
  same('diff lists what was changed, and not what the engine put there', (engine) => {
    engine.must(
      'run',
      '--name',
      'changed',
      '-v',
      'diffvol:/mnt/vol',
      '-w',
      '/work',
      '--tmpfs',
      '/tmpf',
      'bb:1',
      'sh',
      '-c',
      changes,
    );
    assert.deepEqual(sorted(engine.must('diff', 'changed')), changed);
    engine.must('run', '-d', '--name', 'running', 'bb:1', 'sleep', '1000');
    assert.equal(engine.must('diff', 'running'), '');
    engine.must('exec', 'running', 'touch', '/tmp/t', '/etc/t');
    assert.deepEqual(sorted(engine.must('diff', 'running')), ['A /etc/t', 'A /tmp/t', 'C /etc', 'C /tmp']);
    assert.match(engine.docker(['diff', 'nosuch']).stderr, /No such container: nosuch/);
    engine.must('rm', '-f', '-v', 'changed', 'running');
    engine.must('volume', 'rm', 'diffvol');
  });

  same('the kinds of changes on the wire', async (engine) => {
    engine.must('run', '--name', 'kinds', 'bb:1', 'sh', '-c', 'touch /tmp/t; rm /bin/vi');
    const { status, body } = await engine.api('GET', '/containers/kinds/changes');
    assert.equal(status, 200);
    const found = (JSON.parse(body) as { Path: string; Kind: number }[]).map(({ Path, Kind }) => `${Path} ${Kind}`);
    assert.deepEqual(found.sort(), ['/bin 0', '/bin/vi 2', '/tmp 0', '/tmp/t 1']);
    assert.equal((await engine.api('GET', '/containers/nosuch/changes')).status, 404);
  });

  same('export takes all files but what is mounted, of a running and of a stopped container', (engine) => {
    engine.must(
      'run',
      '-d',
      '--name',
      'out',
      '-v',
      'outvol:/vol',
      'bb:1',
      'sh',
      '-c',
      'echo v >/vol/v; mkdir -p /a/b; echo f >/a/b/f; echo ready; sleep 1000',
    );
    for (let i = 0; i < 100 && !engine.must('logs', 'out').includes('ready'); i++) spawnSync('sleep', ['0.05']);
    const running = exported(engine, 'out');
    for (const name of ['a/b/f', 'bin/busybox', 'etc/passwd', 'proc/', 'vol/']) assert.ok(running.includes(name), name);
    assert.ok(
      !running.some(
        (name) =>
          /^(vol|proc|sys)\/./.test(name) || name.startsWith('/') || (name.startsWith('.') && name !== '.dockerenv'),
      ),
    );
    engine.must('kill', 'out');
    assert.deepEqual(exported(engine, 'out'), running);
    assert.match(engine.docker(['export', 'nosuch']).stderr, /No such container: nosuch/);
    engine.must('rm', '-f', 'out');
    engine.must('volume', 'rm', 'outvol');
  });

  same('commit makes an image that runs, and commits of it too', (engine) => {
    engine.must('run', '--name', 'first', 'bb:1', 'sh', '-c', changes);
    const id = engine.must('commit', '-a', 'somebody', '-m', 'the first', 'first', 'made:1');
    assert.match(id, /^sha256:[0-9a-f]{64}$/);
    const look =
      'cat /new/a/f /new/hard; readlink /new/link; ls /home /bin/wc; ls /bin/vi /tmp 2>/dev/null; stat -c "%a %u:%g %h" /new/a/f; tail -1 /etc/passwd; stat -c "%F %t:%T" /node; stat -c %a /root';
    const seen = 'x\nx\nnowhere\n/bin/wc:\nin\n\n/home:\nz\n4711 1000:29 2\nq\ncharacter special file 1:3\n700';
    assert.equal(engine.must('run', '--rm', 'made:1', 'sh', '-c', look), seen);
    const made = image(engine, 'made:1');
    assert.equal(made.Author, 'somebody');
    assert.equal(made.Comment, 'the first');
    assert.equal(made.RootFS.Layers.length, 2);
    assert.deepEqual(made.Config['Cmd'], ['sh', '-c', changes]);
    const history = engine
      .must('history', '--no-trunc', '--format', '{{.Comment}}|{{.CreatedBy}}', 'made:1')
      .split('\n');
    assert.deepEqual(history, [`the first|sh -c ${changes}`, '|busybox from Debian']);

    engine.must('run', '--name', 'second', 'made:1', 'sh', '-c', 'rm -rf /new/a; echo 2 >/second');
    engine.must('commit', 'second', 'made:2');
    assert.equal(image(engine, 'made:2').RootFS.Layers.length, 3);
    assert.equal(engine.must('run', '--rm', 'made:2', 'sh', '-c', 'ls /new; cat /second'), 'hard\nlink\n2');
    engine.must('rm', 'first', 'second');
    engine.must('rmi', 'made:1', 'made:2');
    assert.equal(engine.must('run', '--rm', 'bb:1', 'ls', '-d', '/bin/vi'), '/bin/vi');
  });

  same('a container that wrote nothing gives an image without a layer more', (engine) => {
    engine.must('create', '--name', 'nothing', 'bb:1', 'true');
    engine.must('commit', '-c', 'LABEL a=b', 'nothing', 'nothing:1');
    const layers = image(engine, 'bb:1').RootFS.Layers;
    assert.deepEqual(image(engine, 'nothing:1').RootFS.Layers, layers);
    assert.deepEqual(image(engine, 'nothing:1').Config['Labels'], { a: 'b' });
    assert.equal(engine.must('run', '--rm', 'nothing:1', 'echo', 'runs'), 'runs');
    engine.must('rm', 'nothing');
    engine.must('rmi', 'nothing:1');
  });

  same('--change', (engine) => {
    engine.must('create', '--name', 'change', '-w', '/work', '-e', 'OLD=1', '-l', 'old=1', 'bb:1', 'true');
    const configOf = (...instructions: string[]) => {
      const id = engine.must('commit', ...instructions.flatMap((text) => ['--change', text]), 'change');
      const { Config } = image(engine, id);
      engine.must('rmi', id);
      return Config;
    };
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    const all = configOf(
      'ENV x=$OLD y="a b" OLD=2',
      'env single a b  c',
      'CMD ["a", "b c"]',
      'EXPOSE 80/udp 90-91',
      'LABEL new="${x:-no} y" two=2',
      'USER web',
      'VOLUME ["/a", "/b"]',
      'VOLUME /c',
      'WORKDIR sub',
      'WORKDIR ../other',
      'STOPSIGNAL USR1',
      'ONBUILD RUN something',
      'HEALTHCHECK --interval=5s --retries=2 CMD test -f /x',
    );
    assert.deepEqual([...(all['Env'] as string[])].sort(), ['OLD=2', path, 'single=a b  c', 'x=1', 'y=a b'].sort());
    assert.deepEqual(all['Cmd'], ['a', 'b c']);
    assert.deepEqual(Object.keys(all['ExposedPorts'] as object).sort(), ['80/udp', '90/tcp', '91/tcp']);
    assert.deepEqual(all['Labels'], { old: '1', new: '1 y', two: '2' });
    assert.deepEqual(Object.keys(all['Volumes'] as object).sort(), ['/a', '/b', '/c']);
    assert.deepEqual(
      [all['User'], all['WorkingDir'], all['StopSignal'], all['OnBuild']],
      ['web', '/work/other', 'USR1', ['RUN something']],
    );
    const { Test, Interval, Retries } = all['Healthcheck'] as { Test: string[]; Interval: number; Retries: number };
    assert.deepEqual([Test, Interval, Retries], [['CMD-SHELL', 'test -f /x'], 5_000_000_000, 2]);
    assert.deepEqual(configOf('CMD echo $HOME')['Cmd'], ['/bin/sh', '-c', 'echo $HOME']);
    const entry = configOf('ENTRYPOINT ["e"]');
    assert.deepEqual([entry['Entrypoint'], entry['Cmd'] ?? null], [['e'], null]);
    const both = configOf('CMD ["c"]', 'ENTRYPOINT e f');
    assert.deepEqual([both['Entrypoint'], both['Cmd']], [['/bin/sh', '-c', 'e f'], ['c']]);
  });

  same('what is no change is refused, and nothing is made', async (engine) => {
    engine.must('create', '--name', 'refuse', 'bb:1', 'true');
    const before = engine.must('images', '-aq');
    const refusals: readonly (readonly [string, RegExp])[] = [
      ['FROM x', /FROM is not a valid change command/],
      ['RUN x', /RUN is not a valid change command/],
      ['MAINTAINER x', /MAINTAINER is not a valid change command/],
      ['ENV', /ENV requires at least one argument/],
      ['ENV a', /ENV must have two arguments/],
      ['EXPOSE abc', /Invalid containerPort: abc/],
      ['LABEL', /LABEL requires at least one argument/],
      ['USER', /USER requires exactly one argument/],
      ['WORKDIR', /WORKDIR requires exactly one argument/],
      ['VOLUME', /VOLUME requires at least one argument/],
      ['STOPSIGNAL NO', /invalid signal: NO/],
      ['HEALTHCHECK x', /Unknown type "X" in HEALTHCHECK \(try CMD\)/],
      ['ONBUILD FROM x', /FROM isn't allowed as an ONBUILD trigger/],
      ['ONBUILD ONBUILD RUN x', /Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed/],
      ['# nothing', /file with no instructions/],
    ];
    for (const [change, message] of refusals) {
      const { status, body } = await engine.api(
        'POST',
        `/commit?container=refuse&changes=${encodeURIComponent(change)}`,
      );
      assert.equal(status, 400, change);
      assert.match((JSON.parse(body) as { message: string }).message, message);
    }
    assert.equal((await engine.api('POST', '/commit?container=nosuch')).status, 404);
    assert.equal((await engine.api('POST', '/commit')).status, 400);
    assert.equal((await engine.api('POST', '/commit?container=refuse&repo=UPPER')).status, 400);
    assert.equal(engine.must('images', '-aq'), before);
  });

  same('a body replaces the configuration, and the container fills what it leaves out', async (engine) => {
    engine.must('create', '--name', 'body', '-e', 'OLD=1', 'bb:1', 'true');
    const { status, body } = await engine.api('POST', '/commit?container=body&repo=body&tag=x', {
      Cmd: ['new'],
      Env: ['NEW=1'],
      Labels: { a: 'b' },
    });
    assert.equal(status, 201);
    const { Config } = image(engine, 'body:x');
    assert.deepEqual(Config['Cmd'], ['new']);
    assert.deepEqual(
      [...(Config['Env'] as string[])].filter((entry) => !entry.startsWith('PATH')),
      ['NEW=1', 'OLD=1'],
    );
    assert.deepEqual(Config['Labels'], { a: 'b' });
    assert.equal(engine.must('images', '-q', '--no-trunc', 'body:x'), (JSON.parse(body) as { Id: string }).Id);
    engine.must('rm', 'body');
    engine.must('rmi', 'body:x');
  });

  same('a running container is paused meanwhile, unless it is not wanted; events', (engine) => {
    engine.must('run', '-d', '--name', 'busy', 'bb:1', 'sh', '-c', 'while :; do date >/tmp/now; sleep 0.05; done');
    const from = String(Date.now() / 1000 - 0.001);
    const id = engine.must('commit', '-m', 'words', 'busy', 'busy:1');
    engine.must('commit', '--pause=false', 'busy');
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}}', 'busy'), 'running');
    const { stdout } = engine.docker([
      ...['events', '--since', from, '--until', String(Date.now() / 1000 + 1), '--filter', 'type=container'],
      ...['--format', '{{.Action}} {{.Actor.Attributes.comment}} {{.Actor.Attributes.imageRef}}'],
    ]);
    const clean = stdout
      .replaceAll('<no value>', '')
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean);
    assert.deepEqual(clean, ['pause', 'commit words busy:1', 'unpause', 'commit']);
    const images = engine.docker([
      ...['events', '--since', from, '--until', String(Date.now() / 1000 + 1), '--filter', 'type=image'],
      ...['--format', '{{.Action}} {{.Actor.ID}}'],
    ]);
    assert.deepEqual(images.stdout.split('\n').slice(0, 2), [`create ${id}`, `tag ${id}`]);
    // Paused by the user it stays so.
    engine.must('pause', 'busy');
    engine.must('commit', 'busy');
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}}', 'busy'), 'paused');
    engine.must('rm', '-f', 'busy');
  });

  berthOnly('an engine that is killed in a commit leaves the container running', async (engine) => {
    engine.must(
      'run',
      '-d',
      '--name',
      'killed',
      'bb:1',
      'sh',
      '-c',
      'dd if=/dev/zero of=/big bs=1M count=400 2>/dev/null; echo ready; sleep 1000',
    );
    for (let i = 0; i < 400 && !engine.must('logs', 'killed').includes('ready'); i++) spawnSync('sleep', ['0.1']);
    const child = spawn(dockerCli(), ['commit', 'killed', 'killed:1'], { env: engine.env, stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('close', resolve));
    for (let i = 0; i < 200 && engine.must('inspect', '-f', '{{.State.Status}}', 'killed') !== 'paused'; i++)
      spawnSync('sleep', ['0.01']);
    await engine.kill();
    await ended;
    await engine.restart();
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}}', 'killed'), 'running');
    assert.equal(engine.must('exec', 'killed', 'echo', 'answers'), 'answers');
    assert.equal(engine.must('images', '-q', 'killed'), '');
  });
});
