import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, afterEach, before, describe, test } from 'node:test';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { dockerCli, startBerth, type TestEngine } from '../lib/engines.ts';

interface Inspected {
  readonly Config: { readonly Hostname: string; readonly Env: readonly string[]; readonly [key: string]: unknown };
  readonly HostConfig: { readonly Binds: readonly string[] | null; readonly [key: string]: unknown };
}

describe('berth inspect --as run', () => {
  let engine: TestEngine;
  let berth: BerthCli;

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine);
    engine.must(
      'load',
      '-i',
      busyboxArchive({
        name: 'app:1',
        config: {
          Entrypoint: ['/bin/sh', '-c'],
          Cmd: ['sleep 600'],
          Env: ['PATH=/bin', 'LANG=C'],
          Labels: { base: 'yes', kept: 'a b' },
          ExposedPorts: { '80/tcp': {} },
          Volumes: { '/store': {} },
          WorkingDir: '/home',
          User: 'web',
          StopSignal: 'SIGINT',
          Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 60_000_000_000 },
        },
      }),
    );
  });
  after(() => engine[Symbol.asyncDispose]());

  const shown = (id: string, name: string) => {
    const [{ Config, HostConfig }] = JSON.parse(engine.must('inspect', name)) as [Inspected];
    // Made from the ID where none was asked for.
    const Hostname = id.startsWith(Config.Hostname) && Config.Hostname.length === 12 ? '' : Config.Hostname;
    // The docker CLI sends these in an order of its own, another one each time.
    const Env = Config.Env.toSorted();
    const Binds = HostConfig.Binds?.toSorted() ?? null;
    return { Config: { ...Config, Hostname, Env }, HostConfig: { ...HostConfig, Binds } };
  };

  const cases: Readonly<Record<string, readonly string[]>> = {
    'one with nothing of its own': ['-d', 'app:1'],
    'one in the foreground with a command': ['app:1', 'echo hello; sleep 0.3'],
    'one with awkward texts': [
      '-d',
      ...[
        '-e',
        "QUOTE=it's",
        '-e',
        'DOLLAR=$HOME `id` "x" \\',
        '-e',
        'LINES=one\ntwo\n',
        '-e',
        'EMPTY=',
        '-e',
        'LANG=de',
      ],
      ...['-l', 'a=b=c', '-l', 'empty', '-l', 'kept=other', '--hostname', 'own', '--entrypoint', 'sh'],
      ...['app:1', '-c', 'echo "$0" \'*\' "a  b"; sleep 600', 'zero', ''],
    ],
    'one with limits, rights and signals': [
      ...['-dit', '-u', '0:29', '-w', '/tmp', '-m', '64m', '--memory-swap', '96m', '--memory-reservation', '32m'],
      ...[
        '--cpus',
        '0.5',
        '--cpu-shares',
        '512',
        '--pids-limit',
        '99',
        '--ulimit',
        'nofile=100:200',
        '--shm-size',
        '33000000',
      ],
      ...['--read-only', '--init', '--cap-add', 'NET_ADMIN', '--cap-drop', 'ALL', '--group-add', '29', '--pid', 'host'],
      ...['--security-opt', 'no-new-privileges', '--security-opt', 'systempaths=unconfined', '--ipc', 'shareable'],
      ...['--device', '/dev/null:/dev/zull:r', '--oom-score-adj', '5', '--sysctl', 'net.ipv4.ip_forward=1'],
      ...['--stop-signal', 'TERM', '--stop-timeout', '7', '--restart', 'on-failure:3', '--runtime', 'crun'],
      ...[
        '--health-cmd',
        "test 'a b'",
        '--health-interval',
        '1500ms',
        '--health-retries',
        '4',
        '--annotation',
        'a.b=c d',
      ],
      ...['--log-opt', 'max-size=1m', '--cgroupns', 'host', 'app:1'],
    ],
    'one with mounts, ports and names': [
      ...['-d', '-v', 'named:/data:ro', '-v', '/anonymous', '-v', '/tmp:/host', '--tmpfs', '/run:size=1m'],
      ...[
        '--mount',
        'type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700',
        '--mount',
        'type=volume,source=other,target=/v,volume-nocopy',
      ],
      ...['--mount', 'type=bind,source=/tmp,target=/b,readonly,bind-propagation=private'],
      ...['-p', '8088:80', '-p', '127.0.0.1:8089:81/udp', '-p', '[::1]:8090:82', '--expose', '99', '--rm'],
      ...[
        '--dns',
        '192.0.2.1',
        '--dns-search',
        's.example',
        '--dns-option',
        'ndots:1',
        '--add-host',
        'h:192.0.2.2',
        'app:1',
      ],
    ],
    'one that is privileged, on the host’s network': [
      '-d',
      '--privileged',
      '--network',
      'host',
      '--uts',
      'host',
      'app:1',
    ],
    'one without a health check': ['-d', '--no-healthcheck', '--network', 'none', 'app:1'],
  };

  afterEach(() => void engine.docker(['rm', '-f', '-v', 'one']));

  for (const [title, args] of Object.entries(cases))
    test(title, () => {
      const made = engine.docker(['run', '--name', 'one', ...args]);
      assert.equal(made.status, 0, made.stderr);
      const before = shown(engine.must('inspect', '-f', '{{.Id}}', 'one'), 'one');
      const line = berth.must('inspect', '--as', 'run', 'one');
      engine.must('rm', '-f', 'one');
      const again = spawnSync('sh', ['-c', `docker() { "$DOCKER" "$@"; }\n${line}`], {
        env: { ...engine.env, DOCKER: dockerCli() },
        encoding: 'utf8',
        timeout: 30_000,
      });
      assert.equal(again.status, 0, `${line}\n${again.stderr}`);
      assert.deepEqual(shown(engine.must('inspect', '-f', '{{.Id}}', 'one'), 'one'), before, line);
      assert.match(berth.must('inspect', '--as', 'compose', 'one'), /^services:\n {2}one:\n {4}image: "app:1"$/m);
    });

  test('what is no container, or no form, is refused', () => {
    assert.match(berth.run(['inspect', '--as', 'run', 'nosuch']).stderr, /No such container: nosuch/);
    const wrong = berth.run(['inspect', '--as', 'quadlet', 'one']);
    assert.equal(wrong.status, 125);
    assert.match(wrong.stderr, /--as quadlet: expected run or compose/);
  });
});
