import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseArguments } from './command.ts';
import { run } from './commands/run.ts';
import { createBody } from './create-body.ts';
import { mountOf } from './mount-option.ts';
import { exposedPorts, publishedPorts } from './publish-option.ts';
import { bytesOf, commaSeparated } from './values.ts';

interface Body {
  readonly Entrypoint?: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
  readonly Healthcheck?: Readonly<Record<string, unknown>>;
  readonly Volumes?: object;
  readonly HostConfig: Readonly<Record<string, unknown>>;
  readonly NetworkingConfig: { readonly EndpointsConfig: Readonly<Record<string, unknown>> };
}
const bodyOf = (...words: string[]) =>
  createBody(parseArguments('run', run, [...words, 'bb:1']), {
    help: 'berth run --help',
    detach: true,
  }) as unknown as Body;

test('what protects is there unless it is switched off, each by itself', () => {
  const usual = bodyOf('-p', '80').HostConfig;
  assert.deepEqual(
    [usual['Init'], usual['PidsLimit'], usual['CapDrop'], usual['SecurityOpt']],
    [true, 4096, ['CAP_NET_RAW'], ['no-new-privileges']],
  );
  assert.deepEqual(usual['PortBindings'], { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] });
  assert.equal(bodyOf('--init=false').HostConfig['Init'], false);
  assert.equal(bodyOf('--pids-limit', '-1').HostConfig['PidsLimit'], -1);
  for (const given of ['NET_RAW', 'cap_net_raw', 'ALL'])
    assert.deepEqual(bodyOf('--cap-add', given).HostConfig['CapDrop'], [], given);
  assert.deepEqual(bodyOf('--cap-drop', 'ALL').HostConfig['CapDrop'], ['ALL']);
  const allowed = 'no-new-privileges=false';
  assert.deepEqual(bodyOf('--security-opt', allowed).HostConfig['SecurityOpt'], [allowed]);
  const open = bodyOf('--privileged').HostConfig;
  assert.deepEqual([open['CapDrop'], open['SecurityOpt']], [[], []]);
  assert.deepEqual(bodyOf('--public', '-p', '80').HostConfig['PortBindings'], {
    '80/tcp': [{ HostIp: '', HostPort: '' }],
  });
});

test('ports: addresses, ranges, protocols', () => {
  const help = 'help';
  const read = (...texts: string[]) => publishedPorts(texts, '127.0.0.1', help);
  assert.deepEqual(read('[::1]:90:80/udp'), { '80/udp': [{ HostIp: '::1', HostPort: '90' }] });
  assert.deepEqual(read('0.0.0.0::80'), { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '' }] });
  assert.deepEqual(Object.keys(read('8000-8002:9000-9002')), ['9000/tcp', '9001/tcp', '9002/tcp']);
  assert.deepEqual(read('8000-8002:80')['80/tcp'], [{ HostIp: '127.0.0.1', HostPort: '8000-8002' }]);
  assert.equal(read('90:80', '91:80')['80/tcp']!.length, 2);
  assert.throws(() => read('8000-8001:1-3'), /different lengths/);
  assert.throws(() => read('8002-8000:80'), /upwards/);
  assert.throws(() => read('70000:80'), /at most 65535/);
  assert.throws(() => read('host:80:80'), /expected \[ADDRESS:\]HOST:PORT/);
  assert.deepEqual(exposedPorts(['53/udp', '80-81'], help), { '53/udp': {}, '80-81/tcp': {} });
});

test('mounts: docker’s keys, each for its kind', () => {
  const read = (text: string) => mountOf(text, 'help');
  assert.deepEqual(read('type=bind,src=/srv,dst=/data,ro,bind-propagation=rslave'), {
    Type: 'bind',
    Source: '/srv',
    Target: '/data',
    ReadOnly: true,
    BindOptions: { Propagation: 'rslave' },
  });
  assert.deepEqual(read('source=v,target=/v,volume-driver=local,"volume-opt=o=addr=1.2.3.4,rw",volume-label=a=b'), {
    Type: 'volume',
    Source: 'v',
    Target: '/v',
    VolumeOptions: { DriverConfig: { Name: 'local', Options: { o: 'addr=1.2.3.4,rw' } }, Labels: { a: 'b' } },
  });
  assert.deepEqual(read('type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770'), {
    Type: 'tmpfs',
    Target: '/t',
    TmpfsOptions: { SizeBytes: 1_048_576, Mode: 0o1770 },
  });
  assert.throws(() => read('type=bind,source=/srv'), /target is required/);
  assert.throws(() => read('type=bind,target=/x,volume-nocopy'), /its volume options are for type=volume/);
  assert.throws(() => read('target=/x,sauce=/y'), /unexpected key 'sauce'/);
});

test('networks: several, and in fields; the flags belong to the first', () => {
  const fields = 'name=back,alias=db,alias=sql,ip=10.0.0.5,gw-priority=3,driver-opt=a=b';
  const body = bodyOf('--network', 'front', '--network', fields, '--network-alias', 'web', '--ip6', 'fd00::7');
  assert.equal(body.HostConfig['NetworkMode'], 'front');
  assert.deepEqual(body.NetworkingConfig.EndpointsConfig, {
    front: { Aliases: ['web'], IPAMConfig: { IPv6Address: 'fd00::7' } },
    back: { Aliases: ['db', 'sql'], GwPriority: 3, DriverOpts: { a: 'b' }, IPAMConfig: { IPv4Address: '10.0.0.5' } },
  });
  assert.deepEqual(bodyOf().NetworkingConfig.EndpointsConfig, {});
  assert.throws(() => bodyOf('--network', 'a', '--network', 'a'), /named twice/);
  assert.throws(() => bodyOf('--network', 'alias=x'), /not specified/);
});

test('health, labels, volumes, devices, limits', () => {
  assert.deepEqual(bodyOf('--health-cmd', 'true', '--health-interval', '1m30s', '--health-retries', '2').Healthcheck, {
    Test: ['CMD-SHELL', 'true'],
    Interval: 90e9,
    Retries: 2,
  });
  assert.deepEqual(bodyOf('--no-healthcheck').Healthcheck, { Test: ['NONE'] });
  assert.throws(() => bodyOf('--no-healthcheck', '--health-cmd', 'true'), /conflicts/);
  assert.deepEqual(bodyOf('--on-unhealthy', 'restart').Labels, { 'berth.on-unhealthy': 'restart' });
  assert.throws(() => bodyOf('--on-unhealthy', 'reboot'), /expected restart, stop or none/);
  assert.deepEqual(bodyOf('-v', '/only').Volumes, { '/only': {} });
  assert.deepEqual(bodyOf('-v', './a:/b:ro').HostConfig['Binds'], [`${process.cwd()}/a:/b:ro`]);
  assert.deepEqual(bodyOf('--device', '/dev/null:r').HostConfig['Devices'], [
    { PathOnHost: '/dev/null', PathInContainer: '/dev/null', CgroupPermissions: 'r' },
  ]);
  assert.deepEqual(bodyOf('--device', 'acme.com/gpu=all').HostConfig['DeviceRequests'], [
    { Driver: 'cdi', DeviceIDs: ['acme.com/gpu=all'] },
  ]);
  assert.deepEqual(bodyOf('--ulimit', 'nofile=10:20').HostConfig['Ulimits'], [{ Name: 'nofile', Soft: 10, Hard: 20 }]);
  assert.deepEqual(bodyOf('--entrypoint', '').Entrypoint, ['']);
});

test('values: sizes and fields between commas', () => {
  assert.deepEqual(
    ['64m', '1.5g', '10', '3B', '2KiB'].map((text) => bytesOf(text, '-m', 'help')),
    [67_108_864, 1_610_612_736, 10, 3, 2048],
  );
  assert.throws(() => bytesOf('lots', '--memory', 'help'), /--memory lots: expected a size/);
  assert.deepEqual(commaSeparated('a,"b,c","d ""e""",'), ['a', 'b,c', 'd "e"', '']);
});
