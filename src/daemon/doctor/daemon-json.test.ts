import assert from 'node:assert/strict';
import { test } from 'node:test';
import { daemonJsonChecks } from './daemon-json.ts';
import type { Host } from './host.ts';

const path = '/etc/docker/daemon.json';
const host = (text: string | undefined): Host =>
  ({
    stat: async () => text !== undefined && { directory: false, mode: 0o644, uid: 0, modified: 0 },
    read: async () => text,
  }) as unknown as Host;
const look = async (text: string | undefined) => (await daemonJsonChecks(host(text), path))[0]!;

test('a file that is not there, or all of which counts, is fine', async () => {
  assert.equal((await look(undefined)).state, 'ok');
  assert.deepEqual(await look('{"debug": true, "live-restore": true}'), {
    name: 'docker.daemon-json',
    state: 'ok',
    found: `${path}: 2 keys`,
  });
});

test('what does nothing is named; what is wrong fails, with its place', async () => {
  const some = await look('{"debug": true, "metrics-addr": "127.0.0.1:1"}');
  assert.equal(some.state, 'warn');
  assert.match(some.found, /these do nothing: metrics-addr \(no metrics are served\)/);
  const bad = await look('{\n  "debug" true\n}');
  assert.equal(bad.state, 'fail');
  assert.match(bad.found, /line 2, column \d+/);
  assert.match((await look('{"debgu": true}')).found, /don't match any configuration option: debgu/);
});
