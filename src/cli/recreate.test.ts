import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { readCreateRequest } from '../protocol/create-request.ts';
import type { ContainerInfo } from './container-info.ts';
import { asCompose, asRun, type Original } from './recreate.ts';
import { shellWord } from './shell-words.ts';
import { toYaml } from './yaml.ts';

const image = {
  Env: ['PATH=/bin'],
  Cmd: ['serve'],
  Entrypoint: ['/entry'],
  Labels: { base: 'yes' },
  ExposedPorts: { '80/tcp': {} },
};

function original(body: Record<string, unknown>, networks = {}): Original {
  const { config, hostConfig } = readCreateRequest({ Image: 'app:1', Env: ['PATH=/bin'], ...body }, 1051, {
    runtime: 'crun',
    cgroupnsMode: 'private',
  });
  const container = {
    Id: 'a'.repeat(64),
    Name: '/web',
    Config: { ...image, ...config, Cmd: config.Cmd ?? image.Cmd, Entrypoint: config.Entrypoint ?? image.Entrypoint },
    HostConfig: hostConfig,
    NetworkSettings: { Ports: {}, Networks: networks },
  } as unknown as ContainerInfo;
  const engine = { name: 'host', runtime: 'crun', logDriver: 'json-file', cgroupnsMode: 'private' };
  return { container, image, engine };
}

const words = (body: Record<string, unknown>, networks = {}) =>
  asRun(original(body, networks)).replaceAll(' \\\n ', '').trim();

test('what the image or the defaults say is not said again', () => {
  assert.equal(words({ Labels: { base: 'yes' } }), 'docker run -d --name web app:1');
  assert.equal(toYaml({ a: 1 }), 'a: 1\n');
  assert.equal(
    asCompose(original({})),
    'services:\n  web:\n    image: "app:1"\n    container_name: web\n    network_mode: bridge\n',
  );
});

test('a device of CDI is said by its name', () => {
  const cdi = { Driver: 'cdi', DeviceIDs: ['vendor.com/thing=one'] };
  const gpu = { Count: -1, Capabilities: [['gpu']] };
  const text = words({ HostConfig: { DeviceRequests: [cdi, gpu] } });
  assert.match(text, /--gpus is to be added by hand: \{"Count":-1/);
  assert.match(text, / --device vendor.com\/thing=one app:1$/);
});

test('a part of an image that is mounted is said in both forms', () => {
  const mount = { Type: 'image', Source: 'files:1', Target: '/m', ImageOptions: { Subpath: 'data' } };
  const body = { HostConfig: { Mounts: [mount] } };
  assert.match(words(body), /--mount type=image,source=files:1,target=\/m,image-subpath=data /);
  assert.match(asCompose(original(body)), /type: image\n +source: "files:1"\n +target: \/m\n +image:\n +subpath: data/);
});

test('the command is said when it differs; an entrypoint of several words runs the same and says so', () => {
  assert.equal(words({ Cmd: ['serve', '--fast'] }), 'docker run -d --name web app:1 serve --fast');
  assert.equal(
    words({ Entrypoint: ['sh'], Cmd: ['-c', 'a b'] }),
    "docker run -d --name web --entrypoint sh app:1 -c 'a b'",
  );
  const two = words({ Entrypoint: ['sh', '-c'], Cmd: ['x'] });
  assert.match(
    two,
    /^# docker run takes one word as entrypoint.*\ndocker run -d --name web --entrypoint sh app:1 -c x$/,
  );
  assert.match(
    asCompose(original({ Entrypoint: ['sh', '-c'], Cmd: ['x'] })),
    /entrypoint:\n +- sh\n +- "-c"\n +command:\n +- x\n/,
  );
});

test('mounts with commas, health checks, users networks and addresses', () => {
  const mount = { Type: 'bind', Source: '/a,b', Target: '/c', ReadOnly: true, BindOptions: { Propagation: 'rslave' } };
  assert.match(
    words({ HostConfig: { Mounts: [mount] } }),
    /--mount 'type=bind,"source=\/a,b",target=\/c,readonly,bind-propagation=rslave'/,
  );
  const check = { Test: ['CMD', 'curl', 'a b'], Interval: 1_500_000_000, Retries: 3 };
  assert.match(
    words({ Healthcheck: check }),
    /--health-cmd 'curl '\\''a b'\\''' --health-interval 1500ms --health-retries 3/,
  );
  assert.match(words({ Healthcheck: { Test: ['NONE'] } }), /--no-healthcheck/);
  const joined = {
    other: { Aliases: null },
    mine: { Aliases: ['a', 'aaaaaaaaaaaa'], IPAMConfig: { IPv4Address: '10.0.0.5' } },
  };
  assert.match(
    words({ HostConfig: { NetworkMode: 'mine' } }, joined),
    /--network name=mine,alias=a,ip=10\.0\.0\.5 --network other/,
  );
  assert.match(
    asCompose(original({ HostConfig: { NetworkMode: 'mine' } }, joined)),
    /networks:\n {2}mine:\n {4}external: true\n {2}other:/,
  );
});

test('what cannot be said is a comment that is no command', () => {
  const said = asRun(original({ HostConfig: { SecurityOpt: ['seccomp={"a":\n1}'] } }));
  assert.match(said, /^# its seccomp profile is to be written to a file/);
  const gpu = asRun(original({ HostConfig: { DeviceRequests: [{ Driver: 'x\nrm -rf /' }] } }));
  assert.doesNotMatch(gpu, /^rm/m);
});

test('a word comes back from the shell as it was', () => {
  for (const word of [
    'plain',
    '',
    "it's",
    '$HOME `id` "x"',
    'two\nlines',
    '*',
    '~',
    'a=b',
    '-x',
    '!!',
    '大',
    '\x1b[31m\r',
    'a\u009b\u202eb\x07',
  ]) {
    assert.doesNotMatch(shellWord(word), /[\x1b\r\x07\u009b\u202e]/);
    assert.equal(execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' }), word);
  }
});

test('YAML: what could be read as something else is quoted, and a dollar is two', () => {
  assert.equal(
    toYaml({ a: ['yes', '1', '', 'x: y', '# no', 'line\n', '~'], b: {}, c: [{ d: true, e: [] }], 'x y': 'plain' }),
    'a:\n  - "yes"\n  - "1"\n  - ""\n  - "x: y"\n  - "# no"\n  - "line\\n"\n  - "~"\nb: {}\nc:\n  - d: true\n    e: []\n"x y": plain\n',
  );
  assert.match(asCompose(original({ Env: ['PATH=/bin', 'A=$B'] })), /- "A=\$\$B"/);
});
