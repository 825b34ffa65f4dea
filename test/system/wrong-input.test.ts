import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { project, startBerth, type TestEngine } from '../lib/engines.ts';
import { dockerArchive, type TarEntry, tar } from '../lib/images.ts';
import { assertNoLeaks, nothing } from '../lib/leaks.ts';
import { startRegistry } from '../lib/registry.ts';

/**
 * What people and programs get wrong, as somebody with the docker CLI meets it: each gets a status, words that say what to
 * do, and changes nothing.
 */

const port = 5999;
const host = `127.0.0.1:${port}`;

async function startStrangeRegistry(netns: string): Promise<AsyncDisposable> {
  const script = join(project, 'test/lib/strange-registry.ts');
  const command = [`--net=/run/netns/${netns}`, process.execPath, '--disable-warning=ExperimentalWarning', script];
  const child = spawn('nsenter', [...command, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), ended]);
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Everything of the data root that images and containers are made of. */
function contentOf(root: string): string[] {
  return ['content', 'snapshots/layers', 'snapshots/staging', 'snapshots/containers', 'containers']
    .filter((path) => existsSync(join(root, path)))
    .flatMap((path) =>
      readdirSync(join(root, path), { recursive: true, encoding: 'utf8' }).map((name) => `${path}/${name}`),
    )
    .sort();
}

/** Runs it, and holds that there is nothing new and nothing missing afterwards. */
async function changesNothing<T>(engine: TestEngine, root: string, work: () => T | Promise<T>): Promise<T> {
  const before = contentOf(root);
  const listed = engine.must('images', '-a', '--no-trunc');
  const result = await work();
  for (const until = Date.now() + 5000; ; await sleep(50)) {
    try {
      assert.deepEqual(contentOf(root), before);
      break;
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  }
  assert.equal(engine.must('images', '-a', '--no-trunc'), listed);
  await assertNoLeaks(engine, nothing);
  return result;
}

const try_ = (text: string) => new RegExp(`\\n {2}try: .*${text}`);

describe('wrong input', () => {
  let engine: TestEngine;
  let registry: AsyncDisposable;
  before(async () => {
    engine = await startBerth({ flags: ['--registry-timeout', '1'] });
    registry = await startStrangeRegistry(engine.netns);
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });
  // What a failed test leaves would make the next ones fail too.
  afterEach(() => {
    const left = engine.docker(['ps', '-aq', '--no-trunc']).stdout.split('\n').filter(Boolean);
    if (left.length > 0) engine.docker(['rm', '-f', '-v', ...left]);
  });
  const root = () => join(engine.dir, 'root');
  const refused = (
    args: readonly string[],
    expected: { status: number; words: readonly RegExp[]; input?: Buffer | string; timeout?: number },
  ) =>
    changesNothing(engine, root(), () => {
      const { status, stderr, stdout } = engine.docker(args, {
        ...(expected.input !== undefined && { input: expected.input }),
        timeout: expected.timeout ?? 30_000,
      });
      for (const words of expected.words) assert.match(stderr, words, `${args.join(' ')}: ${stdout}`);
      assert.equal(status, expected.status, `${args.join(' ')}: ${stderr}`);
    });

  describe('registries', () => {
    test('an image that does not exist, and a registry that is down', async () => {
      await refused(['pull', `${host}/nosuch:1`], {
        status: 1,
        words: [/manifest for \S+ not found: manifest unknown/],
      });
      await refused(['run', '--rm', `${host}/nosuch:1`], { status: 125, words: [/manifest unknown/] });
      const from = Date.now();
      await refused(['pull', '127.0.0.1:9/x:1'], {
        status: 1,
        words: [/^Error response from daemon: Get "http.*connection refused$/m, try_('check that the registry runs')],
      });
      assert.ok(Date.now() - from < 5000);
    });

    test('a wrong password: at docker login, and in a pull', async () => {
      await using basic = await startRegistry({ netns: engine.netns, user: { username: 'ann', password: 'right' } });
      const login = ['login', '-u', 'ann', '--password-stdin', basic.host];
      await refused(login, { status: 1, words: [/401|unauthorized|incorrect/i], input: 'wrong' });
      await refused(['pull', `${basic.host}/x:1`], {
        status: 1,
        words: [/pull access denied|no basic auth credentials|unauthorized/, try_('docker login')],
      });
      const wrong = Buffer.from(JSON.stringify({ username: 'ann', password: 'wrong' })).toString('base64url');
      const answer = await engine.api('POST', `/images/create?fromImage=${basic.host}/x&tag=1`, undefined, {
        'X-Registry-Auth': wrong,
      });
      // Not 401, at which the CLI would ask its user.
      assert.equal(answer.status, 500, answer.body);
      assert.match(answer.body, /unauthorized|denied/);
      assert.doesNotMatch(answer.body, /"?wrong"?/);
      assert.equal(engine.docker(login, { input: 'right' }).status, 0);
      engine.must('logout', basic.host);
    });

    test('a wrong password at a token server', async () => {
      const login = ['login', '-u', 'ann', '--password-stdin', host];
      await refused(login, { status: 1, words: [/unauthorized/i], input: 'wrong' });
      await refused(['pull', `${host}/token:1`], { status: 1, words: [/pull access denied.*docker login/] });
      const { status, stderr } = engine.docker(login, { input: 'right' });
      assert.equal(status, 0, stderr);
      engine.must('pull', '-q', `${host}/token:1`);
      engine.must('logout', host);
      engine.must('rmi', `${host}/token:1`);
    });

    test('R21 a registry that stalls is given up', async () => {
      const from = Date.now();
      const { status, stderr } = engine.docker(['pull', `${host}/stall:1`], { timeout: 60_000 });
      assert.equal(status, 1);
      assert.match(stderr, /no bytes came for 1 seconds/);
      assert.ok(Date.now() - from < 40_000);
      assert.equal(engine.must('images', '-q', `${host}/stall`), '');
    });

    test('R21 a registry that cuts at 99 % is asked for the rest', async () => {
      engine.must('pull', '-q', `${host}/cut:1`);
      const seen = execFileSync('nsenter', [
        `--net=/run/netns/${engine.netns}`,
        'busybox',
        'wget',
        '-qO-',
        `http://${host}/seen`,
      ]).toString();
      const requests = (JSON.parse(seen) as { path: string; range?: string; status: number }[]).filter(
        ({ path }) => path === 'cut',
      );
      assert.equal(requests.length, 2);
      assert.equal(requests[1]!.status, 206);
      assert.ok(Number(/bytes=(\d+)-/.exec(requests[1]!.range ?? '')?.[1]) > 4_500_000);
      engine.must('rmi', `${host}/cut:1`);
    });

    test('S32 content that is not what its digest says', () =>
      refused(['pull', `${host}/mismatch:1`], {
        status: 1,
        words: [
          /mismatch:1: content: digest mismatch: expected sha256:[0-9a-f]{64}, got/,
          try_('push the image again'),
        ],
      }));

    test('a list without our platform', () =>
      refused(['pull', `${host}/foreign:1`], {
        status: 1,
        words: [/no matching manifest for linux\/\w+ in the manifest list entries/, try_('--platform.*linux/s390x')],
      }));

    test('S06 a layer bomb', () => refused(['pull', `${host}/bomb:1`], { status: 1, words: [/decompression bomb/] }));

    for (const [repository, words] of [
      ['dotdot', /leaves the root/],
      ['hardlink', /leaves the root|link/],
      ['noise', /tar/],
    ] as const)
      test(`S05 a layer that is no honest tar: ${repository}`, () =>
        refused(['pull', `${host}/${repository}:1`], { status: 1, words: [words] }));

    for (const repository of ['absolute', 'throughlink'])
      test(`S05 a layer's names stay inside the image: ${repository}`, async () => {
        const { status } = engine.docker(['pull', '-q', `${host}/${repository}:1`]);
        assert.ok(!existsSync('/tmp/berth-escaped'));
        if (status !== 0) return;
        const run = engine.docker(['run', '--rm', `${host}/${repository}:1`, 'cat', '/tmp/berth-escaped']);
        assert.ok(!existsSync('/tmp/berth-escaped'));
        if (repository === 'absolute') assert.equal(run.stdout, 'in');
        engine.must('rmi', `${host}/${repository}:1`);
      });
  });

  describe('archives', () => {
    const image = () => dockerArchive({ layers: [[{ name: 'a', content: 'a'.repeat(50_000) }]] }, ['a:1']);
    const hostile = (entry: TarEntry) => Buffer.concat([tar([entry]).subarray(0, -1024), image()]);

    for (const [what, archive, words] of [
      ['nothing', () => Buffer.alloc(0), /unexpected EOF/],
      ['text', () => Buffer.from('hello\n'.repeat(2000)), /tar/],
      ['one that is cut off', () => image().subarray(0, 30_000), /unexpected EOF/],
      ['one without a manifest', () => tar([{ name: 'a', content: 'a' }]), /neither manifest.json nor index.json/],
      ['a name with ..', () => hostile({ name: '../out', content: 'x' }), /"\.\.\/out" leaves the archive/],
      ['an absolute name', () => hostile({ name: '/out', content: 'x' }), /"\/out" has an absolute path/],
      [
        'a link that leaves it',
        () => hostile({ name: 'way', type: 'symlink', target: '../../etc' }),
        /link "way" points to "..\/..\/etc", outside/,
      ],
      ['a device', () => hostile({ name: 'dev', type: 'character', device: [1, 3] }), /"dev" is a device, not a file/],
    ] as const)
      test(`docker load of ${what}`, () => refused(['load'], { status: 1, words: [words], input: archive() }));
  });

  describe('containers', () => {
    const free = () => {
      const taken = spawnSync('nsenter', [`--net=/run/netns/${engine.netns}`, 'ss', '-Hltn'], {
        encoding: 'utf8',
      }).stdout;
      for (let number = 8100; ; number++) if (!taken.includes(`:${number}`)) return number;
    };

    test('a host port that one of our containers has', async () => {
      const at = free();
      const id = engine.must('run', '-d', '--name', 'holder', '-p', `${at}:80`, 'bb:1', 'sleep', '1000');
      const { status, stderr } = engine.docker(['run', '--rm', '-p', `${at}:80`, 'bb:1', 'true']);
      assert.equal(status, 125);
      assert.match(stderr, new RegExp(`Bind for 0.0.0.0:${at} failed: port is already allocated`));
      assert.match(stderr, new RegExp(id.slice(0, 12)));
      assert.match(stderr, try_('publish on another'));
      assert.deepEqual(engine.must('ps', '-aq', '--no-trunc'), id);
      engine.must('rm', '-f', id);
    });

    test('a host port that another program has', async () => {
      const at = free();
      const listen = `require('node:net').createServer().listen(${at}, '0.0.0.0', () => console.log('listens'))`;
      const listener = spawn('nsenter', [`--net=/run/netns/${engine.netns}`, process.execPath, '-e', listen], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(listener.stdout, 'data');
      try {
        await refused(['run', '--rm', '-p', `${at}:80`, 'bb:1', 'true'], {
          status: 125,
          words: [new RegExp(`${at}.*address already in use`), new RegExp(`pid ${listener.pid}`), try_('')],
        });
      } finally {
        listener.kill('SIGKILL');
      }
    });

    test('a name that is in use', async () => {
      const id = engine.must('create', '--name', 'taken', 'bb:1', 'true');
      const { status, stderr } = engine.docker(['run', '--rm', '--name', 'taken', 'bb:1', 'true']);
      assert.equal(status, 125);
      assert.match(stderr, new RegExp(`Conflict. The container name "/taken" is already in use by container "${id}"`));
      assert.equal(engine.must('ps', '-aq', '--no-trunc'), id);
      engine.must('rm', id);
    });

    const cases: readonly (readonly [string, readonly string[], number, RegExp])[] = [
      [
        'an unknown runtime',
        ['--runtime', 'nosuch', 'bb:1', 'true'],
        125,
        /unknown or invalid runtime name: nosuch\n {2}try: .*crun/,
      ],
      [
        'an unknown user',
        ['-u', 'nosuch', 'bb:1', 'true'],
        125,
        /unable to find user nosuch: no matching entries in passwd file/,
      ],
      [
        'an unknown group',
        ['-u', '0:nosuch', 'bb:1', 'true'],
        125,
        /unable to find group nosuch: no matching entries in group file/,
      ],
      [
        'a working directory that is a file',
        ['-w', '/etc/passwd', 'bb:1', 'true'],
        125,
        /Cannot mkdir: \/etc\/passwd is not a directory/,
      ],
      [
        'a relative working directory',
        ['-w', 'a/b', 'bb:1', 'true'],
        125,
        /the working directory 'a\/b' is invalid, it needs to be an absolute path/,
      ],
      ['a command that is not there', ['bb:1', 'nosuch'], 127, /exec: "nosuch": executable file not found in \$PATH/],
      ['a command with a path that is not there', ['bb:1', '/bin/nosuch'], 127, /no such file or directory/],
      ['a command that is not executable', ['bb:1', '/etc/passwd'], 126, /permission denied/],
      ['a command that is a directory', ['bb:1', '/etc'], 126, /permission denied|is a directory/],
      ['an image name that is none', ['Upper', 'true'], 125, /invalid reference format/],
      [
        'a bind of what is not there',
        ['--mount', 'type=bind,src=/nosuch,dst=/x', 'bb:1', 'true'],
        125,
        /bind source path does not exist: \/nosuch/,
      ],
      [
        'a capability that is none',
        ['--cap-add', 'NOSUCH', 'bb:1', 'true'],
        125,
        /invalid.*capability|unknown capability/i,
      ],
      ['too little memory', ['--memory', '1k', 'bb:1', 'true'], 125, /Minimum memory limit allowed is 6MB/],
      ['a network that is not there', ['--network', 'nosuch', 'bb:1', 'true'], 125, /network nosuch not found/],
    ];
    for (const [what, args, status, words] of cases)
      test(what, () => refused(['run', '--rm', ...args], { status, words: [words] }));
  });

  describe('the API', () => {
    const create = '/v1.47/containers/create';
    const bodies: readonly (readonly [string, string, number, RegExp])[] = [
      ['malformed JSON', '{"Image": "bb:1"', 400, /JSON/],
      ['no JSON at all', 'hello', 400, /JSON/],
      ['a list', '[]', 400, /array|object/],
      ['a number for a text', '{"Image": 5}', 400, /Image/],
      ['a text for a list', '{"Image": "bb:1", "Env": "A=1"}', 400, /Env/],
      ['a text for a number', '{"Image": "bb:1", "HostConfig": {"Memory": "1g"}}', 400, /Memory/],
      ['a number that is too large', '{"Image": "bb:1", "HostConfig": {"Memory": 1e30}}', 400, /Memory/],
      ['10 MB', JSON.stringify({ Image: 'bb:1', Labels: { a: 'x'.repeat(10_000_000) } }), 413, /larger than 4 MiB/],
      ['a thousand levels', '['.repeat(1_000_000), 400, /JSON|deep|nest/i],
    ];
    for (const [what, body, status, words] of bodies)
      test(`create with ${what}`, () =>
        changesNothing(engine, root(), async () => {
          const answer = await engine.api('POST', create, body, { 'Content-Type': 'application/json' });
          assert.equal(answer.status, status, answer.body);
          const { message } = JSON.parse(answer.body) as { message: string };
          assert.match(message, words);
        }));

    test('wrong content type, unknown path, unbuilt, wrong method, wrong numbers, wrong filters', () =>
      changesNothing(engine, root(), async () => {
        for (const [method, path, status, body, headers] of [
          ['POST', create, 400, '{}', { 'Content-Type': 'text/plain' }],
          ['GET', '/v1.47/nosuch', 404],
          ['GET', '/v9.99/containers/json', 400],
          ['GET', '/v1.2/containers/json', 400],
          ['POST', '/v1.47/build', 501],
          ['PUT', '/v1.47/containers/json', 404],
          ['GET', '/v1.47/containers/json?limit=abc', 400],
          ['GET', '/v1.47/containers/json?filters=%7B', 400],
          ['GET', '/v1.47/images/json?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D', 400],
          ['GET', '/v1.47/containers/nosuch/json', 404],
          ['POST', '/v1.47/containers/nosuch/start', 404],
          ['GET', '/v1.47/images/nosuch/json', 404],
          ['POST', '/v1.47/images/create?fromImage=UP:1', 400],
          ['POST', '/v1.47/images/create', 400],
          ['GET', '/v1.47/containers/..%2f..%2fetc/json', 404],
        ] as const) {
          const answer = await engine.api(method, path, body, headers);
          assert.equal(answer.status, status, `${method} ${path}: ${answer.body}`);
          // Docker's own form for clients that are older than JSON errors.
          if (!path.startsWith('/v1.2/')) assert.notEqual((JSON.parse(answer.body) as { message: string }).message, '');
        }
      }));
  });

  describe('berth itself', () => {
    const node = (script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
      spawnSync(process.execPath, [join(project, 'dist', script), ...args], {
        encoding: 'utf8',
        timeout: 20_000,
        env: { ...process.env, ...env },
      });
    const elsewhere = (dir: string) => [
      '--root',
      join(dir, 'root'),
      '--run-dir',
      join(dir, 'run'),
      '--socket',
      join(dir, 's'),
    ];

    test('R18 a second engine on the same root', () => {
      const args = [
        '--root',
        root(),
        '--run-dir',
        join(engine.dir, 'run2'),
        '--socket',
        join(engine.dir, 'second.sock'),
      ];
      const { status, stderr } = node('daemon-main.js', args);
      assert.equal(status, 1);
      assert.match(stderr, new RegExp(`another engine \\(pid ${engine.pid}, .*is using ${root()}`));
      assert.match(stderr, /berth engine stop/);
      assert.ok(!existsSync(join(engine.dir, 'second.sock')));
      assert.equal(engine.docker(['ps']).status, 0);
    });

    test('settings that are none, of files, variables and flags', () => {
      const dir = mkdtempSync(join(tmpdir(), 'berth-wrong-'));
      const file = (name: string, content: string) => {
        writeFileSync(join(dir, name), content);
        return ['--config', join(dir, name)];
      };
      try {
        for (const [args, words, env] of [
          [['--config', join(dir, 'nosuch')], /nosuch cannot be read: ENOENT[^]*try: /, {}],
          [['--config', dir], /cannot be read: EISDIR/, {}],
          [file('a.json', '{'), /is not JSON/, {}],
          [file('b.json', '[]'), /not a JSON object/, {}],
          [file('c.json', '{"logLevl": "info"}'), /logLevl: no such setting; did you mean logLevel/, {}],
          [
            file('d.json', '{"logLevel": "loud"}'),
            /logLevel: expected one of debug, info, warn, error, got "loud"/,
            {},
          ],
          [file('e.json', '{"mtu": "big"}'), /mtu: expected bytes, 576 to 65535/, {}],
          [['--stop-timeout', 'soon'], /--stop-timeout: expected seconds/, {}],
          [['--nosuch', 'x'], /--nosuch/, {}],
          [[], /BERTH_MTU: expected/, { BERTH_MTU: '12' }],
        ] as const) {
          const { status, stderr } = node('daemon-main.js', [...elsewhere(dir), ...args], env);
          assert.equal(status, 125, stderr);
          assert.match(stderr, words);
        }
        assert.ok(!existsSync(join(dir, 'root')));
      } finally {
        rmSync(dir, { recursive: true });
      }
    });

    test('commands and flags that are none', () => {
      const env = { BERTH_SOCKET: engine.socket };
      for (const [args, words] of [
        [['rnu'], /no such command: rnu.*did you mean run/],
        [['ps', '--nosuch'], /--nosuch[^]*try: /],
        [['run', '--nmae', 'x', 'bb:1'], /--nmae[^]*try: /],
        [['rm'], /try: /],
        [['engine', 'strat'], /no such engine command: strat/],
      ] as const) {
        const { status, stderr } = node('cli-main.js', args, env);
        assert.equal(status, 125, stderr);
        assert.match(stderr, words);
      }
      const { status, stderr } = node('cli-main.js', ['ps'], { BERTH_SOCKET: '/nosuch/berth.sock' });
      assert.notEqual(status, 0);
      assert.match(stderr, /nosuch\/berth.sock[^]*try: /);
    });
  });
});

/** An engine on a small ext4 of its own. */
async function onSmallDisk(
  { bytes, inodes }: { bytes: number; inodes: number },
  work: (engine: TestEngine, root: string) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-disk-'));
  const disk = join(dir, 'disk');
  const mounted = join(dir, 'mnt');
  mkdirSync(mounted);
  execFileSync('truncate', ['-s', String(bytes), disk]);
  execFileSync('mkfs.ext4', ['-q', '-F', '-N', String(inodes), disk]);
  execFileSync('mount', ['-o', 'loop', disk, mounted]);
  try {
    const root = join(mounted, 'root');
    await using engine = await startBerth({ flags: ['--root', root] });
    await using _ = await startStrangeRegistry(engine.netns);
    await work(engine, root);
  } finally {
    execFileSync('umount', ['-l', mounted]);
    rmSync(dir, { recursive: true });
  }
}

describe('a disk that is full', () => {
  test('R05 no bytes left during a pull and a load', () =>
    onSmallDisk({ bytes: 80_000_000, inodes: 4096 }, async (engine, root) => {
      for (const args of [
        ['pull', `${host}/large:1`],
        ['run', '--rm', `${host}/large:1`, 'true'],
      ])
        await changesNothing(engine, root, () => {
          const { status, stderr } = engine.docker(args);
          assert.equal(status, args[0] === 'run' ? 125 : 1, stderr);
          assert.match(stderr, /no space left|bytes free|bytes are free/);
          assert.match(stderr, try_('free space'));
        });
      const archive = dockerArchive(
        { layers: [Buffer.concat([tar([{ name: 'a', content: Buffer.alloc(90_000_000, 'a') }])])] },
        ['a:1'],
      );
      await changesNothing(engine, root, () => {
        const { status, stderr } = engine.docker(['load'], { input: archive });
        assert.equal(status, 1);
        assert.match(stderr, /no space left|bytes free|bytes are free/);
      });
      assert.equal(engine.docker(['ps']).status, 0);
    }));

  test('R06 no inodes left during a pull; with some, it works', () =>
    onSmallDisk({ bytes: 700_000_000, inodes: 256 }, async (engine, root) => {
      const filler = join(root, '..', 'filler');
      mkdirSync(filler);
      const left = () => Number(execFileSync('stat', ['-f', '-c', '%d', root]).toString());
      for (let n = 0; left() > 20; n++) writeFileSync(join(filler, String(n)), '');
      await changesNothing(engine, root, () => {
        const { status, stderr } = engine.docker(['pull', `${host}/many:1`]);
        assert.equal(status, 1);
        assert.match(stderr, /no inodes left/);
        assert.match(stderr, try_('remove images'));
      });
      rmSync(filler, { recursive: true });
      engine.must('pull', '-q', `${host}/good:1`);
      assert.equal(engine.must('run', '--rm', `${host}/good:1`, 'cat', '/layer-1'), 'what layer 1 adds');
    }));
});
