import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { KeptContainer } from './create.ts';
import { fakeEngine, fakeImage, request } from './fakes.ts';

const id = 'ab'.repeat(32);
const started = '2020-01-02T03:04:05.123456789Z';

function kept(engine: Awaited<ReturnType<typeof fakeEngine>>, changes: Partial<KeptContainer> = {}): KeptContainer {
  return {
    ...{ id, created: '2020-01-01T00:00:00Z', image: 'x' as KeptContainer['image'], restartCount: 2 },
    ...{ stoppedByUser: false, volumes: { '/data': 'named' } },
    state: { status: 'exited', exitCode: 3, error: '', oomKilled: false, startedAt: started, finishedAt: started },
    prepare: () => engine.snapshots.prepare(id),
    copyLog: async (directory) => writeFileSync(join(directory, `${id}-json.log`), 'log'),
    ...changes,
  };
}

const restarted = { RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } };

test('an adopted container is what it was, with its volume and log, and waits for somebody to start it', async () => {
  await using engine = await fakeEngine(fakeImage({ Env: ['IMAGE=1'], Volumes: { '/data': {} } }));
  await engine.volumes.create({ name: 'named' });
  const asked = request({ Volumes: { '/data': {} } }, restarted);
  const made = await engine.containers.adopt('web', asked, kept(engine));
  assert.deepEqual([made.id, made.created, made.restartCount], [id, '2020-01-01T00:00:00Z', 2]);
  assert.deepEqual([made.state.status, made.state.exitCode, made.state.startedAt], ['exited', 3, started]);
  assert.deepEqual(
    made.mounts.map(({ Name, Destination }) => [Name, Destination]),
    [['named', '/data']],
  );
  // What the image says was taken into it when it was made.
  assert.deepEqual(made.config.Env, asked.config.Env);
  assert.equal(readFileSync(made.files.log, 'utf8'), 'log');
  await using again = await engine.open();
  assert.deepEqual([again.get('web').state.status, again.isWaiting('web')], ['exited', true]);
  await again.start('web');
  assert.deepEqual([again.get('web').state.status, again.isWaiting('web')], ['running', false]);
});

test('one that cannot be adopted leaves nothing, and an ID or a name that is here is refused', async () => {
  await using engine = await fakeEngine();
  const copyLog: KeptContainer['copyLog'] = async () => {
    throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  };
  await assert.rejects(engine.containers.adopt('web', request(), kept(engine, { copyLog })), { code: 'ENOSPC' });
  assert.deepEqual([engine.containers.list(), engine.snapshots.snapshots()], [[], []]);
  assert.equal(existsSync(join(engine.base, 'containers', id)), false);
  await engine.containers.adopt('web', request(), kept(engine));
  await assert.rejects(engine.containers.adopt('other', request(), kept(engine)), { kind: 'conflict' });
  await assert.rejects(engine.containers.adopt('web', request(), kept(engine, { id: 'cd'.repeat(32) })), {
    kind: 'conflict',
  });
});
