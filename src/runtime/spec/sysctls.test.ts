import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sampleInput } from './sample.ts';
import { checkSysctls, sysctlsOf } from './sysctls.ts';

const all = { network: true, ipc: true, uts: true };

describe('sysctlsOf', () => {
  it("adds Docker's own where the network namespace is new and the kernel has them", () => {
    assert.deepEqual(sysctlsOf(sampleInput()), {
      'net.ipv4.ping_group_range': '0 2147483647',
      'net.ipv4.ip_unprivileged_port_start': '0',
    });
    assert.deepEqual(sysctlsOf(sampleInput({ machine: { sysctls: new Set() } })), {});
    const joined = { ...sampleInput().namespaces, network: { path: '/x', own: false } };
    assert.deepEqual(sysctlsOf(sampleInput({ namespaces: joined })), {});
  });

  it('lets the user override them', () => {
    const host = { Sysctls: { 'net.ipv4.ip_unprivileged_port_start': '1024', 'net/ipv4/conf/eth0.1/forwarding': '1' } };
    const sysctls = sysctlsOf(sampleInput({ host, config: { Domainname: 'd' } }));
    assert.equal(sysctls['net.ipv4.ip_unprivileged_port_start'], '1024');
    assert.equal(sysctls['net.ipv4.conf.eth0/1.forwarding'], '1');
    assert.equal(sysctls['kernel.domainname'], 'd');
  });
});

describe('checkSysctls', () => {
  it('allows what stays inside the container', () => {
    for (const name of [
      'net.core.somaxconn',
      'kernel.shmmax',
      'kernel.msgmni',
      'kernel.sem',
      'fs.mqueue.msg_max',
      'kernel.domainname',
    ])
      assert.doesNotThrow(() => checkSysctls({ [name]: '1' }, all), name);
  });

  it("S20 refuses in the runtime's words what would reach the host", () => {
    const refused: [string, Partial<typeof all>, RegExp][] = [
      ['net.core.somaxconn', { network: false }, /^sysctl "net.core.somaxconn" not allowed in host network namespace$/],
      ['kernel.shmmax', { ipc: false }, /^sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace$/],
      ['fs.mqueue.msg_max', { ipc: false }, /is not allowed in the hosts ipc namespace$/],
      [
        'kernel.hostname',
        {},
        /^sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field$/,
      ],
      ['kernel.hostname', { uts: false }, /is not in a separate kernel namespace$/],
      ['kernel.domainname', { uts: false }, /is not in a separate kernel namespace$/],
      ['kernel.core_pattern', {}, /^sysctl "kernel.core_pattern" is not in a separate kernel namespace$/],
      ['kernel/core_pattern', {}, /is not in a separate kernel namespace$/],
      ['vm.swappiness', {}, /is not in a separate kernel namespace$/],
      ['net/../kernel/core_pattern', {}, /^invalid sysctl name/],
      ['net..kernel', {}, /^invalid sysctl name/],
      ['net.a b', {}, /^invalid sysctl name/],
      ['', {}, /^invalid sysctl name/],
    ];
    for (const [name, own, message] of refused)
      assert.throws(() => checkSysctls({ [name]: '1' }, { ...all, ...own }), { kind: 'invalid', message }, name);
  });
});
