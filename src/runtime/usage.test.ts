import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { readUsage } from './usage.ts';

const place = mkdtempSync(join(tmpdir(), 'berth-usage-'));
after(() => rmSync(place, { recursive: true, force: true }));

function files(root: string, content: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(content)) {
    mkdirSync(dirname(join(place, root, name)), { recursive: true });
    writeFileSync(join(place, root, name), text);
  }
  return join(place, root);
}

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0: 12345678     91    1    2    0     0          0         0    84000      77    3    4    0     0       0          0
eth1.5:       9       8    7    6    5     4          3         2       19      18   17   16   15    14      13         12
`;

test('version 2: the files of a group as Linux 6.12 has them', () => {
  const v2 = files('two', {
    'a/cpu.stat':
      'usage_usec 1520034\nuser_usec 1100012\nsystem_usec 420022\nnice_usec 0\ncore_sched.force_idle_usec 0\nnr_periods 31\nnr_throttled 12\nthrottled_usec 812345\nnr_bursts 0\nburst_usec 0\n',
    'a/memory.current': '8388608\n',
    'a/memory.max': '67108864\n',
    'a/memory.events': 'low 0\nhigh 0\nmax 41\noom 3\noom_kill 2\noom_group_kill 0\n',
    'a/memory.stat':
      'anon 4096000\nfile 2048000\nkernel 900000\nkernel_stack 32768\npagetables 40960\nshmem 8192\nfile_mapped 4096\ninactive_file 1024000\nactive_file 1000000\nslab 500000\npgfault 1234\npgmajfault 5\n',
    'a/pids.current': '4\n',
    'a/pids.max': 'max\n',
    'a/io.stat':
      '254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n7:1 rbytes=100 wbytes=0 rios=3 wios=0 dbytes=0 dios=0\n',
  });
  const proc = files('proc', { 'net/dev': netDev });
  const usage = readUsage({ v1: new Map(), v2 }, { version: 2, path: '/a', proc })!;
  assert.deepEqual(usage.cpu, {
    total: 1520034000,
    kernel: 420022000,
    user: 1100012000,
    perCpu: undefined,
    periods: 31,
    throttledPeriods: 12,
    throttled: 812345000,
  });
  assert.deepEqual(usage.pids, { current: 4, limit: undefined });
  const { stats, ...memory } = usage.memory;
  assert.deepEqual(memory, { usage: 8388608, most: undefined, failures: 3, limit: 67108864 });
  assert.equal(stats['inactive_file'], 1024000);
  assert.deepEqual(usage.io.bytes, [
    { major: 254, minor: 0, op: 'read', value: 4096 },
    { major: 254, minor: 0, op: 'write', value: 8192 },
    { major: 7, minor: 1, op: 'read', value: 100 },
    { major: 7, minor: 1, op: 'write', value: 0 },
  ]);
  assert.deepEqual(Object.keys(usage.networks), ['eth0', 'eth1.5']);
  assert.deepEqual(usage.networks['eth0'], {
    rxBytes: 12345678,
    rxPackets: 91,
    rxErrors: 1,
    rxDropped: 2,
    txBytes: 84000,
    txPackets: 77,
    txErrors: 3,
    txDropped: 4,
  });
});

test('version 2: controllers that are off count nothing, and a group that is gone is none', () => {
  const v2 = files('bare', { 'a/cpu.stat': 'usage_usec 10\nuser_usec 5\nsystem_usec 5\n' });
  const usage = readUsage({ v1: new Map(), v2 }, { version: 2, path: '/a', proc: join(place, 'nowhere') })!;
  assert.deepEqual(usage.memory, { usage: 0, most: undefined, failures: 0, limit: undefined, stats: {} });
  assert.deepEqual([usage.pids.current, usage.io, usage.networks], [0, { bytes: [], operations: [] }, {}]);
  assert.equal(readUsage({ v1: new Map(), v2 }, { version: 2, path: '/b', proc: '/nowhere' }), undefined);
});

test('version 1: each controller in its own hierarchy', () => {
  const one = files('one', {
    'cpuacct/a/cpuacct.usage': '38241951\n',
    'cpuacct/a/cpuacct.usage_percpu': '4929923 33312028 \n',
    'cpuacct/a/cpuacct.stat': 'user 1\nsystem 2\n',
    'cpu/a/cpu.stat': 'nr_periods 7\nnr_throttled 2\nthrottled_time 99\n',
    'memory/a/memory.usage_in_bytes': '1486848\n',
    'memory/a/memory.max_usage_in_bytes': '3842048\n',
    'memory/a/memory.failcnt': '4\n',
    'memory/a/memory.limit_in_bytes': '9223372036854771712\n',
    'memory/a/memory.stat': 'cache 892928\ntotal_inactive_file 217088\n',
    'pids/a/pids.current': '2\n',
    'pids/a/pids.max': '7\n',
    'blkio/a/blkio.throttle.io_service_bytes_recursive': '8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n',
  });
  const v1 = new Map(['cpuacct', 'cpu', 'memory', 'pids', 'blkio'].map((name) => [name, join(one, name)]));
  const usage = readUsage({ v1, v2: undefined }, { version: 1, path: '/a', proc: '/nowhere' })!;
  assert.deepEqual(usage.cpu, {
    total: 38241951,
    kernel: 20000000,
    user: 10000000,
    perCpu: [4929923, 33312028],
    periods: 7,
    throttledPeriods: 2,
    throttled: 99,
  });
  assert.deepEqual(usage.memory, {
    usage: 1486848,
    most: 3842048,
    failures: 4,
    limit: undefined,
    stats: { cache: 892928, total_inactive_file: 217088 },
  });
  assert.deepEqual(usage.pids, { current: 2, limit: 7 });
  assert.deepEqual(
    usage.io.bytes.map(({ op, value }) => [op, value]),
    [
      ['Read', 4096],
      ['Write', 0],
      ['Total', 4096],
    ],
  );
  assert.equal(readUsage({ v1, v2: undefined }, { version: 1, path: '/b', proc: '/nowhere' }), undefined);
});
