import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mountFlags } from '../sys/mount.ts';
import { checkDriverOptions, isMounted, parseMountOptions } from './mount-options.ts';

test('options of the driver local, and what is refused in the words of Docker', () => {
  const good: readonly Record<string, string>[] = [
    {},
    { type: 'tmpfs', device: 'tmpfs' },
    { type: 'none', device: '/x', o: 'bind' },
    { type: '', device: '' },
    { size: '0' },
  ];
  for (const options of good) checkDriverOptions('vol', options);
  const bad: readonly (readonly [Record<string, string>, string])[] = [
    [{ bogus: 'x' }, 'invalid option: "bogus"'],
    [{ type: 'tmpfs' }, 'missing required option: "device"'],
    [{ o: 'bind' }, 'missing required option: "device"'],
    [{ device: '/x' }, 'missing required option: "type"'],
    [{ size: 'x' }, "invalid size: 'x'"],
    [{ size: '-1' }, "invalid size: '-1'"],
    [{ size: '1x' }, "invalid suffix: 'x'"],
    [{ size: '' }, "invalid size: ''"],
    [{ type: 'none', device: '/x\0y' }, 'invalid option: it holds a NUL'],
  ];
  for (const [options, message] of bad)
    assert.throws(() => checkDriverOptions('vol', options), { kind: 'invalid', message: `create vol: ${message}` });
});

test('a volume without a device and a type is a plain folder', () => {
  assert.equal(isMounted({}), false);
  assert.equal(isMounted({ type: '', device: '' }), false);
  assert.equal(isMounted({ type: 'none', device: '/x', o: 'bind' }), true);
});

test('mount options: flags, what takes them back, propagation, and the rest for the file system', () => {
  const { MS_NOSUID, MS_RDONLY, MS_BIND, MS_REC, MS_SHARED } = mountFlags;
  assert.deepEqual(parseMountOptions('size=1m,uid=1000,nosuid'), {
    flags: MS_NOSUID,
    propagation: 0,
    data: 'size=1m,uid=1000',
  });
  assert.deepEqual(parseMountOptions('ro,nosuid,rw,suid'), { flags: 0, propagation: 0, data: '' });
  assert.deepEqual(parseMountOptions('rbind,ro,rshared'), {
    flags: MS_BIND | MS_REC | MS_RDONLY,
    propagation: MS_SHARED | MS_REC,
    data: '',
  });
  assert.deepEqual(parseMountOptions('toString,__proto__'), { flags: 0, propagation: 0, data: 'toString,__proto__' });
});
