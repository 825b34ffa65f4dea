import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostConfig } from '../protocol/container.ts';
import { readCreateRequest } from '../protocol/create-request.ts';
import { type ContainerDefaults, withDefaults } from './engine-defaults.ts';

const of = (hostConfig: Readonly<Record<string, unknown>>): HostConfig =>
  readCreateRequest({ Image: 'x', HostConfig: hostConfig }, 1051).hostConfig;
const defaults: ContainerDefaults = {
  ulimits: [
    { Name: 'nofile', Soft: 10, Hard: 20 },
    { Name: 'nproc', Soft: 1, Hard: 2 },
  ],
  dns: ['10.0.0.1'],
  dnsOptions: ['ndots:2'],
  dnsSearch: ['example.org'],
  init: true,
  noNewPrivileges: true,
  seccomp: 'unconfined',
};

test('a container that says nothing gets what the engine is configured with', () => {
  const { Ulimits, Dns, DnsOptions, DnsSearch, Init, SecurityOpt } = withDefaults(of({}), defaults);
  assert.deepEqual(Ulimits, defaults.ulimits);
  assert.deepEqual([Dns, DnsOptions, DnsSearch], [['10.0.0.1'], ['ndots:2'], ['example.org']]);
  assert.equal(Init, true);
  assert.deepEqual(SecurityOpt, ['no-new-privileges', 'seccomp=unconfined']);
});

test("the container's own word comes first, one by one for limits", () => {
  const own = of({
    Ulimits: [{ Name: 'nofile', Soft: 5, Hard: 5 }],
    Dns: ['1.1.1.1'],
    Init: false,
    SecurityOpt: ['no-new-privileges=false', 'seccomp=builtin'],
  });
  const { Ulimits, Dns, DnsSearch, Init, SecurityOpt } = withDefaults(own, defaults);
  assert.deepEqual(Ulimits, [
    { Name: 'nofile', Soft: 5, Hard: 5 },
    { Name: 'nproc', Soft: 1, Hard: 2 },
  ]);
  assert.deepEqual([Dns, DnsSearch, Init], [['1.1.1.1'], ['example.org'], false]);
  assert.deepEqual(SecurityOpt, ['no-new-privileges=false', 'seccomp=builtin']);
});

test('a privileged container stays without a seccomp profile, and without defaults nothing changes', () => {
  assert.deepEqual(withDefaults(of({ Privileged: true }), defaults).SecurityOpt, ['no-new-privileges']);
  const own = of({});
  assert.equal(withDefaults(own, undefined), own);
});
