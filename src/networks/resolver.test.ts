import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseResolver, readResolver } from './resolver.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-resolver-'));
after(() => rmSync(directory, { recursive: true }));

function read(main: string, upstream?: string) {
  const files = { main: join(directory, 'main'), upstream: join(directory, 'upstream') };
  writeFileSync(files.main, main);
  rmSync(files.upstream, { force: true });
  if (upstream !== undefined) writeFileSync(files.upstream, upstream);
  return readResolver(files);
}

test('resolv.conf is read: the last search counts, comments and unknown words do not', () => {
  const content =
    '# x\nnameserver 192.0.2.53 ; y\ndomain old.example\nsearch a.example b.example\noptions ndots:2\noptions rotate\nfoo bar\n';
  assert.deepEqual(parseResolver(content), {
    servers: ['192.0.2.53'],
    search: ['a.example', 'b.example'],
    options: ['ndots:2', 'rotate'],
  });
});

test("behind systemd-resolved's stub its own servers are taken", () => {
  const found = read('nameserver 127.0.0.53\nsearch lan\n', 'nameserver 192.0.2.1\nnameserver 192.0.2.2\n');
  assert.deepEqual(found, {
    resolver: { servers: ['192.0.2.1', '192.0.2.2'], search: ['lan'], options: [] },
    fallback: false,
  });
});

test("loopback and IPv6 servers are left out; with none left Docker's public ones stand in", () => {
  assert.deepEqual(read('nameserver 127.0.0.1\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n').resolver.servers, [
    '192.0.2.1',
  ]);
  for (const content of ['', 'nameserver ::1\n', 'nameserver 127.0.0.53\n'])
    assert.deepEqual([read(content).resolver.servers, read(content).fallback], [['8.8.8.8', '8.8.4.4'], true]);
});
