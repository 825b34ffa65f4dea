import assert from 'node:assert/strict';
import { it } from 'node:test';
import { selinuxLabels } from './selinux.ts';

it('selinuxLabels gives two different categories, and the fields that were asked for', () => {
  for (const draw of [0, 1, 511, 1023]) {
    const { process } = selinuxLabels([], (below) => Math.min(draw, below - 1));
    const [, low, high] = /^system_u:system_r:container_t:s0:c(\d+),c(\d+)$/.exec(process)!;
    assert.ok(Number(low) < Number(high) && Number(high) < 1024);
  }
  assert.deepEqual(selinuxLabels(['level:s0:c1,c2', 'type:spc_t', 'user:u', 'role:r']), {
    process: 'u:r:spc_t:s0:c1,c2',
    mount: 'system_u:object_r:container_file_t:s0:c1,c2',
  });
  assert.deepEqual(selinuxLabels(['disable']), { process: '', mount: '' });
  for (const bad of ['foo:x', 'type', 'constructor:x'])
    assert.throws(() => selinuxLabels([bad]), { kind: 'invalid', message: /^Bad label option/ });
});
