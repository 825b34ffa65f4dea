import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCreateRequest } from './create-request.ts';

const read = (body: object, version = 1051) => readCreateRequest({ Image: 'x', ...body }, version);
const refused = (body: object, message: string | RegExp, version = 1051) =>
  assert.throws(() => read(body, version), { message }, JSON.stringify(body));
const host = (HostConfig: object) => ({ HostConfig });

test('what is not given has the defaults of Docker', () => {
  const { config, hostConfig, endpoints } = readCreateRequest({ Image: 'busybox' }, 1051, {
    runtime: 'crun',
    cgroupnsMode: 'private',
    logDriver: 'local',
    logOptions: { 'max-size': '1m' },
  });
  assert.deepEqual(config.Labels, {});
  assert.deepEqual(config.Env, []);
  assert.equal(config.Cmd, null);
  assert.equal(config.Healthcheck, undefined);
  assert.equal(hostConfig.NetworkMode, 'bridge');
  assert.equal(hostConfig.ShmSize, 67108864);
  assert.equal(hostConfig.IpcMode, 'private');
  assert.equal(hostConfig.Runtime, 'crun');
  assert.equal(hostConfig.CgroupnsMode, 'private');
  assert.deepEqual(hostConfig.RestartPolicy, { Name: 'no', MaximumRetryCount: 0 });
  assert.deepEqual(hostConfig.LogConfig, { Type: 'local', Config: { 'max-size': '1m' } });
  assert.equal(hostConfig.PidsLimit, null);
  assert.ok(hostConfig.MaskedPaths!.includes('/proc/kcore'));
  assert.deepEqual(endpoints, {});
});

test('keys are read without regard to case, null is absent, unknown keys are ignored', () => {
  const { config, hostConfig } = readCreateRequest(
    {
      image: 'a',
      IMAGE: 'b',
      tty: true,
      env: null,
      NoSuch: [1],
      hostconfig: { privileged: true, networkmode: 'host' },
    },
    1051,
  );
  assert.equal(config.Image, 'b');
  assert.equal(config.Tty, true);
  assert.deepEqual(config.Env, []);
  assert.equal(hostConfig.Privileged, true);
  assert.equal(hostConfig.MaskedPaths, null);
  assert.equal(hostConfig.NetworkMode, 'host');
});

test('a wrong type names the field as Go does', () => {
  const say = (what: string) => `invalid JSON: json: cannot unmarshal ${what}`;
  refused({ Tty: 'yes' }, say('string into Go struct field Config.Tty of type bool'));
  refused(host({ Memory: '1g' }), say('string into Go struct field HostConfig.Memory of type int64'));
  refused(host({ Memory: 1.5 }), say('number 1.5 into Go struct field HostConfig.Memory of type int64'));
  refused(host({ BlkioWeight: -1 }), say('number -1 into Go struct field HostConfig.BlkioWeight of type uint64'));
  refused({ Env: 'A=b' }, say('string into Go struct field Config.Env of type []string'));
  refused({ Env: [1] }, say('number into Go struct field Config.Env of type string'));
  refused({ Labels: ['a'] }, say('array into Go struct field Config.Labels of type map[string]string'));
  refused({ Labels: { a: {} } }, say('object into Go struct field Config.Labels of type string'));
  refused({ HostConfig: 7 }, say('number into Go struct field Config.HostConfig of type HostConfig'));
  refused(host({ PortBindings: { '80/tcp': {} } }), /struct field HostConfig\.PortBindings of type/);
  for (const body of [7, 'x', [], true])
    assert.throws(() => readCreateRequest(body, 1051), {
      message: /cannot unmarshal \w+ into Go value of type Config/,
    });
});

test('a key that means something to JavaScript is a label like any other', () => {
  const body: unknown = JSON.parse('{"Image":"x","Labels":{"__proto__":"a","constructor":"b"}}');
  const { config } = readCreateRequest(body, 1051);
  assert.deepEqual(Object.entries(config.Labels), [
    ['__proto__', 'a'],
    ['constructor', 'b'],
  ]);
});

test('commands may be a word or words', () => {
  const { config } = read({ Cmd: 'ls', Entrypoint: ['sh', '-c'] });
  assert.deepEqual([config.Cmd, config.Entrypoint], [['ls'], ['sh', '-c']]);
});

test('ports are brought to one form and checked', () => {
  const { config, hostConfig } = read({
    ExposedPorts: { '80': {}, '9000-9001/udp': {} },
    HostConfig: {
      PortBindings: { '80': [{ HostPort: '8080' }], '53/udp': null, '81/tcp': [{ HostIp: '::1', HostPort: '1-5' }] },
    },
  });
  assert.deepEqual(Object.keys(config.ExposedPorts!), ['80/tcp', '9000/udp', '9001/udp']);
  assert.deepEqual(hostConfig.PortBindings, {
    '80/tcp': [{ HostIp: '', HostPort: '8080' }],
    '53/udp': [],
    '81/tcp': [{ HostIp: '::1', HostPort: '1-5' }],
  });
  for (const port of ['x', '0', '70000', '80/icmp', '9-8', '', '/tcp'])
    refused({ ExposedPorts: { [port]: {} } }, /^invalid port specification: "/);
  refused(host({ PortBindings: { '80/tcp': [{ HostPort: 'x' }] } }), 'invalid port specification: "x"');
  refused(host({ PortBindings: { '80/tcp': [{ HostIp: 'nohost' }] } }), 'invalid IP address: nohost');
});

test('binds and mounts are checked in the words of Docker', () => {
  const bind = (...Binds: string[]) => host({ Binds });
  const mount = (...Mounts: object[]) => host({ Mounts });
  read(bind('/a:/b', 'data:/c:ro', '/x:/y:rw,rshared,z', 'vol:/z:nocopy'));
  read(bind('/anonymous'));
  for (const bad of [':/a', '', '/a:', '/a:/b:ro:x', '/a:/b:'])
    refused(bind(bad), `invalid volume specification: '${bad}'`);
  refused(bind('/a:/b:rw,ro'), /invalid mode: rw,ro$/);
  refused(bind('/a:/b:nocopy'), /invalid mode: nocopy$/);
  read(bind('/a:/b:ro,idmap'));
  refused(bind('vol:/b:idmap'), /invalid mode: idmap$/);
  refused(bind('/a:/b:idmap,rslave'), /invalid mode: idmap,rslave$/);
  refused(bind('a'), /mount path must be absolute$/);
  refused(bind('/a:b'), /mount path must be absolute$/);
  refused(bind('/a:/x/..'), /destination can't be '\/'$/);
  refused(bind('./a:/b'), /includes invalid characters for a local volume name/);
  refused(bind('/a:/x', '/b:/x/'), 'Duplicate mount point: /x');
  read(
    mount(
      { Type: 'bind', Source: '/a', Target: '/b' },
      { Type: 'tmpfs', Target: '/t' },
      { Type: 'volume', Target: '/v' },
    ),
  );
  refused(
    mount({ Type: 'bind', Target: '/b' }),
    'invalid mount config for type "bind": field Source must not be empty',
  );
  refused(
    mount({ Type: 'volume', Source: 'v' }),
    'invalid mount config for type "volume": field Target must not be empty',
  );
  refused(mount({ Type: 'nosuch', Target: '/b' }), 'invalid mount config for type "nosuch": mount type unknown');
  refused(mount({ Type: 'tmpfs', Target: '/b', Source: 'x' }), /field Source must not be specified/);
  refused(mount({ Type: 'tmpfs', Target: '/b', BindOptions: {} }), /BindOptions must not be specified on mount type/);
  refused(
    mount({ Type: 'volume', Source: 'vol', Target: '/b', VolumeOptions: { Subpath: 'a/../../b' } }),
    /subpath must be/,
  );
  const idmap = { IDMap: true, Propagation: 'rshared' };
  refused(mount({ Type: 'bind', Source: '/a', Target: '/b', BindOptions: idmap }), /IDMap cannot be combined/);
  read(mount({ Type: 'image', Source: 'a:1', Target: '/i', ImageOptions: { Subpath: 'a/../b' } }));
  refused(mount({ Type: 'image', Target: '/i' }), /field Source must not be empty/);
  refused(mount({ Type: 'image', Source: 'a', Target: '/i', ImageOptions: { Subpath: '../b' } }), /subpath must be/);
  refused(mount({ Type: 'tmpfs', Target: '/i', ImageOptions: {} }), /field ImageOptions must not be specified/);
  refused(host({ Tmpfs: { rel: '' } }), /mount path must be absolute/);
});

test('restart policies and automatic removal', () => {
  read(host({ RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 } }));
  refused(
    host({ RestartPolicy: { Name: 'sometimes' } }),
    `invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
  );
  refused(
    host({ RestartPolicy: { Name: 'always', MaximumRetryCount: 3 } }),
    `invalid restart policy: maximum retry count can only be used with 'on-failure'`,
  );
  refused(
    host({ RestartPolicy: { Name: 'always' }, AutoRemove: true }),
    `can't create 'AutoRemove' container with restart policy`,
  );
});

test('what cannot go together with a shared network is refused', () => {
  const shared = { NetworkMode: 'container:web' };
  read(host(shared));
  refused({ Hostname: 'a', ...host(shared) }, 'conflicting options: hostname and the network mode');
  refused(host({ ...shared, Dns: ['1.1.1.1'] }), 'conflicting options: dns and the network mode');
  refused(
    host({ ...shared, ExtraHosts: ['a:1.1.1.1'] }),
    'conflicting options: custom host-to-IP mapping and the network mode',
  );
  refused(
    host({ ...shared, PublishAllPorts: true }),
    'conflicting options: port publishing and the container type network mode',
  );
  refused(
    { ExposedPorts: { '80/tcp': {} }, ...host(shared) },
    'conflicting options: port exposing and the container type network mode',
  );
  refused({ Hostname: 'a', ...host({ UTSMode: 'host' }) }, 'conflicting options: hostname and the UTS mode');
  refused(host({ NetworkMode: 'container:' }), 'invalid network mode: invalid container format container:<name|id>');
});

test('log drivers, namespaces, limits and the rest', () => {
  refused(host({ LogConfig: { Type: 'nosuch' } }), 'error looking up logging plugin nosuch: plugin "nosuch" not found');
  refused(
    host({ LogConfig: { Type: 'json-file', Config: { x: '1' } } }),
    `unknown log opt 'x' for json-file log driver`,
  );
  refused(host({ CapAdd: ['FOO'] }), 'invalid CapAdd: unknown capability: "CAP_FOO"');
  read(host({ CapAdd: ['ALL', 'net_admin'], CapDrop: ['CAP_MKNOD'] }));
  refused(host({ IpcMode: 'x' }), 'invalid IPC mode: x');
  refused(host({ PidMode: 'x' }), 'invalid PID mode: x');
  refused(
    host({ Ulimits: [{ Name: 'nofile', Soft: 9, Hard: 1 }] }),
    /soft limit must be less than or equal to hard limit: 9 > 1/,
  );
  refused(host({ ExtraHosts: ['x'] }), 'bad format for add-host: "x"');
  refused(host({ ShmSize: -1 }), 'SHM size can not be less than 0');
  refused({ WorkingDir: 'a' }, `the working directory 'a' is invalid, it needs to be an absolute path`);
  refused({ Env: ['=x'] }, 'invalid environment variable: =x');
  refused({ StopSignal: 'SIGNOPE' }, 'invalid signal: SIGNOPE');
  refused({ Healthcheck: { Interval: 5 } }, 'Interval in Healthcheck cannot be less than 1ms');
  refused({ Cmd: ['a\0b'] }, /NUL/);
});

test('a MAC address of the container is one of its main endpoint', () => {
  const mac = '02:42:ac:11:00:07';
  assert.deepEqual(read({ MacAddress: mac }).endpoints, { bridge: { MacAddress: mac } });
  const both = {
    MacAddress: mac,
    NetworkingConfig: { EndpointsConfig: { default: { MacAddress: '02:42:ac:11:00:08' } } },
  };
  refused(both, /must match the endpoint-specific MAC address/);
  refused({ MacAddress: 'x' }, 'invalid MAC address: x');
  assert.deepEqual(read({ NetworkingConfig: { EndpointsConfig: { default: null } } }).endpoints, { bridge: {} });
});

test('old versions have old defaults', () => {
  assert.equal(read({}, 1039).hostConfig.IpcMode, 'shareable');
  assert.equal(read({}, 1040).hostConfig.CgroupnsMode, 'host');
  refused(
    { NetworkingConfig: { EndpointsConfig: { a: {}, b: {} } } },
    /cannot be connected to network endpoints/,
    1043,
  );
});
