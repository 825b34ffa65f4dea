import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { buildMonitor } from './build-monitor.ts';
import {
  attachTo,
  connectMonitor,
  followLog,
  MonitorFailure,
  readExit,
  replaceLogFile,
  startMonitor,
} from './monitor.ts';
import type { AttachRequest } from './runtime.ts';

const place = mkdtempSync(join(tmpdir(), 'berth-monitor-'));
after(() => rmSync(place, { recursive: true, force: true }));
const path = await buildMonitor({ directory: join(place, 'bin') });

const output: AttachRequest = { stdin: false, stdout: true, stderr: true };
const everything: AttachRequest = { stdin: true, stdout: true, stderr: true };

/** Does as an OCI runtime does: leaves a process behind, which it never waits for (a shell might), and its pid in a file. */
const runtime =
  'my $pid = fork; exec "/bin/sh", "-c", $ARGV[0] if !$pid; open my $f, ">", "pid"; print $f $pid; close $f';

function run(
  script: string,
  options: Record<string, string | number> = {},
  attach: AttachRequest[] = [output],
  command = ['/usr/bin/perl', '-e', runtime, script],
) {
  const directory = mkdtempSync(join(place, 'c-'));
  const log = join(directory, 'log');
  const started = startMonitor({
    path,
    directory,
    options: { id: 'x', pid: 'pid', exit: 1, stdin: 'none', log, 'log-size': 0, 'log-files': 1, ...options },
    command,
    attach,
  });
  return { directory, log, ...started, stream: started.attached[0]! };
}

async function read(stream: Socket): Promise<{ stdout: Buffer; stderr: Buffer }> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  const all = Buffer.concat(chunks);
  const parts: [Buffer[], Buffer[]] = [[], []];
  for (let at = 0; at < all.length; ) {
    assert.deepEqual([...all.subarray(at + 1, at + 4)], [0, 0, 0]);
    const length = all.readUInt32BE(at + 4);
    parts[all[at]! - 1]!.push(all.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  stream.destroy();
  return { stdout: Buffer.concat(parts[0]), stderr: Buffer.concat(parts[1]) };
}

const entries = (log: string): { log: string; stream: string; time: string }[] =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

test('the monitor gives output by stream, logs it and tells the exit', async () => {
  const { monitor, stream, log, directory } = run('echo out; echo err >&2; exit 7');
  const { pid, at } = await monitor.started;
  assert.ok(pid > 1);
  const { stdout, stderr } = await read(stream);
  assert.deepEqual([stdout.toString(), stderr.toString()], ['out\n', 'err\n']);
  const exit = await monitor.exited;
  assert.equal(exit?.code, 7);
  assert.match(exit!.at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  assert.ok(Math.abs(Date.parse(exit!.at) - Date.now()) < 60_000 && Date.parse(at) <= Date.parse(exit!.at));
  assert.deepEqual(await readExit(directory), exit);
  const [first, second] = entries(log).toSorted((a, b) => b.stream.localeCompare(a.stream));
  assert.deepEqual([first?.log, first?.stream, second?.log, second?.stream], ['out\n', 'stdout', 'err\n', 'stderr']);
});

test('a process ended by a signal has code 128 and the signal', async () => {
  const { monitor } = run('kill -9 $$', {}, []);
  assert.equal((await monitor.exited)?.code, 137);
});

test('a process that a lingering process of the runtime is the parent of keeps its exit code', async () => {
  // What the runtime waits for is over before what it leaves behind, as crun is on a busy machine.
  const lingering = `pipe my $r, my $w; if (fork) { close $w; <$r>; exit 0 } ${runtime}; close $w; select undef, undef, undef`;
  for (const [script, code] of [
    ['exit 3', 3],
    ['sleep 0.3; exit 4', 4],
    ['kill -9 $$', 137],
  ] as const) {
    for (const linger of ['0.05', '0.2']) {
      const { monitor } = run(script, {}, [], ['/usr/bin/perl', '-e', `${lingering}, ${linger}`, script]);
      assert.equal((await monitor.exited)?.code, code, `${script}, ${linger} s`);
    }
  }
});

test('a process whose status went to somebody else has ended all the same, with code 255', async () => {
  const reaping = `${runtime}; waitpid $pid, 0`;
  const { monitor } = run('exit 3', {}, [], ['/usr/bin/perl', '-e', reaping, 'exit 3']);
  assert.equal((await monitor.exited)?.code, 255);

  const stranger = spawn('/bin/sleep', ['1000'], { stdio: 'ignore' });
  const watched = run('', {}, [], ['/bin/sh', '-c', `echo ${stranger.pid} >pid`]).monitor;
  await watched.started;
  stranger.kill('SIGKILL');
  assert.equal((await watched.exited)?.code, 255);
});

test('a process that its runtime leaves to the monitor late, or after its end, has its own exit code', async () => {
  // The runtime ends when it knows the pid; the parent of the process ends a moment later.
  const late =
    'my $pid = fork; exit 0 if $pid && do { 1 until -s "pid"; 1 }; my $own = fork; exec "/bin/sh", "-c", $ARGV[0] if !$own; ' +
    'open my $f, ">", "pid.tmp"; print $f $own; close $f; rename "pid.tmp", "pid"; select undef, undef, undef, $ARGV[1]';
  const started = (script: string, seconds: string) =>
    run(script, {}, [], ['/usr/bin/perl', '-e', late, script, seconds]).monitor;
  const codes = await Promise.all([
    started('exit 3', '0.4').exited,
    started('sleep 0.3; exit 4', '0.1').exited,
    ...Array.from({ length: 20 }, () => started('sleep 0.05; exit 5', '0.02').exited),
  ]);
  assert.deepEqual(
    codes.map((exit) => exit?.code),
    [3, 4, ...Array.from({ length: 20 }, () => 5)],
  );
});

test('a runtime that fails is told with its own words and leaves no exit', async () => {
  const { monitor, stream, directory } = run('', {}, [output], ['/bin/sh', '-c', 'echo "no such thing" >&2; exit 3']);
  await assert.rejects(monitor.started, (error) => error instanceof MonitorFailure && error.said === 'no such thing');
  assert.equal((await read(stream)).stderr.length, 0);
  assert.equal(await monitor.exited, undefined);
  assert.equal(await readExit(directory), undefined);
  const lost = run('', {}, [], ['/nonexistent/runtime']);
  await assert.rejects(lost.monitor.started, /status 127/);
});

test('the log is Docker’s json-file: escapes, bad UTF-8, lines without an end, long lines', async () => {
  const cases: [string, string][] = [
    ['plain "quoted" back\\slash', 'plain \\"quoted\\" back\\\\slash'],
    ['<b>&amp;\t\x01\r', '\\u003cb\\u003e\\u0026amp;\\u0009\\u0001\\r'],
    ['h\u00e9 \u20ac \u{1f600} \u2028\u2029', 'h\u00e9 \u20ac \u{1f600} \\u2028\\u2029'],
    ['', ''],
  ];
  const text = Buffer.concat([
    Buffer.from(cases.map(([line]) => `${line}\n`).join('')),
    Buffer.from([0x61, 0xff, 0xc0, 0xaf, 0xed, 0xa0, 0x80, 0x62, 0xe2, 0x82, 0x0a]),
    Buffer.from(`${'x'.repeat(16384 * 2 + 5)}\n${'y'.repeat(16384)}\nend`),
  ]);
  const directory = mkdtempSync(join(place, 'in-'));
  writeFileSync(join(directory, 'text'), text);
  const { monitor, log } = run(`cat ${join(directory, 'text')}`, {}, []);
  assert.equal((await monitor.exited)?.code, 0);
  const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1);
  const shape = /^\{"log":"(.*)","stream":"stdout","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"\}$/;
  const said = lines.map((line) => shape.exec(line)?.[1]);
  assert.deepEqual(
    said.slice(0, 4),
    cases.map(([, escaped]) => `${escaped}\\n`),
  );
  assert.equal(said[4], 'a\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffdb\\ufffd\\ufffd\\n');
  const piece = 'x'.repeat(16384);
  assert.deepEqual(said.slice(5), [piece, piece, 'xxxxx\\n', 'y'.repeat(16384), '\\n', 'end']);
  const times = lines.slice(5, 8).map((line) => JSON.parse(line).time);
  assert.equal(new Set(times).size, 1, 'the pieces of a line keep its time');
});

test('the log rotates by size and keeps as many files as it may, with every line whole (R24)', async () => {
  const { monitor, directory } = run('i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done', {
    'log-size': 20000,
    'log-files': 4,
  });
  await monitor.exited;
  const files = readdirSync(directory)
    .filter((name) => name.startsWith('log'))
    .toSorted();
  assert.deepEqual(files, ['log', 'log.1', 'log.2', 'log.3']);
  for (const name of files) assert.ok(statSync(join(directory, name)).size <= 20200);
  const numbers = files
    .toReversed()
    .flatMap((name) => entries(join(directory, name)).map(({ log }) => Number(log.slice(5))));
  assert.equal(numbers.at(-1), 2999);
  assert.ok(numbers.every((number, index) => index === 0 || number === numbers[index - 1]! + 1));
});

test('a rotated file is replaced by what was packed, whatever its number is by now, and moves on with the rest', async () => {
  const { monitor, directory, log } = run(
    'for n in 1 2 3; do i=0; while [ $i -lt 100 ]; do echo round $n line $i; i=$((i+1)); done; echo done $n; ' +
      'while [ ! -e go$n ]; do sleep 0.02; done; done',
    { 'log-size': 4000, 'log-files': 8 },
    [],
  );
  const names = () =>
    readdirSync(directory)
      .filter((name) => name.startsWith('log'))
      .toSorted();
  const round = async (n: number) => {
    if (n > 1) writeFileSync(join(directory, `go${n - 1}`), '');
    const last = () => spawnSync('cat', [log], { encoding: 'utf8' }).stdout;
    for (const late = Date.now() + 20_000; !last().includes(`"done ${n}\\n"`); await sleep(10))
      assert.ok(Date.now() < late, `round ${n}: ${names().join()}`);
  };
  try {
    await round(1);
    const plain = readFileSync(`${log}.1`);
    const { ino } = statSync(`${log}.1`, { bigint: true });
    writeFileSync(`${log}.packed`, gzipSync(plain));
    // Its number is another one when the monitor is told.
    await round(2);
    assert.equal(await replaceLogFile(directory, { inode: ino, how: 'packed' }), true);
    assert.equal(await replaceLogFile(directory, { inode: ino, how: 'packed' }), false, 'a second time');
    const packed = names().filter((name) => name.endsWith('.gz'));
    assert.equal(packed.length, 1, names().join());
    assert.ok(!names().includes(packed[0]!.slice(0, -3)), 'the plain one is gone');
    await round(3);
    const moved = names().filter((name) => name.endsWith('.gz'));
    assert.equal(moved.length, 1, names().join());
    assert.ok(Number(moved[0]!.split('.')[1]) > Number(packed[0]!.split('.')[1]), `${packed} to ${moved}`);
    assert.deepEqual(gunzipSync(readFileSync(join(directory, moved[0]!))), plain);
    const { ino: other } = statSync(join(directory, moved[0]!), { bigint: true });
    assert.equal(await replaceLogFile(directory, { inode: other, how: 'drop' }), true);
    assert.ok(!names().includes(moved[0]!));
    const current = statSync(log, { bigint: true }).ino;
    assert.equal(await replaceLogFile(directory, { inode: current, how: 'drop' }), false, 'never the live one');
  } finally {
    for (const n of [1, 2, 3]) writeFileSync(join(directory, `go${n}`), '');
    await monitor.exited;
  }
  assert.equal(await replaceLogFile(directory, { inode: 1n, how: 'drop' }), undefined, 'no monitor');
});

test('while somebody follows, the log keeps more files than it may, and after that it does not', async () => {
  const { monitor, directory, log } = run(
    'for n in 1 2 3 4; do i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo done $n; ' +
      'while [ ! -e go$n ]; do sleep 0.02; done; done',
    { 'log-size': 5000, 'log-files': 2 },
    [],
  );
  const names = () =>
    readdirSync(directory)
      .filter((name) => /^log\.\d+$/.test(name))
      .sort((a, b) => Number(a.slice(4)) - Number(b.slice(4)));
  const until = async (what: string, condition: () => boolean) => {
    for (const late = Date.now() + 10_000; !condition(); await sleep(10))
      assert.ok(Date.now() < late, `${what}: ${names().join()}`);
  };
  const round = async (n: number) => {
    if (n > 1) writeFileSync(join(directory, `go${n - 1}`), '');
    // In the middle of a rotation there is none.
    const last = () => spawnSync('cat', [log], { encoding: 'utf8' }).stdout;
    await until(`round ${n}`, () => last().includes(`"done ${n}\\n"`));
  };
  try {
    await round(1);
    assert.deepEqual(names(), ['log.1']);
    const first = (await followLog(directory))!;
    const second = (await followLog(directory))!;
    await round(2);
    assert.ok(names().length > 5, names().join());
    first.destroy();
    await round(3);
    // Those of before, as many as there were, and from there on every line.
    const lines = [...names().toReversed(), 'log'].flatMap((name) =>
      entries(join(directory, name)).map((line) => line.log),
    );
    const numbered = Array.from({ length: 500 }, (_, n) => `line ${n}\n`);
    assert.deepEqual(lines.slice(lines.indexOf('done 1\n') + 1), [...numbered, 'done 2\n', ...numbered, 'done 3\n']);
    second.destroy();
    await until('nobody follows', () => names().length === 1);
    await round(4);
    assert.deepEqual(names(), ['log.1']);
  } finally {
    for (const n of [1, 2, 3, 4]) writeFileSync(join(directory, `go${n}`), '');
    await monitor.exited;
  }
});

test('a full disk loses log lines and neither the output nor the process (R05)', async () => {
  const { monitor, stream } = run('seq 1 5000; exit 4', { log: '/dev/full' });
  const [{ stdout }, exit] = await Promise.all([read(stream), monitor.exited]);
  assert.ok(stdout.toString().endsWith('\n5000\n'));
  assert.equal(exit?.code, 4);
});

test('stdin ends when the client that attached it ends its side, and output still comes', async () => {
  const { stream, monitor } = run('cat; echo after', { stdin: 'once' }, [everything]);
  await monitor.started;
  stream.write('hello\n');
  stream.end();
  assert.equal((await read(stream)).stdout.toString(), 'hello\nafter\n');
  assert.equal((await monitor.exited)?.code, 0);
});

test('stdin ends when the client that attached it vanishes, and not when the engine does', async () => {
  const vanished = run('cat; exit 3', { stdin: 'once' }, [everything]);
  await vanished.monitor.started;
  vanished.stream.destroy();
  assert.equal((await vanished.monitor.exited)?.code, 3);

  const dead = run('cat; exit 3', { stdin: 'once' }, [everything]);
  await dead.monitor.started;
  dead.stream.destroy();
  dead.monitor.close();
  await sleep(150);
  const later = await connectMonitor(dead.directory);
  await later!.started;
  assert.equal(await readExit(dead.directory), undefined);
  (await attachTo(dead.directory, everything)).end();
  assert.equal((await later!.exited)?.code, 3);
});

test('clients that write to a process which does not read, and vanish, make room for others (S45)', async () => {
  const { monitor, directory } = run('exec sleep 1000', { stdin: 'open' }, []);
  const { pid } = await monitor.started;
  for (let n = 0; n < 300; n++) {
    const client = await attachTo(directory, everything);
    client.write(Buffer.alloc(100_000));
    client.destroy();
  }
  (await attachTo(directory, everything)).destroy();
  process.kill(pid, 'SIGKILL');
  assert.equal((await monitor.exited)?.code, 137);
});

test('an open stdin outlives the client that wrote to it', async () => {
  const { stream, monitor, directory } = run('read a; read b; echo $a$b', { stdin: 'open' }, [everything]);
  await monitor.started;
  stream.end('one\n');
  await sleep(20);
  const second = await attachTo(directory, everything);
  second.write('two\n');
  assert.equal((await read(second)).stdout.toString(), 'onetwo\n');
  assert.equal((await read(stream)).stdout.toString(), 'onetwo\n');
});

test('many megabytes go through stdin and come back whole', async () => {
  const data = randomBytes(24 << 20);
  const { stream, monitor } = run('cat', { stdin: 'once', log: '/dev/null' }, [everything]);
  await monitor.started;
  stream.end(data);
  const { stdout } = await read(stream);
  assert.equal(createHash('sha256').update(stdout).digest('hex'), createHash('sha256').update(data).digest('hex'));
});

test('output is never cut, however fast its writer ends', async () => {
  for (let round = 0; round < 10; round++) {
    const { stream, monitor, log } = run('head -c 200000 /dev/zero | tr "\\0" z; echo; echo last');
    const [{ stdout }, exit] = await Promise.all([read(stream), monitor.exited]);
    assert.equal(exit?.code, 0);
    assert.equal(stdout.length, 200_006);
    assert.equal(
      entries(log)
        .map((entry) => entry.log)
        .join('').length,
      200_006,
    );
  }
});

test('a client that takes nothing holds the process back, and loses nothing once it does', async () => {
  const { stream, monitor } = run('head -c 3000000 /dev/zero', { log: '/dev/null' });
  stream.pause();
  await monitor.started;
  const told = monitor.exited.then(() => 'ended');
  assert.equal(await Promise.race([told, sleep(150).then(() => 'held')]), 'held');
  assert.equal((await read(stream)).stdout.length, 3_000_000);
  assert.equal(await told, 'ended');
});

test('the exit is told although a client takes nothing; what is left waits for it', async () => {
  // In one write, of which a full socket and a full pipe hold everything: in small ones the socket would hold half as much.
  const { stream, monitor } = run('dd if=/dev/zero bs=220000 count=1 2>/dev/null', { log: '/dev/null' });
  stream.pause();
  assert.equal((await monitor.exited)?.code, 0);
  assert.equal((await read(stream)).stdout.length, 220_000);
});

test('a client that goes away disturbs nobody', async () => {
  const { attached, monitor } = run('for i in 1 2 3 4 5; do head -c 100000 /dev/zero; sleep 0.01; done', {}, [
    output,
    output,
  ]);
  attached[1]!.destroy();
  const { stdout } = await read(attached[0]!);
  assert.equal(stdout.length, 500_000);
  assert.equal((await monitor.exited)?.code, 0);
});

test('an outsider that holds the output open delays the exit only for a moment', async () => {
  const { monitor, stream } = run('sleep 30 & echo $! >outsider; echo hi', { exit: 1 });
  const begun = performance.now();
  assert.equal((await read(stream)).stdout.toString(), 'hi\n');
  assert.equal((await monitor.exited)?.code, 0);
  assert.ok(performance.now() - begun < 5000);
});

test('an engine that comes later is told the start and the exit, and can attach', async () => {
  const { monitor, directory, stream } = run('read go; echo went; exit 9', { stdin: 'open' });
  const { pid, ticks } = await monitor.started;
  stream.destroy();
  monitor.close();
  const later = await connectMonitor(directory);
  assert.deepEqual(await later!.started.then((started) => [started.pid, started.ticks]), [pid, ticks]);
  const client = await attachTo(directory, everything);
  client.write('go\n');
  assert.equal((await read(client)).stdout.toString(), 'went\n');
  assert.equal((await later!.exited)?.code, 9);
  assert.equal((await readExit(directory))?.code, 9);
  await sleep(20);
  assert.equal(existsSync(join(directory, 'monitor.sock')), false);
  assert.equal(await connectMonitor(directory), undefined);
});

test('the log goes on without an engine', async () => {
  const { monitor, log, stream, directory } = run('sleep 0.1; echo alone; exit 5');
  await monitor.started;
  stream.destroy();
  monitor.close();
  for (let n = 0; n < 200 && !(await readExit(directory)); n++) await sleep(10);
  assert.equal((await readExit(directory))?.code, 5);
  assert.equal(entries(log)[0]?.log, 'alone\n');
});

test('the process has no descriptors but its own, in a directory of any length (S11)', async () => {
  const { stream, monitor } = run('ls /proc/self/fd | tr "\\n" " "');
  assert.match((await read(stream)).stdout.toString(), /^0 1 2 3 $/); // 3 is the directory that ls reads
  await monitor.exited;
});

test('nothing comes of a start whose monitor died in the middle of it (R02)', async () => {
  const { monitor, directory } = run('', {}, [], ['/bin/sh', '-c', 'echo $$ >runtime; sleep 5; echo late >late']);
  monitor.started.catch(() => {});
  const file = join(directory, 'runtime');
  for (let n = 0; n < 200 && !(existsSync(file) && statSync(file).size > 0); n++) await sleep(5);
  const child = Number(readFileSync(file, 'utf8'));
  const parent = Number(/PPid:\t(\d+)/.exec(readFileSync(`/proc/${child}/status`, 'utf8'))![1]);
  process.kill(parent, 'SIGKILL');
  await assert.rejects(monitor.started, /without a word/);
  for (let n = 0; n < 200 && alive(child); n++) await sleep(5);
  assert.equal(alive(child), false);
});

test('an ended monitor leaves no zombie', async () => {
  const { monitor, stream } = run('true');
  await read(stream);
  await monitor.exited;
  await sleep(100);
  const zombies = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return state === 'Z' && Number(parent) === process.pid;
      } catch {
        return false;
      }
    });
  assert.deepEqual(zombies, []);
});

test('a monitor in rest is small', async () => {
  const { monitor, stream, directory } = run('read x', { stdin: 'open' }, [output]);
  const { pid } = await monitor.started;
  const parent = /PPid:\t(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
  const pss = Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${parent}/smaps_rollup`, 'utf8'))![1]);
  assert.ok(pss < 1200, `${pss} kB for the only monitor that runs`);
  const client = await attachTo(directory, everything);
  const closed = once(client.resume(), 'close');
  client.write('x\n');
  await read(stream);
  await closed;
});

function alive(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
