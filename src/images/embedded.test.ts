import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { packTar } from '../layers/tar-writer.ts';
import { hostPlatform } from '../oci/platform.ts';
import { assembleWelcome, busyboxIn, isStatic, type Run, welcomeLayout } from './embedded.ts';
import { all, fakeEngine } from './fake-images.ts';

/** The head of a static 64-bit program with one header, of the given type. */
function elf(headerType: number): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.writeUInt32BE(0x7f454c46, 0);
  bytes[4] = 2;
  bytes[5] = 1;
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt32LE(headerType, 64);
  return bytes;
}

const packageOf = (program: Buffer) =>
  packTar([
    { name: './usr/', type: 'directory' },
    { name: './usr/bin/busybox', mode: 0o755, mtime: 1_700_000_000, content: program },
    { name: './usr/share/doc/busybox', content: 'no program' },
  ]);

function fakeRun(program: Buffer): Run {
  return async (name, args, { cwd }) => {
    if (name === '/usr/bin/apt-get') await writeFile(join(cwd, 'b.deb'), '');
    if (name === '/usr/bin/dpkg-deb') return packageOf(program);
    return Buffer.from(args[0] === '--list' ? 'busybox\nhttpd\nsh\n../evil\n' : '');
  };
}

test('the program is found in a package, with its time', () => {
  const { bytes, built } = busyboxIn(packageOf(elf(1)));
  assert.deepEqual(bytes, elf(1));
  assert.equal(built, 1_700_000_000);
  assert.throws(() => busyboxIn(packTar([{ name: 'bin/other', content: 'x' }])), /no bin\/busybox/);
});

test('a program that needs an interpreter is not static', () => {
  assert.equal(isStatic(elf(1)), true);
  assert.equal(isStatic(elf(3)), false);
  assert.equal(isStatic(Buffer.from('#!/bin/sh')), false);
});

test('the same program gives the same image, and the engine takes it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'berth-welcome-'));
  try {
    const steps: string[] = [];
    const options = { workDir: dir, run: fakeRun(elf(1)), onStep: (step: string) => steps.push(step) };
    const { path, name } = await assembleWelcome(options);
    const first = await readFile(path);
    await assembleWelcome(options);
    assert.deepEqual(await readFile(path), first);
    assert.deepEqual(await readdir(dir), ['welcome.tar']);
    assert.deepEqual(steps.slice(0, 3), [
      'Downloading busybox-static from Debian',
      'Unpacking it',
      'Packing the image',
    ]);

    await using engine = await fakeEngine({ platform: hostPlatform() });
    const lines = await all(engine.images.load(Readable.from([first]), { quiet: true }));
    assert.deepEqual(lines, [{ stream: `Loaded image: ${name}\n` }]);
    const { config, layers } = await engine.images.get(name);
    assert.deepEqual(config.config?.Cmd, ['httpd', '-f', '-p', '80', '-h', '/www']);
    assert.equal(layers.length, 2);
    assert.equal(config.created, '2023-11-14T22:13:20Z');
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('links are made only for what can be a command', () => {
  const layout = welcomeLayout({ bytes: elf(1), built: 0, applets: ['sh', 'httpd'] }).toString('latin1');
  assert.ok(layout.includes('bin/httpd'));
  assert.equal(layout.includes('evil'), false);
});
