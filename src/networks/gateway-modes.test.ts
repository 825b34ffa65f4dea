import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BridgeNetwork } from './bridge-network.ts';
import { readBridgeOptions } from './definition.ts';
import { checkIsolated, type GatewayMode, partRequests } from './gateway-modes.ts';
import type { PortRequest } from './networks.ts';
import { defaultDefinition } from './predefined.ts';

const mode = (family: string) => `com.docker.network.bridge.gateway_mode_${family}`;

test('modes and addresses are read as Docker reads them', () => {
  assert.deepEqual(readBridgeOptions({}).modes, { ipv4: 'nat', ipv6: 'nat' });
  assert.equal(readBridgeOptions({ [mode('ipv4')]: 'routed' }).modes.ipv4, 'routed');
  const refused = (options: Record<string, string>, message: string) =>
    assert.throws(() => readBridgeOptions(options), { kind: 'invalid', message });
  refused({ [mode('ipv6')]: 'x' }, `failed to parse ${mode('ipv6')} value: x (unknown gateway mode x)`);
  refused({ [mode('ipv4')]: '' }, `failed to parse ${mode('ipv4')} value:  (unknown gateway mode )`);
  refused({ 'com.docker.network.host_ipv4': 'x' }, 'failed to parse com.docker.network.host_ipv4 value: x (nil ip)');
  refused(
    { 'com.docker.network.host_ipv6': '10.0.0.1' },
    'failed to parse com.docker.network.host_ipv6 value: 10.0.0.1 (nil ip)',
  );
  const trusted = 'com.docker.network.bridge.trusted_host_interfaces';
  assert.deepEqual(readBridgeOptions({ [trusted]: 'eth0:eth1' }).trusted, ['eth0', 'eth1']);
  assert.throws(() => readBridgeOptions({ [trusted]: 'eth0:"} drop' }), { kind: 'invalid' });
  checkIsolated({ ipv4: 'isolated', ipv6: 'nat' }, true);
  assert.throws(
    () => checkIsolated({ ipv4: 'nat', ipv6: 'isolated' }, false),
    /can only be used for an internal network/,
  );
});

test('an isolated bridge has no address, and keeps none for a gateway; an inhibited one keeps it for another machine', () => {
  const ids = { bridge: 'a'.repeat(64), host: '', none: '' };
  const record = { version: 1 as const, created: '', ids, subnet: '', forwardingEnabled: false };
  const base = defaultDefinition(record, {
    ...{ name: 'b', subnet: '10.1.0.0/24', gateway: '', mtu: 1500 },
    ...{ range: undefined, icc: true, masquerade: true, hostIp: '0.0.0.0' },
  });
  const network = (options: Record<string, string>, gateway?: string) =>
    new BridgeNetwork(
      { ...base, options, configs: [{ subnet: '10.1.0.0/24', ...(gateway && { gateway }) }] },
      { mtu: 1500 },
    );
  const said = (one: BridgeNetwork) => [
    one.bridge.ipv4?.gateway,
    one.bridge.ipv4?.hasAddress,
    one.ipv4[0]?.pool.take(),
  ];
  assert.deepEqual(said(network({})), ['10.1.0.1', true, '10.1.0.2']);
  const isolated = { [mode('ipv4')]: 'isolated' };
  assert.deepEqual(said(network(isolated)), ['', false, '10.1.0.1']);
  assert.deepEqual(said(network(isolated, '10.1.0.1')), ['10.1.0.1', false, '10.1.0.2']);
  const inhibited = { 'com.docker.network.bridge.inhibit_ipv4': 'true' };
  assert.deepEqual(said(network(inhibited)), ['10.1.0.1', false, '10.1.0.2']);
});

test('which ports take one of the host, and which are opened', () => {
  const request = (hostAddress: string): PortRequest => ({
    port: 80,
    protocol: 'tcp',
    hostAddress,
    first: 8080,
    last: 8080,
  });
  const six = { address: 'fd00::2', prefixLength: 64, gateway: 'fd00::1' };
  const parted = (ipv4: GatewayMode, ipv6: GatewayMode, hostAddress: string, has6 = true, binding = '') => {
    const endpoint = { address: '10.1.0.2', ipv6: has6 ? six : undefined };
    const { held, opened } = partRequests([request(hostAddress)], { binding, modes: { ipv4, ipv6 } }, endpoint);
    return [held.map((one) => one.hostAddress), opened.map((one) => `${one.hostAddress} ${one.hostPort}`)];
  };
  assert.deepEqual(parted('nat', 'nat', ''), [[''], []]);
  assert.deepEqual(parted('nat-unprotected', 'nat', '', true, '127.0.0.1'), [['127.0.0.1'], []]);
  assert.deepEqual(parted('routed', 'nat', ''), [['::'], ['0.0.0.0 0']]);
  assert.deepEqual(parted('nat', 'routed', ''), [['0.0.0.0'], [':: 0']]);
  assert.deepEqual(parted('routed', 'routed', ''), [[], ['0.0.0.0 0', ':: 0']]);
  assert.deepEqual(parted('routed', 'routed', '', false), [[], ['0.0.0.0 0']]);
  assert.deepEqual(parted('routed', 'nat', '10.99.0.1'), [[], ['0.0.0.0 0']]);
  assert.deepEqual(parted('routed', 'nat', '::1'), [['::1'], []]);
});
