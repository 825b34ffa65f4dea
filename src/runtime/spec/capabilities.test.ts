import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { boundingSet, capabilitiesOfMask, capabilityNames, defaultCapabilities } from './capabilities.ts';

const machine = { capabilities: new Set(capabilityNames) };
const set = (CapAdd: string[] | null, CapDrop: string[] | null = null, at = machine) =>
  new Set(boundingSet({ CapAdd, CapDrop, Privileged: false }, at));

describe('boundingSet', () => {
  it('adds and drops with or without prefix, in any case', () => {
    assert.deepEqual(set(null), new Set(defaultCapabilities));
    assert.ok(set(['sys_admin']).has('CAP_SYS_ADMIN'));
    assert.ok(set(['CAP_SYS_ADMIN']).has('CAP_SYS_ADMIN'));
    assert.ok(!set(null, ['chown']).has('CAP_CHOWN'));
    assert.equal(boundingSet({ CapAdd: ['CHOWN'], CapDrop: null, Privileged: false }, machine).length, 14);
  });

  it('knows ALL on either side', () => {
    assert.deepEqual(set(['ALL']), new Set(capabilityNames));
    assert.equal(set(['ALL'], ['SYS_ADMIN']).size, capabilityNames.length - 1);
    assert.deepEqual(set(null, ['all']), new Set());
    assert.deepEqual(set(['NET_BIND_SERVICE'], ['ALL']), new Set(['CAP_NET_BIND_SERVICE']));
  });

  it("refuses in Docker's words what is unknown or not to be had", () => {
    assert.throws(() => set(['FOO']), { kind: 'invalid', message: 'invalid CapAdd: unknown capability: "CAP_FOO"' });
    assert.throws(() => set(null, ['cap_bar']), { message: 'invalid CapDrop: unknown capability: "CAP_BAR"' });
    const less = { capabilities: new Set(defaultCapabilities) };
    assert.throws(() => set(['SYS_ADMIN'], null, less), {
      message:
        'invalid CapAdd: capability not supported by your kernel or not available in the current environment: "CAP_SYS_ADMIN"',
    });
    assert.doesNotThrow(() => set(null, ['SYS_ADMIN'], less));
    assert.deepEqual(set(['ALL'], null, less), new Set(defaultCapabilities));
  });

  it('gives of the default set what the engine has', () => {
    const less = { capabilities: new Set(defaultCapabilities.filter((name) => name !== 'CAP_MKNOD')) };
    assert.ok(!set(null, null, less).has('CAP_MKNOD'));
  });
});

describe('capabilitiesOfMask', () => {
  it('reads the masks of /proc', () => {
    assert.equal(capabilitiesOfMask('000001ffffffffff').size, 41);
    assert.ok(!capabilitiesOfMask('000001fffeffffff').has('CAP_SYS_RESOURCE'));
    assert.deepEqual(capabilitiesOfMask('00000000a80425fb'), new Set(defaultCapabilities));
  });
});
