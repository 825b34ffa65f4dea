import assert from 'node:assert/strict';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

async function pruned(
  engine: TestEngine,
  what: string,
  filters?: unknown,
  version = '1.51',
): Promise<Record<string, unknown>> {
  const query = filters === undefined ? '' : `?filters=${encodeURIComponent(JSON.stringify(filters))}`;
  const { status, body } = await engine.api('POST', `/v${version}/${what}/prune${query}`);
  return { status, ...(JSON.parse(body) as Record<string, unknown>) };
}

const names = (engine: TestEngine) => engine.must('ps', '-a', '--format', '{{.Names}}').split('\n').sort().join();
const volumes = (engine: TestEngine) =>
  engine
    .must('volume', 'ls', '-q')
    .split('\n')
    .filter((name) => name.length < 64)
    .sort()
    .join();

onBothEngines('prune', { runtimes: ['crun'] }, ({ same }) => {
  same('containers: those that do not run, by label and age, with what their layers took', async (engine) => {
    engine.must('run', '--name', 'wrote', '--label', 'x=1', 'bb:1', 'sh', '-c', 'head -c 5000 /dev/zero > /file');
    engine.must('run', '--name', 'ended', 'bb:1', 'true');
    engine.must('create', '--name', 'made', 'bb:1', 'true');
    engine.must('run', '-d', '--name', 'runs', 'bb:1', 'sleep', '1000');
    engine.must('run', '-d', '--name', 'held', 'bb:1', 'sleep', '1000');
    engine.must('pause', 'held');
    const nothing = { status: 200, ContainersDeleted: null, SpaceReclaimed: 0 };
    assert.deepEqual(await pruned(engine, 'containers', { label: ['x=2'] }), nothing);
    assert.deepEqual(await pruned(engine, 'containers', { until: ['1h'] }), nothing);
    assert.deepEqual(await pruned(engine, 'containers', { 'label!': { x: true }, label: { x: true } }), nothing);
    const id = engine.must('inspect', '-f', '{{.Id}}', 'wrote');
    const some = await pruned(engine, 'containers', { label: { 'x=1': true } });
    assert.deepEqual([some.status, some['ContainersDeleted']], [200, [id]]);
    assert.ok((some['SpaceReclaimed'] as number) >= 5000, String(some['SpaceReclaimed']));
    const since = (Date.now() / 1000 - 0.01).toFixed(3);
    assert.match(
      engine.must('container', 'prune', '-f'),
      /^Deleted Containers:\n[0-9a-f]{64}\n[0-9a-f]{64}\n\nTotal reclaimed space: [\d.]+k?B$/,
    );
    assert.equal(names(engine), 'held,runs');
    const until = (Date.now() / 1000 + 0.1).toFixed(3);
    const events = engine.must(
      'events',
      '--since',
      since,
      '--until',
      until,
      '--format',
      '{{.Type}} {{.Action}} {{json .Actor.Attributes.reclaimed}}',
    );
    // A layer of which nothing was written may take the directory that was made for it.
    assert.match(events, /container destroy null\ncontainer destroy null\ncontainer prune "\d+"$/);
    assert.deepEqual(await pruned(engine, 'containers'), nothing);
  });

  same('volumes: anonymous ones, all when asked, never those in use', async (engine) => {
    engine.must('volume', 'create', 'named');
    engine.must('volume', 'create', '--label', 'k=v', 'labeled');
    const anonymous = engine.must('volume', 'create');
    engine.must('run', '--name', 'user', '-v', '/data', '-v', 'used:/u', 'bb:1', 'true');
    engine.must(
      'run',
      '--rm',
      '-v',
      `${anonymous}:/d`,
      'bb:1',
      'sh',
      '-c',
      'head -c 3000 /dev/zero > /d/f; ln /d/f /d/g',
    );
    const deleted = await pruned(engine, 'volumes');
    assert.deepEqual(deleted, { status: 200, VolumesDeleted: [anonymous], SpaceReclaimed: 3000 });
    assert.equal(volumes(engine), 'labeled,named,used');
    assert.deepEqual(await pruned(engine, 'volumes', { all: ['1'], 'label!': ['k=v'] }), {
      status: 200,
      VolumesDeleted: ['named'],
      SpaceReclaimed: 0,
    });
    assert.deepEqual(await pruned(engine, 'volumes', { all: ['false'] }), {
      status: 200,
      VolumesDeleted: [],
      SpaceReclaimed: 0,
    });
    assert.deepEqual((await pruned(engine, 'volumes', undefined, '1.41'))['VolumesDeleted'], ['labeled']);
    engine.must('volume', 'create', 'more');
    assert.match(engine.must('volume', 'prune', '-af'), /^Deleted Volumes:\nmore\n\nTotal reclaimed space: 0B$/);
    engine.must('rm', 'user');
    engine.must('volume', 'prune', '-af');
    assert.equal(engine.must('volume', 'ls', '-q'), '');
  });

  same('filters that are none are refused', async (engine) => {
    const cases: readonly (readonly [string, unknown, string])[] = [
      ['containers', { nosuch: ['1'] }, "invalid filter 'nosuch'"],
      ['containers', { until: ['bogus'] }, 'failed to parse value as time or duration: "bogus"'],
      ['containers', { until: ['1h', '2h'] }, 'more than one until filter specified'],
      ['volumes', { until: ['1h'] }, "invalid filter 'until'"],
      ['volumes', { dangling: ['1'] }, "invalid filter 'dangling'"],
      ['volumes', { all: ['maybe'] }, `invalid filter 'all': strconv.ParseBool: parsing "maybe": invalid syntax`],
    ];
    for (const [what, filters, message] of cases)
      assert.deepEqual(await pruned(engine, what, filters), { status: 400, message });
  });
});
