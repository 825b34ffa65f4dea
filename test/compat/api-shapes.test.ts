import assert from 'node:assert/strict';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

type Json = Record<string, unknown>;

/** Every path in a value with its type; of a list the first item, of maps with names of their own only that they are there. */
function shapeOf(value: unknown, at = '', shape: string[] = []): string[] {
  const type = value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value;
  shape.push(`${at} ${type}`);
  if (
    /\.(Networks|Labels|Ports|PortBindings|ExposedPorts|Volumes|Config|DriverOpts|Options)$/.test(at) &&
    at !== '.Config'
  )
    return shape;
  if (Array.isArray(value)) {
    if (value.length > 0) shapeOf(value[0], `${at}[]`, shape);
  } else if (type === 'object')
    for (const [key, entry] of Object.entries(value as Json)) shapeOf(entry, `${at}.${key}`, shape);
  return shape;
}

/** What is told on purpose in another way, or depends on how the engine was set up. */
const free =
  /^\.(GraphDriver|AppArmorProfile|Config\.(Env|OnBuild|Healthcheck)|HostConfig\.(OomKillDisable|Ulimits))|^\.?\[?\]?\.Mounts/;

const shapes: Record<string, string> = {};

onBothEngines('shapes of API 1.41', { reference: 'debian' }, ({ same }) => {
  const ask = async (engine: TestEngine, path: string): Promise<unknown> => {
    const { status, body } = await engine.api('GET', `/v1.41${path}`);
    assert.equal(status, 200, body);
    return JSON.parse(body);
  };
  const sameShape = async (name: string, value: unknown) => {
    const shape = shapeOf(value)
      .filter((line) => !free.test(line))
      .sort()
      .join('\n');
    shapes[name] ??= shape;
    assert.equal(shape, shapes[name], `${name} has another shape in the engine that was asked before`);
  };

  same('inspect and list of a container', async (engine) => {
    engine.must('create', '--name', 'shape', '--network', 'none', '--label', 'a=b', 'bb:1', 'sh', '-c', 'echo hi');
    await sameShape('inspect', await ask(engine, '/containers/shape/json'));
    await sameShape('list', await ask(engine, '/containers/json?all=1'));
    await sameShape('volumes', await ask(engine, '/volumes'));
    await sameShape('version', Object.keys((await ask(engine, '/version')) as Json).sort());
  });

  same('what is wrong is refused with 4xx', async (engine) => {
    const cases: readonly (readonly [string, string, unknown, number])[] = [
      ['GET', '/containers/nosuch/json', undefined, 404],
      ['POST', '/containers/create', { Image: 'bb:1', Cmd: ['x'], HostConfig: { RestartPolicy: { Name: 'x' } } }, 400],
      ['POST', '/containers/create', { Image: 'bb:1', Cmd: ['x'], HostConfig: { CapAdd: ['FOO'] } }, 400],
      ['POST', '/containers/create', { Image: 'bb:1', Cmd: ['x'], WorkingDir: 'a' }, 400],
      ['POST', '/containers/create', { Image: 'bb:1', Cmd: ['x'], HostConfig: { PortBindings: { x: [] } } }, 400],
      ['POST', '/containers/create', { Image: 'nosuch:1', Cmd: ['x'] }, 404],
      ['GET', '/containers/json?filters={"nosuch":["a"]}', undefined, 400],
      ['GET', '/containers/json?filters={"status":["nosuch"]}', undefined, 400],
      ['GET', '/images/nosuch:1/json', undefined, 404],
      ['GET', '/volumes/nosuch', undefined, 404],
      ['GET', '/networks/nosuch', undefined, 404],
      ['GET', '/exec/nosuch/json', undefined, 404],
      ['GET', '/nosuch', undefined, 404],
      ['GET', '/swarm', undefined, 503],
    ];
    for (const [method, path, body, status] of cases) {
      const answer = await engine.api(method, `/v1.41${encodeURI(path)}`, body);
      assert.equal(answer.status, status, `${method} ${path}: ${answer.body}`);
      assert.equal(typeof (JSON.parse(answer.body) as { message: unknown }).message, 'string');
    }
  });
});
