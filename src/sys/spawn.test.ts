import assert from 'node:assert/strict';
import { closeSync, mkdirSync, mkdtempSync, readdirSync, readSync, rmSync, statSync } from 'node:fs';
import { connect, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Pidfd } from './pidfd.ts';
import { listenUnix, reap, socketPair, spawn } from './spawn.ts';

async function ended(pid: number): Promise<number> {
  for (;;) {
    const status = reap(pid);
    if (status !== undefined) return status;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function shell(script: string, fds: readonly number[] = []): number {
  return spawn({ path: '/bin/sh', argv: ['sh', '-c', script], env: ['PATH=/usr/bin:/bin', 'A=b'], fds });
}

function readAll(fd: number): string {
  const bytes = Buffer.alloc(65536);
  return bytes.toString('utf8', 0, readSync(fd, bytes));
}

test('a spawned program has its descriptors in order, its environment, a session of its own', async () => {
  const [here, there] = socketPair();
  const [other, second] = socketPair();
  const pid = shell('exec >&4; echo $A; ls -l /proc/self/fd | grep -c null; cut -d" " -f6 /proc/$$/stat; exit 5', [
    second,
    there,
  ]);
  closeSync(there);
  closeSync(second);
  assert.equal((await ended(pid)) >> 8, 5);
  assert.equal(readAll(here), `b\n2\n${pid}\n`);
  closeSync(here);
  closeSync(other);
});

test('a spawned program blocks and ignores no signal', async () => {
  const [here, there] = socketPair();
  // A shell that waits for its children blocks signals itself: the program looks at itself.
  const pid = shell('exec >&3; exec grep -E "^Sig(Blk|Ign)" /proc/self/status', [there]);
  closeSync(there);
  assert.equal(await ended(pid), 0);
  assert.match(readAll(here), /^SigBlk:\s0+\nSigIgn:\s0+\n$/);
  closeSync(here);
});

test('a program that is not there throws ENOENT and leaves no descriptor', () => {
  const before = readdirSync('/proc/self/fd').length;
  assert.throws(() => spawn({ path: '/nonexistent', argv: ['x'], env: [], fds: [0, 1] }), { code: 'ENOENT' });
  assert.equal(readdirSync('/proc/self/fd').length, before);
  assert.throws(() => reap(process.pid), { code: 'ECHILD' });
});

test('a socket listens in a directory whose path is longer than an address may be', async () => {
  const place = mkdtempSync(join(tmpdir(), 'berth-sys-'));
  const directory = join(place, 'x'.repeat(100), 'y'.repeat(100));
  mkdirSync(directory, { recursive: true });
  const fd = listenUnix(directory, 'sock');
  assert.ok(statSync(join(directory, 'sock')).isSocket());
  assert.throws(() => listenUnix(directory, 'sock'), { code: 'EADDRINUSE' });
  const server = new Server((socket) => socket.end('hi'));
  server.listen({ fd });
  process.chdir(directory);
  try {
    const said = await new Promise((resolve) => connect('sock').setEncoding('utf8').once('data', resolve));
    assert.equal(said, 'hi');
  } finally {
    process.chdir('/');
    server.close();
    rmSync(place, { recursive: true });
  }
});

test('a process is signalled by descriptor, and not once it is gone', async () => {
  const pid = shell('exec sleep 100');
  using process = new Pidfd(pid);
  process.kill(15);
  assert.equal((await ended(pid)) & 0x7f, 15);
  assert.throws(() => process.kill(15), { code: 'ESRCH' });
  assert.throws(() => new Pidfd(pid), { code: 'ESRCH' });
});
