import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareDebianVersions } from './debian-version.ts';
import { isClosed } from './runtimes.ts';

describe('versions', () => {
  it('are ordered as dpkg orders them', () => {
    const ordered = [
      '1.0~rc1-1',
      '1.0-1',
      '1.0-1+deb12u1',
      '1.0-1+deb12u2',
      '1.0-1+deb12u10',
      '1.0a-1',
      '1.0+ds1-1',
      '1.9-1',
      '1.10-1',
      '1:0.1-1',
    ];
    for (let at = 1; at < ordered.length; at++) {
      assert.ok(compareDebianVersions(ordered[at - 1]!, ordered[at]!) < 0, `${ordered[at - 1]} < ${ordered[at]}`);
      assert.ok(compareDebianVersions(ordered[at]!, ordered[at - 1]!) > 0);
    }
    assert.equal(compareDebianVersions('1.0-1', '1.0-1'), 0);
  });

  it('close a hole in their own line', () => {
    const hole = { cve: 'CVE-2025-31133', closed: ['1.2.8', '1.3.3', '1.4.0-rc3'] };
    const open = ['1.1.15', '1.2.7', '1.3.0', '1.3.2', '1.4.0-rc.2', '1.0.0-rc95'];
    const closed = ['1.2.8', '1.2.10', '1.3.3', '1.4.0-rc.3', '1.4.0', '1.5.1', '2.0.0'];
    for (const version of open) assert.equal(isClosed(hole, { version }), false, version);
    for (const version of closed) assert.equal(isClosed(hole, { version }), true, version);
  });
});
