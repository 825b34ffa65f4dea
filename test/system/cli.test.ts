import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { project, startBerth, type TestEngine } from '../lib/engines.ts';
import { busyboxFiles, tar } from '../lib/images.ts';
import { startRegistry } from '../lib/registry.ts';
import { until } from './networks-lab.ts';

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function berth(env: NodeJS.ProcessEnv, args: readonly string[], input = ''): Result {
  return spawnSync(process.execPath, ['--', join(project, 'dist/cli-main.js'), ...args], {
    env: { PATH: process.env.PATH, ...env },
    input,
    encoding: 'utf8',
    timeout: 30_000,
    maxBuffer: 64 * 1024 * 1024,
  });
}

const commands =
  'quickstart run create df ps ports why logs exec attach debug start stop restart kill pause unpause wait rename rm top port cp diff export commit stats update prune inspect pull push load save import images tag rmi history search events info login logout engine doctor completion version';

/** Commands below a word, by that word. */
const groups: Readonly<Record<string, string>> = {
  container:
    'ls inspect prune run logs exec attach start stop restart kill pause unpause wait rename rm top port cp diff export commit stats update',
  image: 'ls inspect prune rm pull push load save import tag history',
  network: 'ls create connect disconnect inspect rm prune',
  volume: 'ls create inspect rm prune',
  system: 'df events info prune',
};

describe('the berth command without an engine', () => {
  const env = { BERTH_SOCKET: '/nonexistent/engine.sock' };

  test('every command explains itself, and the overview names them all', () => {
    const overview = berth(env, ['--help']);
    assert.equal(overview.status, 0);
    for (const name of commands.split(' ')) {
      assert.match(overview.stdout, new RegExp(`^  ${name} `, 'm'));
      const help = berth(env, [name, '--help']);
      assert.equal(help.status, 0, name);
      assert.match(help.stdout, new RegExp(`^berth ${name}`));
      assert.equal(help.stderr, '');
    }
    for (const [group, below] of Object.entries(groups)) {
      assert.match(overview.stdout, new RegExp(`^  ${group} `, 'm'));
      const listed = berth(env, [group, '--help']);
      assert.deepEqual([listed.status, listed.stderr], [0, '']);
      for (const name of below.split(' ')) {
        assert.match(listed.stdout, new RegExp(`^  ${name} `, 'm'), group);
        const help = berth(env, ['help', group, name]);
        assert.equal(help.status, 0, help.stderr);
        assert.match(help.stdout, /^berth \w+/);
      }
    }
  });

  test('a wrong command, flag or count is refused with what to try, exit code 125', () => {
    for (const [args, message] of [
      [['rnu'], /no such command: rnu; did you mean run\?/],
      [['ps', '--quite'], /unknown flag: --quite; did you mean --quiet\?/],
      [['ps', '-x'], /unknown shorthand flag: 'x' in -x/],
      [['run', '--name'], /flag needs an argument: --name/],
      [['rm'], /berth rm takes at least 1 argument, got 0/],
      [['run', '-p', 'abc', 'bb:1'], /-p abc: expected/],
      [['run', '-m', 'lots', 'bb:1'], /--memory lots: expected/],
      [['run', '--env-file', '/nonexistent', 'bb:1'], /--env-file cannot be read/],
      [['engine', 'strat'], /no such engine command: strat; did you mean start\?/],
      [['-x'], /unknown flag: -x/],
      [['image', 'prun'], /no such image command: prun; did you mean prune\?/],
      [['image', 'prune', '--filter', 'until'], /--filter until: expected NAME=VALUE/],
      [['run', '--read-only=maybe', 'bb:1'], /--read-only=maybe: expected true or false/],
      [['network', 'create', '--gw', 'x'], /unknown flag: --gw/],
      [['login', '-u', 'ann'], /there is no terminal to ask on/],
    ] as const) {
      const result = berth(env, args);
      assert.equal(result.status, 125, args.join(' '));
      assert.match(result.stderr, message);
      assert.match(result.stderr, /\n {2}try: berth /);
      assert.equal(result.stdout, '');
    }
  });

  test('what only docker has is told from what nobody has, and -h of run is the host name', () => {
    const swarm = berth(env, ['swarm', 'init']);
    assert.equal(swarm.status, 125);
    assert.match(swarm.stderr, /no such command: swarm; it is docker's.*\n {2}try: DOCKER_HOST=unix:\S+ docker swarm/);
    assert.deepEqual(JSON.parse(berth(env, ['ps', '--json']).stderr), {
      error: 'no engine answers on /nonexistent/engine.sock',
      code: 'E_NO_ENGINE',
      try: 'berth engine start',
    });
    const named = berth(env, ['run', '-h', 'ahoy', 'bb:1']);
    assert.equal(named.stdout, '');
    assert.match(named.stderr, /no engine answers/);
    assert.equal(berth(env, ['ps', '-h']).status, 0);
  });

  test('it says that no engine answers and how to start one', () => {
    for (const args of [
      ['ps'],
      ['images'],
      ['logs', 'x'],
      ['stop', 'x'],
      ['rmi', 'x'],
      ['inspect', 'x'],
      ['why', 'x'],
      ['ports'],
      ['debug', 'x'],
      ['exec', 'ls'],
      ['network', 'ls'],
      ['top', 'x'],
      ['system', 'info'],
    ]) {
      const result = berth(env, args);
      assert.equal(result.status, 1, args[0]);
      const told = [
        'berth: no engine answers on /nonexistent/engine.sock',
        'try: berth engine start',
        'code: E_NO_ENGINE',
      ];
      assert.equal(result.stderr, `${told.join('\n  ')}\n`);
    }
    assert.equal(berth(env, ['run', '--rm', 'bb:1']).status, 125);
    const version = berth(env, ['version']);
    assert.equal(version.status, 0);
    assert.match(version.stdout, /^cli {5}/);
  });
});

describe('the berth command with an engine', () => {
  let engine: TestEngine;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    engine = await startBerth();
    env = { BERTH_SOCKET: engine.socket };
  });
  after(() => engine[Symbol.asyncDispose]());

  test('load, images, tag, inspect, rmi', () => {
    const loaded = berth(env, ['load', '-i', busyboxArchive({ name: 'bb:1' })]);
    assert.equal(loaded.status, 0, loaded.stderr);
    assert.match(loaded.stdout, /Loaded image: bb:1/);
    assert.equal(berth(env, ['load', '-i', '/nonexistent']).status, 1);
    assert.equal(berth(env, ['tag', 'bb:1', 'other']).status, 0);
    const listed = berth(env, ['images']).stdout;
    assert.match(listed, /^IMAGE +ID +MADE +SIZE$/m);
    assert.match(listed, /^bb:1 /m);
    assert.match(listed, /^other:latest /m);
    assert.doesNotMatch(listed, /\x1b/, 'piped: no colours');
    assert.equal(JSON.parse(berth(env, ['inspect', 'bb:1']).stdout)[0].RepoTags.includes('other:latest'), true);
    assert.match(berth(env, ['rmi', 'other']).stdout, /^untagged .*other:latest$/m);
    const missing = berth(env, ['rmi', 'nosuch']);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /No such image: nosuch/);
  });

  test('save, load, import, image prune', () => {
    const file = join(engine.dir, 'saved.tar');
    assert.equal(berth(env, ['tag', 'bb:1', 'saved:1']).status, 0);
    const saved = berth(env, ['save', '-o', file, 'saved:1']);
    assert.deepEqual([saved.status, saved.stderr], [0, '']);
    const missing = join(engine.dir, 'missing.tar');
    const none = berth(env, ['save', '-o', missing, 'saved:1', 'nosuch']);
    assert.equal(none.status, 1);
    assert.match(none.stderr, /No such image: nosuch/);
    assert.equal(existsSync(missing), false);
    assert.equal(berth(env, ['save', '-o', '/nonexistent/x.tar', 'saved:1']).status, 1);
    assert.equal(berth(env, ['rmi', 'saved:1']).status, 0);
    assert.match(berth(env, ['load', '-i', file]).stdout, /Loaded image: saved:1/);

    const rootfs = join(engine.dir, 'rootfs.tar');
    writeFileSync(rootfs, tar([...busyboxFiles(), { name: 'etc/imported', content: 'yes\n' }]));
    const made = berth(env, ['import', '-c', 'CMD ["cat","/etc/imported"]', rootfs, 'mine:1']);
    assert.match(made.stdout, /^sha256:[0-9a-f]{64}\n$/, made.stderr);
    assert.equal(berth(env, ['run', '--rm', 'mine:1']).stdout, 'yes\n');
    const again = JSON.parse(berth(env, ['import', '--json', rootfs, 'mine:2']).stdout) as { id: string };
    assert.match(again.id, /^sha256:[0-9a-f]{64}$/);
    assert.equal(berth(env, ['rmi', 'mine:2']).status, 0);
    assert.match(berth(env, ['import', '-c', 'RUN x', rootfs]).stderr, /RUN is not a valid change command/);
    assert.equal(berth(env, ['import', rootfs]).status, 0);
    const kept = berth(env, ['image', 'prune', '-f', '--filter', 'label=nosuch']);
    assert.deepEqual([kept.status, kept.stdout], [0, 'nothing is to be removed\n']);
    assert.match(
      berth(env, ['image', 'prune', '-f']).stdout,
      /^image +\S+ +\S+ k?B [^]*\nremoved image sha256:[0-9a-f]{64}\nfreed \S+ k?B\n$/m,
    );
    assert.match(berth(env, ['image', 'ls']).stdout, /^mine:1 /m);
    assert.equal(berth(env, ['rmi', 'mine:1', 'saved:1']).status, 0);
  });

  test('login, push, pull and logout at a registry that asks for a password', async () => {
    await using registry = await startRegistry({ netns: engine.netns, user: { username: 'ann', password: 'right' } });
    const own = { ...env, DOCKER_CONFIG: join(engine.dir, 'berth-config') };
    const name = `${registry.host}/app:1`;
    assert.equal(berth(own, ['tag', 'bb:1', name]).status, 0);
    const denied = berth(own, ['push', name]);
    assert.equal(denied.status, 1);
    assert.match(denied.stderr, /no basic auth credentials\n {2}try: sign in first: docker login/);
    const wrong = berth(own, ['login', '-u', 'ann', '--password-stdin', registry.host], 'wrong\n');
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /unauthorized/);
    const right = berth(own, ['login', '-u', 'ann', '--password-stdin', registry.host], 'right\n');
    assert.equal(right.status, 0, right.stderr);
    assert.match(right.stderr, /signed in to \S+ as ann; kept by .*config\.json/);
    assert.match(berth(own, ['push', name]).stdout, /^✓ \S+\/app:1 sha256:[0-9a-f]{64}\n$/);
    const [pushed] = JSON.parse(berth(own, ['push', '--json', name]).stdout) as { image: string; digest: string }[];
    assert.deepEqual([pushed!.image, /^sha256:[0-9a-f]{64}$/.test(pushed!.digest)], [name, true]);
    assert.match(berth(own, ['push', '-q', '-a', `${registry.host}/app`]).stdout, /^sha256:[0-9a-f]{64}\n$/);
    // docker reads the same file.
    const docker = engine.docker(['push', '-q', name], { env: own });
    assert.equal(docker.status, 0, docker.stderr);
    assert.equal(berth(own, ['rmi', name]).status, 0);
    assert.equal(berth(own, ['pull', name]).status, 0);
    assert.match(berth(own, ['logout', registry.host]).stderr, /^signed out of/);
    assert.match(berth(own, ['logout', registry.host]).stderr, /^not signed in to/);
    assert.equal(berth(own, ['push', name]).status, 1);
    assert.equal(berth(own, ['rmi', name]).status, 0);
  });

  test('run: both streams, stdin, and the exit codes n, 125, 126, 127 and 128+n', () => {
    const run = (args: readonly string[], input?: string) => berth(env, ['run', '--rm', ...args], input);
    const both = run(['bb:1', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
    assert.deepEqual([both.status, both.stdout, both.stderr], [7, 'out\n', 'err\n']);
    const large = 'abcdefghi\n'.repeat(500_000);
    const echoed = run(['-i', 'bb:1', 'cat'], large);
    assert.equal(echoed.status, 0, echoed.stderr);
    assert.equal(echoed.stdout === large, true, `${echoed.stdout.length} of ${large.length} bytes`);
    assert.equal(run(['bb:1', 'nosuch']).status, 127);
    assert.equal(run(['bb:1', '/etc/passwd']).status, 126);
    assert.equal(run(['--network', 'nosuch', 'bb:1', 'true']).status, 125);
    assert.equal(run(['bb:1', 'sh', '-c', 'kill -9 $$']).status, 137);
    assert.equal(berth(env, ['ps', '-aq']).stdout, '');
  });

  test('--env-file is for the container and not for the command itself', () => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-cli-'));
    try {
      writeFileSync(join(dir, 'env'), 'BERTH_SOCKET=/nonexistent\nA=from the file\n');
      const said = spawnSync(join(project, 'berth'), ['run', '--rm', '--env-file', join(dir, 'env'), 'bb:1', 'env'], {
        env: { PATH: process.env.PATH, ...env },
        encoding: 'utf8',
        timeout: 20_000,
      });
      assert.equal(said.status, 0, said.stderr);
      assert.match(said.stdout, /^A=from the file$/m);
      const none = spawnSync(join(project, 'berth'), ['run', '--env-file', '/nonexistent', 'bb:1'], {
        encoding: 'utf8',
      });
      assert.equal(none.status, 125);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  test('what follows the image belongs to the program, its --help too', () => {
    const said = berth(env, ['run', '--rm', '--name', 'echoes', 'bb:1', 'echo', '--help', '-d']);
    assert.deepEqual([said.status, said.stdout], [0, '--help -d\n']);
  });

  test('run -t gives a terminal', () => {
    const said = spawnSync(
      'script',
      [
        '-qec',
        `'${process.execPath}' '${join(project, 'dist/cli-main.js')}' run --rm -it bb:1 sh -c 'test -t 0 && echo a terminal && exit 5'`,
        '/dev/null',
      ],
      { env: { PATH: process.env.PATH, ...env, NO_COLOR: '1' }, encoding: 'utf8', input: '', timeout: 20_000 },
    );
    assert.match(said.stdout, /a terminal\r/);
    assert.equal(said.status, 5);
  });

  test('a container from run -d to rm: ps, logs, exec, stop, start, inspect', async () => {
    const started = berth(env, [
      'run',
      '-d',
      '--name',
      'web',
      '-p',
      '8080:80',
      'bb:1',
      'sh',
      '-c',
      'echo ready; echo oh >&2; exec sleep 60',
    ]);
    assert.equal(started.status, 0, started.stderr);
    assert.match(
      started.stdout,
      /^✓ web {2}running\n {2}http:\/\/localhost:8080 {2}→ 80 {2}open to this machine only\n/,
    );
    assert.match(berth(env, ['ps']).stdout, /^web +up .* 8080→80 local +bb:1 +[0-9a-f]{12}$/m);
    const log = berth(env, ['logs', 'web']);
    assert.deepEqual([log.stdout, log.stderr], ['ready\n', 'oh\n']);
    assert.equal(berth(env, ['logs', '-n', '0', 'web']).stdout, '');
    const run = berth(env, ['exec', '-i', '-e', 'A=1', 'web', 'sh', '-c', 'cat; echo $A; exit 3'], 'in\n');
    assert.deepEqual([run.status, run.stdout], [3, 'in\n1\n']);
    assert.equal(berth(env, ['exec', 'web', 'nosuch']).status, 127);
    assert.equal(berth(env, ['stop', '-t', '20', 'web']).stdout, 'web\n');
    assert.equal(berth(env, ['ps', '-q']).stdout, '');
    assert.match(berth(env, ['ps', '-a']).stdout, /^web +exited \((143: terminated|137: killed)\)/m);
    assert.equal(berth(env, ['start', 'web']).status, 0);
    const info = JSON.parse(berth(env, ['inspect', 'web']).stdout);
    assert.equal(info[0].HostConfig.PidsLimit, 4096);
    const refused = berth(env, ['rm', 'web']);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /^berth: .*web/);
    assert.equal(berth(env, ['rm', '-f', 'web', 'nosuch']).status, 1);
    assert.equal(berth(env, ['ps', '-aq']).stdout, '');
    assert.match(berth(env, ['stop', 'web']).stderr, /No such container: web/);
    // Its log is kept for a while.
    assert.ok(await until(20_000, () => berth(env, ['logs', 'web']).stderr.startsWith('web was removed ')));
  });

  test('what is printed is JSON where that is asked for, and no escape of a container reaches a terminal', () => {
    const web = JSON.parse(
      berth(env, [
        'run',
        '-d',
        '--json',
        '--name',
        'web',
        '-p',
        '8081:80',
        'bb:1',
        'sh',
        '-c',
        'printf "\\033]0;evil\\007\\033[31mred\\n"; exec sleep 60',
      ]).stdout,
    );
    assert.deepEqual([web.name, web.ports['80/tcp'][0].HostPort], ['web', '8081']);
    assert.deepEqual(JSON.parse(berth(env, ['images', '--json']).stdout).length, 1);
    assert.equal(berth(env, ['logs', 'web']).stdout, 'red\n');
    assert.equal(berth(env, ['logs', '--raw', 'web']).stdout, '\x1b]0;evil\x07\x1b[31mred\n');
    const line = JSON.parse(berth(env, ['logs', '--json', 'web']).stdout);
    assert.deepEqual([line.stream, line.text], ['stdout', '\x1b]0;evil\x07\x1b[31mred']);
    const gone = berth(env, ['rm', '-f', '--json', 'web', 'nosuch']);
    assert.equal(gone.status, 1);
    assert.deepEqual(JSON.parse(gone.stdout), [
      { container: 'web', done: true },
      { container: 'nosuch', done: false, error: 'No such container: nosuch', code: 'E_NO_SUCH_CONTAINER' },
    ]);
    berth(env, ['tag', 'bb:1', 'other']);
    assert.match(JSON.parse(berth(env, ['rmi', '--json', 'other']).stdout)[0].Untagged, /other:latest/);
    assert.deepEqual(JSON.parse(berth(env, ['load', '--json', '-i', busyboxArchive({ name: 'bb:1' })]).stdout), [
      { image: 'bb:1' },
    ]);
  });

  test('a reader that leaves early ends the command without a word, and an exec with it', () => {
    berth(env, ['run', '-d', '--name', 'loud', 'bb:1', 'sleep', '60']);
    const cli = `"${process.execPath}" -- "${join(project, 'dist/cli-main.js')}"`;
    const said = spawnSync('bash', ['--norc', '-c', `${cli} exec loud yes | head -n 1; echo \${PIPESTATUS[0]}`], {
      env: { PATH: process.env.PATH, ...env },
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.deepEqual([said.stdout, said.stderr], ['y\n141\n', '']);
    berth(env, ['rm', '-f', 'loud']);
  });

  test('version and doctor', () => {
    assert.match(berth(env, ['version']).stdout, /^engine .*API 1\.51/m);
    const findings = JSON.parse(berth(env, ['doctor', '--json']).stdout);
    assert.ok(Object.keys(findings).length > 0);
  });
});

test('engine start, status, stop and a second start, with settings from the environment and flags', () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-cli-'));
  const netns = `bcli-${process.pid}`;
  spawnSync('ip', ['netns', 'add', netns]);
  const inside = (...args: string[]) =>
    spawnSync(
      'nsenter',
      [`--net=/run/netns/${netns}`, process.execPath, join(project, 'dist/cli-main.js'), 'engine', ...args],
      {
        env: {
          PATH: process.env.PATH,
          BERTH_ROOT: join(dir, 'root'),
          BERTH_RUN_DIR: join(dir, 'run'),
          BERTH_SOCKET: join(dir, 'engine.sock'),
          BERTH_LOG_FILE: join(dir, 'engine.log'),
        },
        encoding: 'utf8',
        timeout: 40_000,
      },
    );
  try {
    const before = inside('status');
    assert.deepEqual([before.status, before.stdout.startsWith('engine is not running')], [3, true]);
    const started = inside('start', '--log-level', 'debug');
    assert.match(started.stdout, /^engine started: pid \d+, /, started.stderr);
    assert.match(inside('start').stdout, /^engine already runs: pid \d+/);
    assert.equal(inside('status').status, 0);
    // A second engine on the same root, on another socket.
    const second = inside('--socket', join(dir, 'other.sock'));
    assert.notEqual(second.status, 0);
    assert.match(second.stderr, new RegExp(`${dir}/root`));
    assert.equal(inside('stop').stdout, 'engine stopped; containers run on\n');
    assert.equal(inside('stop').stdout, 'engine is not running\n');
    const wrong = inside('start', '--log-level', 'loud');
    assert.notEqual(wrong.status, 0);
    assert.match(wrong.stderr, /--log-level: expected one of debug, info, warn, error, got "loud"/);
  } finally {
    inside('stop');
    spawnSync('ip', ['netns', 'del', netns]);
    rmSync(dir, { recursive: true, force: true });
  }
});
