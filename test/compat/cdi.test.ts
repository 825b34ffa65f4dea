import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-cdi-'));
const [etc, run] = ['etc', 'run'].map((name) => join(directory, name)) as [string, string];
for (const path of [etc, run]) mkdirSync(path);
writeFileSync(join(directory, 'mounted'), 'of the vendor\n');
writeFileSync(join(directory, 'hook.sh'), `#!/bin/sh\necho "$1 $HOOK $(cat | wc -c)" >> ${directory}/hooks\n`, {
  mode: 0o755,
});
writeFileSync(
  join(etc, 'vendor.json'),
  JSON.stringify({
    cdiVersion: '0.6.0',
    kind: 'vendor.com/thing',
    containerEdits: { env: ['ALL=yes', 'CHANGED=by the file'] },
    devices: [
      {
        name: 'one',
        containerEdits: {
          env: ['ONE=1'],
          deviceNodes: [{ path: '/dev/mine', hostPath: '/dev/zero', permissions: 'r' }],
          mounts: [
            { hostPath: join(directory, 'mounted'), containerPath: '/vendor/file', options: ['rbind', 'ro', 'nosuid'] },
          ],
          hooks: [
            {
              hookName: 'createRuntime',
              path: '/bin/sh',
              args: ['sh', join(directory, 'hook.sh'), 'x'],
              env: ['HOOK=h'],
            },
          ],
        },
      },
      { name: 'two', containerEdits: { env: ['TWO=2'] } },
      { name: 'nothere', containerEdits: { deviceNodes: [{ path: '/dev/nosuch-thing' }] } },
    ],
  }),
);
writeFileSync(
  join(etc, 'other.yaml'),
  `cdiVersion: "0.5.0"
kind: other.org/net
devices:
  - name: a
    containerEdits:
      env: ["A=from yaml"]
      deviceNodes:
        - path: /dev/other/null
          type: c
          major: 1
          minor: 3
          fileMode: 0o640
`,
);
writeFileSync(join(etc, 'broken.json'), '{');
const override = {
  cdiVersion: '0.6.0',
  kind: 'other.org/net',
  devices: [{ name: 'over', containerEdits: { env: ['A=etc'] } }],
};
writeFileSync(join(etc, 'over.json'), JSON.stringify(override));
override.devices[0]!.containerEdits.env = ['A=run'];
writeFileSync(join(run, 'over.json'), JSON.stringify(override));
after(() => rmSync(directory, { recursive: true, force: true }));

onBothEngines(
  'devices of CDI',
  {
    runtimes: ['crun', 'runc'],
    flags: {
      berth: ['--cdi-spec-dirs', `${etc},${run}`],
      reference: ['--cdi-spec-dir', etc, '--cdi-spec-dir', run],
    },
  },
  ({ same, berthOnly }) => {
    const message = (engine: TestEngine, ...args: string[]) =>
      engine
        .docker(args)
        .stderr.replace(/\n\nRun 'docker.*$/s, '')
        .replace(/\n {2}try: .*$/gm, '')
        .trim();

    same('variables, nodes, mounts and hooks of a device', (engine) => {
      rmSync(join(directory, 'hooks'), { force: true });
      const lines = engine
        .must(
          ...['run', '--rm', '-e', 'CHANGED=by the user', '--device', 'vendor.com/thing=one', 'bb:1', 'sh', '-c'],
          'echo $ALL,$ONE,$TWO,$CHANGED; stat -c "%F %t %T" /dev/mine; head -c 3 /dev/mine | wc -c; cat /vendor/file; echo x > /vendor/file || echo read-only',
        )
        .split('\n');
      assert.deepEqual(lines, ['yes,1,,by the file', 'character special file 1 5', '3', 'of the vendor', 'read-only']);
      assert.match(readFileSync(join(directory, 'hooks'), 'utf8'), /^x h [1-9]\d*\n$/);
    });

    same('YAML, with a node that the file describes by itself', (engine) => {
      assert.equal(
        engine.must(
          ...['run', '--rm', '--device', 'other.org/net=a', 'bb:1', 'sh', '-c'],
          'echo $A; stat -c "%t %T %a" /dev/other/null; echo x > /dev/other/null && echo written',
        ),
        'from yaml\n1 3 640\nwritten',
      );
    });

    same('several devices, and a directory that comes later wins', (engine) => {
      const all = ['vendor.com/thing=one', 'vendor.com/thing=two', 'other.org/net=over'];
      assert.equal(
        engine.must('run', '--rm', ...all.flatMap((name) => ['--device', name]), 'bb:1', 'sh', '-c', 'echo $ONE$TWO$A'),
        '12run',
      );
    });

    same('what is not there is named', (engine) => {
      assert.equal(
        message(
          engine,
          'run',
          '--rm',
          '--device',
          'vendor.com/thing=no',
          '--device',
          'none.com/thing=b',
          'bb:1',
          'true',
        ),
        'docker: Error response from daemon: CDI device injection failed: unresolvable CDI devices vendor.com/thing=no, none.com/thing=b',
      );
      assert.equal(
        message(engine, 'run', '--rm', '--gpus', 'all', 'bb:1', 'true'),
        'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]]',
      );
      assert.notEqual(engine.docker(['run', '--rm', '--device', 'vendor.com/thing=nothere', 'bb:1', 'true']).status, 0);
    });

    same('info names the directories and, from API 1.50 on, the devices', async (engine) => {
      const info = JSON.parse((await engine.api('GET', '/v1.50/info')).body) as {
        CDISpecDirs: string[];
        DiscoveredDevices: { Source: string; ID: string }[];
      };
      assert.deepEqual(info.CDISpecDirs, [etc, run]);
      assert.deepEqual(info.DiscoveredDevices.map(({ Source, ID }) => `${Source} ${ID}`).sort(), [
        'cdi other.org/net=a',
        'cdi other.org/net=over',
        'cdi vendor.com/thing=nothere',
        'cdi vendor.com/thing=one',
        'cdi vendor.com/thing=two',
      ]);
    });

    berthOnly('--gpus takes the devices of a vendor of graphics processors', (engine) => {
      const gpus = ['0', '1', 'all'].map((name) => ({ name, containerEdits: { env: [`GPU=${name}`] } }));
      const file = join(run, 'gpu.json');
      writeFileSync(file, JSON.stringify({ cdiVersion: '0.6.0', kind: 'nvidia.com/gpu', devices: gpus }));
      try {
        const given = (...flag: string[]) => engine.must('run', '--rm', ...flag, 'bb:1', 'sh', '-c', 'echo $GPU');
        assert.equal(given('--gpus', 'all'), 'all');
        assert.equal(given('--gpus', '1'), '0');
        assert.equal(given('--gpus', 'device=1'), '1');
        assert.match(message(engine, 'run', '--rm', '--gpus', '3', 'bb:1', 'true'), /3 devices .* there are 2$/);
      } finally {
        rmSync(file);
      }
    });

    berthOnly('what no device could make right is refused when the container is made', async (engine) => {
      const cases: readonly (readonly [object, RegExp])[] = [
        [{ Driver: 'cdi', DeviceIDs: ['nonsense'] }, /unresolvable CDI devices nonsense/],
        [{ Driver: 'cdi', Count: 1, DeviceIDs: ['vendor.com/thing=one'] }, /^unexpected count in CDI device request$/],
        [
          { Driver: 'nosuch', Count: 1, Capabilities: [['gpu']] },
          /device driver "nosuch" with capabilities: \[\[gpu\]\]/,
        ],
        [{ Count: 1, Capabilities: [['tpu']] }, /device driver "" with capabilities: \[\[tpu\]\]/],
      ];
      for (const [request, text] of cases) {
        const body = { Image: 'bb:1', HostConfig: { DeviceRequests: [request] } };
        const answer = await engine.api('POST', '/v1.50/containers/create', body);
        assert.equal(answer.status, 400);
        assert.match(JSON.parse(answer.body).message.split('\n')[0], text);
      }
    });
  },
);
