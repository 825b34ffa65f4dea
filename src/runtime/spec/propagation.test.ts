import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { BindMount } from './input.ts';
import { checkPropagation } from './propagation.ts';

const mountinfo = `22 1 254:0 / / rw - ext4 /dev/vda rw
23 22 0:1 / /shared rw shared:1 - ext4 x rw
24 22 0:2 / /slave rw master:1 - ext4 x rw
25 22 0:3 / /with\\040blank rw shared:2 - ext4 x rw
26 22 0:4 / /twice rw shared:3 - ext4 x rw
27 22 0:5 / /twice rw - ext4 x rw
`;
const check = (source: string, propagation: string) => () => {
  const mount: BindMount = {
    type: 'bind',
    source,
    target: '/t',
    readOnly: false,
    recursive: true,
    recursiveReadOnly: 'no',
    propagation,
  };
  checkPropagation([mount], mountinfo);
};

it("checkPropagation refuses in Docker's words what would silently not be shared", () => {
  for (const [source, way] of [
    ['/shared', 'rshared'],
    ['/shared/a/b', 'shared'],
    ['/shared', 'rslave'],
    ['/slave/x', 'slave'],
    ['/with blank/x', 'rshared'],
    ['/anything', 'rprivate'],
    ['/anything', ''],
  ] as const)
    assert.doesNotThrow(check(source, way), `${source} ${way}`);
  const refused: [string, string, string][] = [
    ['/data', 'rshared', 'path /data is mounted on / but it is not a shared mount'],
    ['/data', 'rslave', 'path /data is mounted on / but it is not a shared or slave mount'],
    ['/slave/x', 'shared', 'path /slave/x is mounted on /slave but it is not a shared mount'],
    ['/sharedx', 'shared', 'path /sharedx is mounted on / but it is not a shared mount'],
    ['/twice/x', 'shared', 'path /twice/x is mounted on /twice but it is not a shared mount'],
  ];
  for (const [source, way, message] of refused) assert.throws(check(source, way), { kind: 'invalid', message });
});
