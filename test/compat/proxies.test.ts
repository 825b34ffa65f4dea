import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startBerth, startReference } from '../lib/engines.ts';

/** The same flags on both engines: what `docker info` shows of proxies, and what a pull says when they are not there. */
const flags = [
  ['--http-proxy', 'http://ann:secret@127.0.0.1:9'],
  ['--https-proxy', 'http://ann:secret@127.0.0.1:9'],
  ['--no-proxy', 'near.test,10.0.0.0/8'],
].flat();

describe('proxies to registries', () => {
  for (const [name, start] of [
    ['berth', () => startBerth({ flags })],
    ['docker (newest)', () => startReference('newest', flags)],
  ] as const)
    test(`${name}: info names them without user and password, and a pull goes through them`, async (t) => {
      const engine = await start();
      if (!engine) return t.skip(`${name} cannot be had here`);
      await using running = engine;
      const format = '{{.HTTPProxy}} {{.HTTPSProxy}} {{.NoProxy}}';
      assert.equal(
        running.must('info', '--format', format),
        'http://xxxxx:xxxxx@127.0.0.1:9 http://xxxxx:xxxxx@127.0.0.1:9 near.test,10.0.0.0/8',
      );
      const far = running.docker(['pull', 'far.test/app:1']);
      assert.equal(far.status, 1);
      assert.match(
        far.stderr,
        /"https:\/\/far\.test\/v2\/[^"]*": proxyconnect tcp: dial tcp 127\.0\.0\.1:9: connect: connection refused/,
      );
      const direct = running.docker(['pull', 'near.test/app:1']);
      assert.match(direct.stderr, /dial tcp: lookup near\.test/);
      assert.doesNotMatch(far.stderr + running.log(), /secret/);
    });
});
