import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountInfo } from './mount.ts';

test('a line of mountinfo is read, with its escapes and without optional fields', () => {
  const text = [
    '36 35 98:0 /mnt1 /mnt\\040two rw,noatime shared:1 master:2 - ext3 /dev/ro\\134ot rw,errors=continue',
    '40 36 0:30 / /a rw - overlay berth rw,lowerdir=/l',
    '',
  ].join('\n');
  assert.deepEqual(parseMountInfo(text), [
    {
      target: '/mnt two',
      type: 'ext3',
      source: '/dev/ro\\ot',
      propagation: ['shared:1', 'master:2'],
      superOptions: 'rw,errors=continue',
    },
    { target: '/a', type: 'overlay', source: 'berth', propagation: [], superOptions: 'rw,lowerdir=/l' },
  ]);
});
