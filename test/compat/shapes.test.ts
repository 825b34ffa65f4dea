import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, startReference, type TestEngine } from '../lib/engines.ts';

/**
 * The keys and the types of every answer, deeply, Berth beside the newest reference engine with the containerd image store,
 * whose identity Berth announces. What differs on purpose stands in `intended`, and in docs/differences.md.
 */

interface Difference {
  readonly what: RegExp;
  readonly why: string;
}

const intended: readonly Difference[] = [
  { what: /annotations/, why: 'the descriptors of Berth tell what the image says, not how it was named when it came' },
  { what: /RepoDigests\[\]/, why: 'a loaded image has a digest by name only where a registry knows it by that' },
  {
    what: /1\.(24|30|41|43|44|47) .*(GwPriority|DNSNames|EnableIPv4|Descriptor)/,
    why: 'an older API answers with the keys that it had; Docker adds newer ones',
  },
  {
    what: /1\.(24|30|41) .*HostConfig\.KernelMemory/,
    why: 'an older API answers with the keys that it had; Docker leaves them out',
  },
  {
    what: /1\.(24|30|41|43|44) image.*(ContainerConfig|\.Container |DockerVersion|Parent|VirtualSize)/,
    why: 'an older API answers with the keys that it had; Docker with this image store leaves them out',
  },
  { what: /1\.(24|30|41|43|44|47) info \.\w+Commit\.Expected/, why: 'an older API answers with the keys that it had' },
  { what: /info \.Containerd/, why: 'Berth needs no containerd' },
  { what: /info \.Runtimes\./, why: 'other runtimes, and their features are not read aloud' },
  { what: /info \.(DefaultAddressPools|CDISpecDirs|DiscoveredDevices)/, why: 'how each engine was set up' },
  {
    what: /info \.(Warnings|RegistryConfig\.(Mirrors|InsecureRegistryCIDRs|AllowNondistributable\w+))/,
    why: 'a list, never null',
  },
  {
    what: /info \.(KernelMemoryTCP|KernelMemory|BridgeNf\w+|OomScoreAdj)/,
    why: 'keys of cgroup v1 that no client reads',
  },
  { what: /(host|none) \.IPAM\.Config/, why: 'a list, never null' },
  { what: /df /, why: 'items as in the lists of the same version' },
];

/** Names of their own, and which of several comes first. */
const free = /\.(Labels|Options|Ports|Containers)\.|\[0-9a-f\]{64}/;

function shapeOf(value: unknown, at = '', shape = new Set<string>()): Set<string> {
  const type = value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value;
  shape.add(`${at} ${type}`);
  if (Array.isArray(value)) {
    for (const entry of value) shapeOf(entry, `${at}[]`, shape);
  } else if (type === 'object')
    for (const [key, entry] of Object.entries(value as object)) shapeOf(entry, `${at}.${key}`, shape);
  return shape;
}

const versions = ['1.24', '1.30', '1.41', '1.43', '1.44', '1.47', '1.51'];
const all = encodeURIComponent('{"name":{"^/s[cre]$":true}}');

const asked: readonly (readonly [name: string, path: string, method?: string, body?: object])[] = [
  ['created', '/containers/sc/json'],
  ['running', '/containers/sr/json'],
  ['exited', '/containers/se/json?size=1'],
  ['list', '/containers/json'],
  ['list-all', `/containers/json?all=1&size=1&filters=${all}`],
  ['image', '/images/bb:1/json'],
  ['images', '/images/json'],
  ['images-manifests', '/images/json?manifests=1&shared-size=1'],
  ['history', '/images/bb:1/history'],
  ['info', '/info'],
  ['version', '/version'],
  ['bridge', '/networks/bridge'],
  ['host', '/networks/host'],
  ['none', '/networks/none'],
  ['volumes', '/volumes'],
  ['volume', '/volumes/named'],
  ['volume-create', '/volumes/create', 'POST', { Name: 'made', Labels: { a: 'b' } }],
  ['top', '/containers/sr/top'],
  ['wait', '/containers/se/wait', 'POST'],
  ['df', '/system/df'],
];

describe('shapes of the answers', () => {
  const engines: TestEngine[] = [];
  let reference: TestEngine | undefined;
  before(async () => {
    reference = await startReference('newest', ['--feature', 'containerd-snapshotter']);
    if (!reference) return;
    engines.push(await startBerth({ flags: ['--default-runtime', 'runc'] }), reference);
    for (const engine of engines) {
      engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
      engine.must('create', '--name', 'sc', '--network', 'none', '--label', 'a=b', '-v', '/anon', 'bb:1', 'true');
      const flags = ['-p', '127.0.0.1:0:80', '-p', '53/udp', '-v', 'named:/data', '--tmpfs', '/t', '--memory', '64m'];
      engine.must('run', '-d', '--name', 'sr', ...flags, '--add-host', 'a:1.2.3.4', 'bb:1', 'sleep', '1000');
      const limits = ['--ulimit', 'nofile=64:64', '--device', '/dev/null'];
      assert.equal(
        engine.docker(['run', '--name', 'se', ...limits, 'bb:1', 'sh', '-c', 'echo x > /f; exit 3']).status,
        3,
      );
    }
  });
  after(async () => {
    for (const engine of engines) await engine[Symbol.asyncDispose]();
  });

  const used = new Set<Difference>();
  const compare = async (name: string, version: string, ask: (engine: TestEngine) => Promise<unknown>) => {
    const [ours, theirs] = [shapeOf(await ask(engines[0]!)), shapeOf(await ask(engines[1]!))];
    const unexpected: string[] = [];
    const note = (line: string, side: string) => {
      const told = `${version} ${name} ${line}`;
      const known = intended.find(({ what }) => what.test(told));
      if (known) used.add(known);
      else if (!free.test(line)) unexpected.push(`only ${side}: ${told}`);
    };
    for (const line of ours) if (!theirs.has(line)) note(line, 'Berth');
    for (const line of theirs) if (!ours.has(line)) note(line, 'Docker');
    assert.deepEqual(unexpected, []);
  };

  for (const [name, path, method = 'GET', body] of asked)
    test(name, async (t) => {
      if (!reference) return t.skip('the reference engine cannot be had here');
      for (const version of versions)
        await compare(name, version, async (engine) => {
          const { status, headers, body: text } = await engine.api(method, `/v${version}${path}`, body);
          assert.equal(status, path.endsWith('/create') ? 201 : 200, text);
          assert.equal(headers['content-type'], 'application/json');
          return JSON.parse(text);
        });
    });

  test('exec, before and after', async (t) => {
    if (!reference) return t.skip('the reference engine cannot be had here');
    for (const version of versions) {
      const ids = new Map<TestEngine, string>();
      const inspect = async (engine: TestEngine) =>
        JSON.parse((await engine.api('GET', `/v${version}/exec/${ids.get(engine)}/json`)).body) as object;
      for (const engine of engines) {
        const answer = await engine.api('POST', `/v${version}/containers/sr/exec`, {
          Cmd: ['true'],
          AttachStdout: true,
        });
        ids.set(engine, (JSON.parse(answer.body) as { Id: string }).Id);
      }
      await compare('exec', version, inspect);
      for (const engine of engines) await engine.api('POST', `/v${version}/exec/${ids.get(engine)}/start`, {});
      await compare('exec', version, inspect);
    }
  });

  test('every difference that is listed is there', (t) => {
    if (!reference) return t.skip('the reference engine cannot be had here');
    assert.deepEqual(
      intended.filter((difference) => !used.has(difference)).map(({ what }) => String(what)),
      [],
    );
  });
});
