import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

const first = 20_000;
const count = 10_000;
const last = first + count - 1;
const patience = 60_000;

describe('ten thousand published ports', { timeout: 600_000 }, () => {
  let engine: TestEngine;
  before(async () => {
    engine = await startBerth({ name: 'ports-many' });
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine?.[Symbol.asyncDispose]());

  const inside = (command: readonly string[]) => [`--net=/run/netns/${engine.netns}`, ...command];
  const host = (script: string) =>
    spawnSync('nsenter', inside(['timeout', '10', 'sh', '-c', script]), { encoding: 'utf8', timeout: 30_000 });
  const reach = (port: number, address = '127.0.0.1') =>
    host(`busybox nc -w 5 ${address} ${port} </dev/null 2>/dev/null`).stdout.trim();
  async function eventually<T>(look: () => T, wanted: T): Promise<void> {
    const until = Date.now() + patience;
    let got = look();
    while (got !== wanted && Date.now() < until) {
      await sleep(200);
      got = look();
    }
    assert.equal(got, wanted);
  }
  /** How many of our table's elements say where a port leads. */
  const translated = () => (host('nft list map inet berth published').stdout.match(/ : \d/g) ?? []).length;
  const table = () => host('nft list tables').stdout;
  /** Descriptors of every process in the engine's namespace. */
  function descriptors(): number {
    const own = host('readlink /proc/self/ns/net').stdout.trim();
    let sum = 0;
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
      try {
        if (spawnSync('readlink', [`/proc/${pid}/ns/net`], { encoding: 'utf8' }).stdout.trim() !== own) continue;
        sum += readdirSync(`/proc/${pid}/fd`).length;
      } catch {
        // It ended meanwhile.
      }
    return sum;
  }
  const run = (name: string, protocol: 'tcp' | 'udp', ...command: string[]) =>
    engine.docker(
      ['run', '-d', '--name', name, '-p', `0.0.0.0:${first}-${last}:${first}-${last}/${protocol}`, 'bb:1', ...command],
      { timeout: 120_000 },
    );
  const serve = ['sh', '-c', `nc -ll -p ${first} -e echo low & nc -ll -p ${last} -e echo high & wait`];

  test('they lead into the container, with a few descriptors, and are given back', async () => {
    engine.must('run', '-d', '--name', 'warm', '-p', '8099:80', 'bb:1', 'sleep', '1000');
    const before = descriptors();
    assert.equal(run('web', 'tcp', ...serve).stderr, '');
    await eventually(() => reach(first), 'low');
    await eventually(() => reach(last), 'high');
    assert.equal(run('dns', 'udp', 'sleep', '1000').stderr, '');
    assert.equal(translated(), 2 * count + 1);
    assert.ok(descriptors() - before < 1000, 'no descriptor for each port');
    assert.match(engine.must('port', 'web', `${last}`), new RegExp(`^0\\.0\\.0\\.0:${last}$`, 'm'));

    const again = run('again', 'tcp', 'true');
    assert.equal(again.status, 125);
    assert.match(again.stderr, new RegExp(`Bind for 0\\.0\\.0\\.0:${first} failed: port is already allocated`));

    await engine.kill();
    assert.equal(reach(last), 'high', 'while the engine is down');
    await engine.restart();
    assert.equal(reach(last), 'high');
    engine.must('rm', '-f', 'web', 'dns', 'again');
    await eventually(translated, 1);
    assert.equal(reach(last), '');
    assert.equal(run('web', 'tcp', ...serve).status, 0, 'they can be had again');
    await eventually(() => reach(last), 'high');
  });

  test('rules that somebody flushed come back', async () => {
    assert.equal(reach(last), 'high');
    host('nft flush ruleset');
    assert.doesNotMatch(table(), /berth/);
    await eventually(() => /inet berth$/m.test(table()), true);
    await eventually(() => reach(last), 'high');
  });

  test('a process of the host that listens on one of them is named, and nothing is taken', async () => {
    engine.must('rm', '-f', 'web');
    const port = first + 4_321;
    const listener = spawn(
      'nsenter',
      inside([
        process.execPath,
        '-e',
        `require('net').createServer().listen(${port}, '127.0.0.1', () => console.log('listens'))`,
      ]),
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      await once(listener.stdout!, 'data');
      const refused = run('web', 'tcp', ...serve);
      assert.equal(refused.status, 125);
      assert.match(
        refused.stderr,
        new RegExp(`0\\.0\\.0\\.0:${port}:.*address already in use \\(by .*\\(pid \\d+\\)\\)`),
      );
      await eventually(translated, 1);
    } finally {
      const ended = once(listener, 'exit');
      listener.kill('SIGKILL');
      await ended;
    }
    engine.must('start', 'web');
    await eventually(() => reach(last), 'high');
    engine.must('rm', '-f', 'web');
  });

  test('many ports on both families are carried on IPv6 too', async (t) => {
    const six = host('cat /proc/self/net/if_inet6').stdout;
    if (!existsSync('/proc/sys/net/ipv6') || !six.includes(`${'0'.repeat(31)}1`)) return t.skip('no IPv6 here');
    const many = `${first}-${first + 599}`;
    engine.must(
      'run',
      '-d',
      '--name',
      'six',
      '-p',
      `${many}:${many}`,
      'bb:1',
      'nc',
      '-ll',
      '-p',
      `${first + 599}`,
      '-e',
      'echo',
      'both',
    );
    await eventually(() => reach(first + 599), 'both');
    await eventually(() => reach(first + 599, '::1'), 'both');
    engine.must('rm', '-f', 'six');
    await eventually(() => host('ss -Hltn').stdout.includes(`:${first + 599} `), false);
  });
});
