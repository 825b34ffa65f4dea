import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { socketPair } from '../sys/spawn.ts';
import { buildMonitor } from './build-monitor.ts';
import { startMonitor } from './monitor.ts';
import type { AttachRequest } from './runtime.ts';

/** Clients whose connections the monitor has for itself, and output that goes to them without a copy: there is no log. */

const place = mkdtempSync(join(tmpdir(), 'berth-direct-'));
after(() => rmSync(place, { recursive: true, force: true }));
const path = await buildMonitor({ directory: join(place, 'bin') });

const everything: AttachRequest = { stdin: true, stdout: true, stderr: true };
const runtime =
  'my $pid = fork; exec "/bin/sh", "-c", $ARGV[0] if !$pid; open my $f, ">", "pid"; print $f $pid; close $f';

function run(
  script: string,
  { attach = [everything], stdin = 'once' }: { attach?: AttachRequest[]; stdin?: string } = {},
) {
  const directory = mkdtempSync(join(place, 'c-'));
  return startMonitor({
    path,
    directory,
    options: { id: 'x', pid: 'pid', exit: 1, stdin },
    command: ['/usr/bin/perl', '-e', runtime, script],
    attach,
  });
}

/** A client, and what the engine has of it: `leave` closes the engine's copy of the connection. */
function client(early = '') {
  const [here, there] = socketPair();
  const socket = new Socket({ fd: here, readable: true, writable: true, allowHalfOpen: true });
  socket.on('error', () => {});
  const request: AttachRequest = { ...everything, client: () => ({ fd: there, early: Buffer.from(early) }) };
  return { socket, request, leave: () => closeSync(there) };
}

async function read(stream: Socket): Promise<{ stdout: Buffer; stderr: Buffer }> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return split(Buffer.concat(chunks));
}

function split(all: Buffer): { stdout: Buffer; stderr: Buffer } {
  const parts: [Buffer[], Buffer[]] = [[], []];
  for (let at = 0; at < all.length; ) {
    assert.deepEqual([...all.subarray(at + 1, at + 4)], [0, 0, 0]);
    const length = all.readUInt32BE(at + 4);
    parts[all[at]! - 1]!.push(all.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return { stdout: Buffer.concat(parts[0]), stderr: Buffer.concat(parts[1]) };
}

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

test('what a client sent before comes first, and its end is the engine’s to tell', async () => {
  const { socket, request, leave } = client('early ');
  socket.end('and late');
  const { monitor, attached } = run('cat; echo bye >&2', { attach: [request] });
  const [link] = attached;
  const told: Buffer[] = [];
  link!.on('data', (chunk: Buffer) => told.push(chunk));
  await once(link!, 'end');
  assert.equal((await monitor.exited)?.code, 0);
  assert.equal(Buffer.concat(told).length, 0);
  const got = read(socket);
  await sleep(50);
  assert.equal(socket.readableEnded, false);
  leave();
  const { stdout, stderr } = await got;
  assert.deepEqual([stdout.toString(), stderr.toString()], ['early and late', 'bye\n']);
});

test('a client goes on although the engine has died, and hears the end', async () => {
  const { socket, request, leave } = client();
  const { monitor, attached } = run('cat', { attach: [request] });
  await monitor.started;
  monitor.close();
  attached[0]!.destroy();
  leave();
  socket.write('one ');
  await once(socket, 'readable');
  socket.end('two');
  assert.equal((await read(socket)).stdout.toString(), 'one two');
});

test('of a start that failed a client hears from the engine alone, also when that lets go of the link first', async () => {
  const { socket, request, leave } = client();
  const directory = mkdtempSync(join(place, 'c-'));
  const { monitor, attached } = startMonitor({
    path,
    directory,
    options: { id: 'x', pid: 'pid', exit: 1, stdin: 'once' },
    command: ['/bin/sh', '-c', 'sleep 0.2; echo no such program >&2; exit 1'],
    attach: [request],
  });
  attached[0]!.destroy();
  await assert.rejects(monitor.started, /no such program/);
  await monitor.ended;
  await sleep(50);
  const got: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => got.push(chunk));
  await sleep(50);
  assert.deepEqual([got.length, socket.readableEnded], [0, false]);
  leave();
  await once(socket, 'end');
});

test('a client that vanishes ends its stdin, and the engine hears of both', async () => {
  const { socket, request, leave } = client();
  const { monitor, attached } = run('cat; sleep 0.2; exit 4', { attach: [request] });
  leave();
  await monitor.started;
  socket.destroy();
  const link = attached[0]!.resume();
  await once(link, 'end');
  assert.equal((await monitor.exited)?.code, 4);
});

test('many megabytes come back whole, by a connection of its own and by the engine', { timeout: 60_000 }, async () => {
  const data = Buffer.concat([randomBytes(5 << 20), Buffer.from('text\n'.repeat(1 << 20))]);
  const own = client();
  const direct = run('cat', { attach: [own.request] });
  direct.attached[0]!.resume().once('end', own.leave);
  own.socket.end(data);
  const through = run('cat');
  through.attached[0]!.end(data);
  const [first, second] = await Promise.all([read(own.socket), read(through.attached[0]!)]);
  assert.deepEqual([sha(first.stdout), sha(second.stdout)], [sha(data), sha(data)]);
});

test('of both streams every frame is whole, also for two clients', { timeout: 60_000 }, async () => {
  const script = 'seq 1 40000 & seq 1 40000 >&2; wait';
  const wanted = Array.from({ length: 40_000 }, (_, index) => `${index + 1}\n`).join('');
  const one = run(script, { stdin: 'none' });
  const two = run(script, { stdin: 'none', attach: [everything, { ...everything, stderr: false }] });
  const [only, both, half] = await Promise.all([...one.attached, ...two.attached].map(read));
  for (const { stdout, stderr } of [only!, both!]) assert.ok(stdout.equals(stderr) && stdout.toString() === wanted);
  assert.deepEqual([half!.stdout.toString() === wanted, half!.stderr.length], [true, 0]);
});

test('a client that takes nothing holds the process back, hears the rest after the exit, and delays it for nobody', async () => {
  const { monitor, attached } = run('head -c 900000 /dev/zero; echo last >&2', { stdin: 'none' });
  attached[0]!.pause();
  const { pid } = await monitor.started;
  await sleep(100);
  assert.ok(process.kill(pid, 0));
  assert.equal((await read(attached[0]!)).stdout.length, 900_000);

  const slow = run('head -c 200000 /dev/zero; echo last >&2; exit 3', { stdin: 'none' });
  slow.attached[0]!.pause();
  const taken = slow.attached[0]!.read() as Buffer | null;
  assert.equal((await slow.monitor.exited)?.code, 3);
  await sleep(50);
  const chunks = taken ? [taken] : [];
  for await (const chunk of slow.attached[0]!) chunks.push(chunk);
  const { stdout, stderr } = split(Buffer.concat(chunks));
  assert.deepEqual([stdout.length, stderr.toString()], [200_000, 'last\n']);
});

test('a client that goes in the middle of a frame leaves nothing of it for the next', async () => {
  const { monitor, attached } = run('head -c 3000000 /dev/zero; sleep 0.3; echo end >&2', {
    stdin: 'none',
    attach: [everything, { stdin: false, stdout: false, stderr: true }],
  });
  await monitor.started;
  await sleep(50);
  attached[0]!.destroy();
  const { stdout, stderr } = await read(attached[1]!);
  assert.deepEqual([stdout.length, stderr.toString()], [0, 'end\n']);
});
