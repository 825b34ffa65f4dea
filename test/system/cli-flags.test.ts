import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { commands } from '../../src/cli/catalogue.ts';
import type { Command } from '../../src/cli/command.ts';
import { isGroup } from '../../src/cli/complete.ts';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

/** Docker's verbs for one host, by their long form. */
const verbs: Readonly<Record<string, string>> = {
  container:
    'attach commit cp create diff exec export inspect kill logs ls pause port prune rename restart rm run start stats stop top unpause update wait',
  image: 'history import inspect load ls prune pull push rm save tag',
  volume: 'create inspect ls prune rm',
  network: 'connect create disconnect inspect ls prune rm',
  system: 'df events info prune',
};

/** Of clusters, of checkpoints and of what nobody has yet. */
const without =
  /^(?:help|use-api-socket|checkpoint|checkpoint-dir|cluster|availability|group|limit-bytes|required-bytes|scope|secret|sharing|topology-preferred|topology-required|type|tree)$/;

/** What is refused as an unknown flag, for there is nothing that it could do. */
const refused = new Set(['rm platform']);

function flagsOf(help: string): string[] {
  return [...help.matchAll(/^ {2,6}(?:-\w, )?--([\w-]+)/gm)].map((match) => match[1]!);
}

async function commandOf(group: string, verb: string): Promise<Command> {
  const entry = commands[group]!;
  assert.ok(isGroup(entry));
  return await entry.commands[verb]!.load();
}

test('every verb of docker for one host is there, with every flag', async () => {
  const missing: string[] = [];
  for (const [group, names] of Object.entries(verbs))
    for (const verb of names.split(' ')) {
      const { stdout } = spawnSync('docker', [group, verb, '--help'], { encoding: 'utf8' });
      const { options } = await commandOf(group, verb);
      const own = new Set(Object.entries(options).flatMap(([name, { also = [] }]) => [name, ...also]));
      const wanted = flagsOf(stdout).filter((flag) => !without.test(flag) && !refused.has(`${verb} ${flag}`));
      missing.push(...wanted.filter((flag) => !own.has(flag)).map((flag) => `${group} ${verb} --${flag}`));
    }
  assert.deepEqual(missing, []);
});

describe('berth create and docker create', () => {
  let engine: TestEngine;
  let berth: BerthCli;

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine);
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
    engine.must('network', 'create', '--subnet', '10.66.0.0/24', 'front');
    engine.must('create', '--name', 'other', '-v', '/shared', 'bb:1', 'true');
    writeFileSync(join(engine.dir, 'env'), '# a comment\nFROM_FILE=1\n');
    writeFileSync(join(engine.dir, 'labels'), 'from-file=1\n');
  });
  after(async () => {
    engine.docker(['rm', '-f', '-v', 'other', 'berth', 'docker']);
    engine.docker(['network', 'rm', 'front']);
    await engine[Symbol.asyncDispose]();
  });

  interface Inspected {
    readonly Config: Record<string, unknown>;
    readonly HostConfig: Record<string, unknown>;
    readonly Mounts: readonly Record<string, unknown>[];
    readonly NetworkSettings: { readonly Networks: Record<string, Record<string, unknown>> };
  }

  /** What our own CLI adds is switched off, or taken out here. */
  function inspected(name: string) {
    const [{ Config, HostConfig, NetworkSettings, Mounts }] = JSON.parse(engine.must('inspect', name)) as [Inspected];
    // Docker's CLI gives binds and variables in the order of a map of Go's.
    const sorted = (value: readonly unknown[]) => value.toSorted((a, b) => (String(a) < String(b) ? -1 : 1));
    const plainly = (value: unknown) =>
      !Array.isArray(value) ? value : value.length === 0 ? null : typeof value[0] === 'string' ? sorted(value) : value;
    const { Init: _, ConsoleSize: _size, ...host } = HostConfig;
    const links = (host['Links'] as string[] | null)?.map((link) => link.replace(`:/${name}/`, ':/NAME/'));
    const dropped = (host['CapDrop'] as string[] | null)?.filter((one) => one !== 'CAP_NET_RAW' && one !== 'NET_RAW');
    const secured = (host['SecurityOpt'] as string[] | null)?.filter((one) => one !== 'no-new-privileges');
    return {
      config: { ...Config, Env: plainly(Config['Env']), Hostname: Config['Hostname'] === 'ahoy' ? 'ahoy' : '' },
      host: Object.fromEntries(
        Object.entries({ ...host, Links: links ?? null, CapDrop: dropped ?? [], SecurityOpt: secured ?? [] }).map(
          ([key, value]) => [key, plainly(value)],
        ),
      ),
      networks: Object.fromEntries(
        Object.entries(NetworkSettings.Networks).map(([network, { Aliases, IPAMConfig, Links, DriverOpts }]) => [
          network,
          { Aliases: plainly(Aliases), IPAMConfig, Links: plainly(Links), DriverOpts },
        ]),
      ),
      mounts: sorted(
        Mounts.map((mount) => `${mount['Destination']} ${mount['Type']} ${mount['RW']} ${mount['Propagation']}`),
      ),
    };
  }

  const lines = (): readonly (readonly string[])[] => [
    '-it -e A=1 -e PATH --label a=b -w /tmp -u 1:2 --group-add 7 -h ahoy --domainname d --entrypoint sh --read-only --pids-limit 77'.split(
      ' ',
    ),
    ['--env-file', join(engine.dir, 'env'), '--label-file', join(engine.dir, 'labels'), '--rm', '--pids-limit', '9'],
    '-m 64m --memory-swap 128m --memory-reservation 32m --oom-score-adj 100 --shm-size 1m --cpus 0.5 --cpuset-cpus 0 --pids-limit 9'.split(
      ' ',
    ),
    '-c 512 --cpu-period 100000 --cpu-quota 50000 --cpuset-mems 0 --blkio-weight 300 --ulimit nofile=100:200 --pids-limit 9'.split(
      ' ',
    ),
    '-p 127.0.0.1:8080:80 -p 127.0.0.1:9000-9002:9000-9002/udp --expose 53/udp --expose 70-72 --pids-limit 9'.split(
      ' ',
    ),
    '--network front --ip 10.66.0.50 --network-alias web --mac-address 02:42:0a:42:00:32 --pids-limit 9'.split(' '),
    '--dns 1.1.1.1 --dns-search a.b --dns-option ndots:2 --add-host x:1.2.3.4 --add-host y=fd00::1 --pids-limit 9'.split(
      ' ',
    ),
    '-v data:/data:ro -v /anonymous -v /tmp:/host --tmpfs /run:size=1m --volumes-from other:ro --pids-limit 9'.split(
      ' ',
    ),
    [
      ...['--mount', 'type=bind,source=/tmp,target=/m,readonly,bind-propagation=rslave', '--mount'],
      ...['type=volume,source=named,target=/n,volume-nocopy,volume-label=a=b', '--mount'],
      ...['type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770', '--pids-limit', '9'],
    ],
    '--cap-add SYS_PTRACE --cap-drop CHOWN --security-opt apparmor=unconfined --security-opt systempaths=unconfined --pids-limit 9'.split(
      ' ',
    ),
    '--device /dev/null:/dev/x:r --device-cgroup-rule c\u00a01:3\u00a0r --sysctl net.ipv4.ip_forward=0 --pid host --ipc shareable --pids-limit 9'
      .split(' ')
      .map((word) => word.replaceAll('\u00a0', ' ')),
    '--uts host --cgroupns host --restart on-failure:3 --stop-signal INT --stop-timeout 7 --annotation a=b --pids-limit 9'.split(
      ' ',
    ),
    [
      '--health-cmd',
      'test -e /x',
      ...'--health-interval 1m30s --health-timeout 5s --health-retries 4 --pids-limit 9'.split(' '),
    ],
    '--health-start-period 3s --no-healthcheck=false --log-driver json-file --log-opt max-size=1m --pids-limit 9'.split(
      ' ',
    ),
    '--no-healthcheck --privileged --link other:o --runtime crun --pids-limit 9'.split(' '),
    '-a stdout -a stderr -i --volume-driver local --storage-opt size=1g --oom-kill-disable --pids-limit 9'.split(' '),
    '--device-read-bps /dev/null:1m --device-write-iops /dev/null:7 --blkio-weight-device /dev/null:300 --pids-limit 9'.split(
      ' ',
    ),
  ];

  test('the same flags make the same container', () => {
    for (const flags of lines()) {
      const by = (program: string) => ['create', '--name', program, ...flags, 'bb:1', 'true', '-x'];
      const docker = engine.docker(by('docker'));
      const own = berth.run(by('berth'));
      const said = flags.join(' ');
      assert.equal(own.status, docker.status, `${said}: ${own.stderr}${docker.stderr}`);
      if (docker.status !== 0) continue;
      assert.match(own.stdout, /^[0-9a-f]{64}\n$/);
      assert.deepEqual(inspected('berth'), inspected('docker'), said);
      engine.must('rm', '-f', 'berth', 'docker');
    }
  });
});
