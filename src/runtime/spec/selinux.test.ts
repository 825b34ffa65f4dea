import assert from 'node:assert/strict';
import { it } from 'node:test';
import { labelOptions, selinuxLabels } from './selinux.ts';

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
  assert.deepEqual(selinuxLabels(['disable']), {
    process: '',
    mount: 'system_u:object_r:container_file_t:s0:c1022,c1023',
  });
  for (const bad of ['foo:x', 'type', 'constructor:x'])
    assert.throws(() => selinuxLabels([bad]), { kind: 'invalid', message: /^Bad label option/ });
});

it('labelOptions confines nobody who shares the machine, and gives the label of the container that is shared', () => {
  const own = { Privileged: false, IpcMode: 'private', PidMode: '' };
  const labelOf = (name: string) => (name === 'other' ? 'u:r:t:s0:c1,c2' : '');
  const options = (changed: Partial<typeof own>, asked: string[] = []) =>
    labelOptions(asked, { ...own, ...changed }, labelOf);
  assert.deepEqual(options({}), []);
  for (const shares of [{ Privileged: true }, { IpcMode: 'host' }, { PidMode: 'host' }, { IpcMode: 'container:bare' }])
    assert.deepEqual(options(shares), ['disable']);
  assert.deepEqual(options({ PidMode: 'container:other' }), ['user:u', 'role:r', 'type:t', 'level:s0:c1,c2']);
  assert.deepEqual(options({ Privileged: true }, ['type:x']), ['type:x']);
});
