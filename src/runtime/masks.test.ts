import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPath } from './masks.ts';

const lines = {
  proc: '101 100 0:50 / /proc rw,nosuid - proc proc rw',
  kcore: '102 101 0:51 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw,size=65536k',
  keys: '103 101 0:5 /null /proc/keys rw,nosuid - devtmpfs udev rw',
  acpi: '104 101 0:52 / /proc/acpi ro,relatime - tmpfs tmpfs ro,size=0k',
  sys: '105 101 0:50 /sys /proc/sys ro,relatime - proc proc rw',
};
const paths = {
  maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/acpi', '/proc/not-here'],
  readonlyPaths: ['/proc/sys'],
};
const there = (path: string) => path !== '/proc/not-here';
const look = (changes: Partial<typeof lines>, asked: Parameters<typeof openPath>[0] = paths) =>
  openPath(asked, `${Object.values({ ...lines, ...changes }).join('\n')}\n`, there);

test('what is hidden and protected as it should be is well', () => {
  assert.equal(look({}), undefined);
  assert.equal(openPath({}, '', there), undefined);
});

test('a path that nothing lies over is open, unless the kernel has it not', () => {
  assert.equal(look({ kcore: '' }), '/proc/kcore');
  assert.equal(look({ acpi: '' }), '/proc/acpi');
  assert.equal(look({ sys: '' }), '/proc/sys');
});

test("another file of the kernel in a mask's place is open, and a mask that can be written to", () => {
  const led = '102 101 0:50 /sys/kernel/core_pattern /proc/kcore rw - proc proc rw';
  assert.equal(look({ kcore: led }), '/proc/kcore');
  assert.equal(look({ kcore: `${lines.kcore}\n${led}` }), '/proc/kcore', 'over the mask');
  assert.equal(look({ sys: lines.sys.replace('ro,', 'rw,') }), '/proc/sys');
});

test('only the kernel’s own files are looked at: others may lie behind links', () => {
  const maskedPaths = ['/etc/mtab', '/proc/self/maps'];
  assert.equal(look({}, { maskedPaths, readonlyPaths: ['/run/x'] }), undefined);
});
