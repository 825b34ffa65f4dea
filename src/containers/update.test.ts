import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { readUpdateRequest } from '../protocol/update-request.ts';
import { whatWasSaid } from '../runtime/update.ts';
import { fakeEngine, request } from './fakes.ts';

const asked = (body: unknown) => readUpdateRequest(body, 1051);

test('what is named changes, in the record and in what runs; nothing else does', async () => {
  await using engine = await fakeEngine();
  const { id } = await engine.containers.create('web', request({}, { Memory: 64e6, CpuShares: 7 }), undefined);
  assert.deepEqual(await engine.containers.update('web', asked({ CpusetCpus: '0' })), []);
  assert.deepEqual(engine.runtime.updates, []);
  await engine.containers.start('web');
  await engine.containers.update('web', asked({ Memory: 70e6, MemorySwap: -1, PidsLimit: -3, NanoCpus: 5e8 }));
  assert.deepEqual(engine.runtime.updates, [
    { memory: { limit: 70e6, swap: -1 }, cpu: { period: 100_000, quota: 50_000 }, pids: { limit: -1 } },
  ]);
  const stored = (await engine.database.load('container')).get(id) as { hostConfig: Record<string, unknown> };
  for (const host of [engine.containers.get('web').hostConfig, stored.hostConfig] as Record<string, unknown>[])
    assert.deepEqual(
      [host['Memory'], host['MemorySwap'], host['CpuShares'], host['CpusetCpus'], host['PidsLimit'], host['NanoCpus']],
      [70e6, -1, 7, '0', 0, 5e8],
    );
  assert.deepEqual(
    engine.actions.filter((action) => action === 'update'),
    ['update', 'update'],
  );
});

test('what the runtime refuses is not recorded', async () => {
  await using engine = await fakeEngine();
  const { id } = await engine.containers.create('web', request(), undefined);
  await engine.containers.start('web');
  engine.runtime.failUpdate = new EngineError('internal', 'crun did not terminate successfully: no');
  await assert.rejects(engine.containers.update('web', asked({ CpuShares: 5 })), {
    kind: 'internal',
    message: `Cannot update container ${id}: crun did not terminate successfully: no`,
  });
  await engine.containers.idle();
  const stored = (await engine.database.load('container')).get(id) as { hostConfig: { CpuShares: number } };
  assert.equal(stored.hostConfig.CpuShares, 0);
  assert.equal(engine.containers.get('web').hostConfig.CpuShares, 0);
  assert.ok(!engine.actions.includes('update'));
});

test('an update that cannot be written is not done', async () => {
  await using engine = await fakeEngine();
  await engine.containers.create('web', request(), undefined);
  await engine.containers.start('web');
  engine.database.onWrite = () => {
    throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  };
  await assert.rejects(engine.containers.update('web', asked({ CpuShares: 5 })));
  assert.deepEqual([engine.runtime.updates, engine.containers.get('web').hostConfig.CpuShares], [[], 0]);
});

test('no body changes nothing; old versions know no limit of processes', () => {
  assert.deepEqual(asked(undefined), asked({}));
  assert.equal(readUpdateRequest({ PidsLimit: 5 }, 1039).resources.PidsLimit, null);
  assert.equal(asked({ pidslimit: 5 }).resources.PidsLimit, 5);
  assert.equal(asked({ RestartPolicy: { MaximumRetryCount: 3 } }).restartPolicy, undefined);
});

test('what a runtime says at its end', () => {
  assert.equal(
    whatWasSaid('time="2026-01-01T00:00:00Z" level=error msg="failed to write \\"1\\": invalid"\n'),
    'failed to write "1": invalid',
  );
  assert.equal(whatWasSaid('a\n2026-11-25T03:07:00.000000Z: writing file `x`: no\n'), 'writing file `x`: no');
  assert.equal(whatWasSaid(''), '');
});
