/** The whole engine under a mixed load: killed at any moment, and asked by many at once. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { globalAgent } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { type ApiAnswer, startBerth, type TestEngine } from '../lib/engines.ts';
import { assertNoLeaks, knownTo, openFiles } from '../lib/leaks.ts';

const rounds = Number(process.env['BERTH_TORTURE_ROUNDS'] ?? 6);
/** An idle engine starts in a tenth of it; the machine may be busy. */
const startWithinMs = 10_000;

/** The engine went away under the request: what became of it is not known. */
class Cut extends Error {}

/** What was acknowledged. What is being changed is in none of these until the answer came. */
class Acknowledged {
  readonly created = new Set<string>();
  readonly running = new Set<string>();
  readonly gone = new Set<string>();
  readonly volumes = new Set<string>();
  readonly goneVolumes = new Set<string>();
  readonly images = new Set<string>();
  readonly goneImages = new Set<string>();
}

/** One client that works until the engine goes away. */
class Worker {
  readonly #engine: TestEngine;
  readonly #said: Acknowledged;
  readonly #name: string;
  #count = 0;

  constructor(engine: TestEngine, said: Acknowledged, name: string) {
    this.#engine = engine;
    this.#said = said;
    this.#name = name;
  }

  async work(): Promise<number> {
    const kinds = [
      this.#container,
      this.#container,
      this.#container,
      this.#passing,
      this.#passing,
      this.#volume,
      this.#image,
    ];
    for (;;) {
      try {
        await kinds[randomInt(kinds.length)]!.call(this);
      } catch (error) {
        if (error instanceof Cut) return this.#count;
        throw error;
      }
    }
  }

  async #ask(
    method: string,
    path: string,
    body?: unknown,
    expected: readonly number[] = [200, 201, 204],
  ): Promise<ApiAnswer> {
    const answer = await this.#engine.api(method, `/v1.47${path}`, body).catch(() => {
      throw new Cut();
    });
    assert.ok(expected.includes(answer.status), `${method} ${path}: ${answer.status} ${answer.body}`);
    this.#count++;
    return answer;
  }

  async #create(name: string, host: Readonly<Record<string, unknown>>, command: readonly string[]): Promise<string> {
    const body = {
      Image: 'bb:1',
      Cmd: command,
      ...(randomInt(4) === 0 ? { Volumes: { '/v': {} } } : {}),
      HostConfig: host,
    };
    const query = name === '' ? '' : `?name=${name}`;
    return (JSON.parse((await this.#ask('POST', `/containers/create${query}`, body)).body) as { Id: string }).Id;
  }

  async #container(): Promise<void> {
    const said = this.#said;
    const name = `${this.#name}-${this.#count}-${randomInt(1e9)}`;
    const ports = { '80/tcp': [{ HostPort: '' }] };
    const id = await this.#create(name, randomInt(2) === 0 ? { PortBindings: ports } : {}, ['sleep', '1000']);
    said.created.add(id);
    if (randomInt(8) === 0) return;
    await this.#ask('POST', `/containers/${id}/start`);
    said.running.add(id);
    if (randomInt(2) === 0) {
      const exec = { Cmd: ['sh', '-c', 'sleep 0.1; echo hi'], AttachStdout: true };
      const { Id } = JSON.parse((await this.#ask('POST', `/containers/${id}/exec`, exec)).body) as { Id: string };
      await this.#ask('POST', `/exec/${Id}/start`, { Detach: randomInt(2) === 0 });
    }
    if (randomInt(4) === 0) await this.#ask('POST', `/containers/${id}/rename?name=${name}-renamed`);
    if (randomInt(6) === 0) return;
    said.running.delete(id);
    if (randomInt(2) === 0) {
      await this.#ask('POST', `/containers/${id}/stop?t=0`);
      if (randomInt(2) === 0) {
        await this.#ask('POST', `/containers/${id}/start`);
        said.running.add(id);
      }
    }
    said.running.delete(id);
    said.created.delete(id);
    await this.#ask('DELETE', `/containers/${id}?force=1&v=1`);
    said.gone.add(id);
  }

  async #passing(): Promise<void> {
    const id = await this.#create('', { AutoRemove: true }, ['true']);
    const waited = this.#ask('POST', `/containers/${id}/wait?condition=removed`);
    waited.catch(() => {});
    await sleep(5);
    await this.#ask('POST', `/containers/${id}/start`);
    await waited;
    this.#said.gone.add(id);
  }

  async #volume(): Promise<void> {
    const { volumes, goneVolumes } = this.#said;
    const Name = `${this.#name}-${this.#count}-${randomInt(1e9)}`;
    await this.#ask('POST', '/volumes/create', { Name });
    volumes.add(Name);
    if (randomInt(3) === 0) return;
    volumes.delete(Name);
    await this.#ask('DELETE', `/volumes/${Name}`);
    goneVolumes.add(Name);
  }

  async #image(): Promise<void> {
    const { images, goneImages } = this.#said;
    const tag = `x:${this.#name}`;
    images.delete(tag);
    goneImages.delete(tag);
    const archive = readFileSync(busyboxArchive({ name: tag, files: { 'etc/name': this.#name } }));
    const { body } = await this.#ask('POST', '/images/load', archive);
    assert.match(body, /Loaded image/);
    images.add(tag);
    if (randomInt(3) === 0) return;
    images.delete(tag);
    await this.#ask('DELETE', `/images/${tag}`);
    goneImages.add(tag);
  }
}

async function checkAcknowledged(engine: TestEngine, said: Acknowledged): Promise<void> {
  const listed = JSON.parse((await engine.api('GET', '/v1.47/containers/json?all=1')).body) as {
    Id: string;
    State: string;
  }[];
  const states = new Map(listed.map(({ Id, State }) => [Id, State]));
  for (const id of said.created) assert.ok(states.has(id), `lost: container ${id}`);
  for (const id of said.gone) assert.ok(!states.has(id), `back again: container ${id}`);
  for (const id of said.running) assert.equal(states.get(id), 'running', `container ${id}`);
  const { volumes } = await knownTo(engine);
  for (const name of said.volumes) assert.ok(volumes.includes(name), `lost: volume ${name}`);
  for (const name of said.goneVolumes) assert.ok(!volumes.includes(name), `back again: volume ${name}`);
  const images = (
    JSON.parse((await engine.api('GET', '/v1.47/images/json')).body) as { RepoTags: string[] | null }[]
  ).flatMap(({ RepoTags }) => RepoTags ?? []);
  for (const name of said.images) assert.ok(images.includes(name), `lost: image ${name}`);
  for (const name of said.goneImages) assert.ok(!images.includes(name), `back again: image ${name}`);
  // Each container that runs takes an exec: it is held as if this engine had started it.
  const some = [...said.running][0];
  if (some) assert.equal(engine.must('exec', some, 'echo', 'well'), 'well');
}

test('R01 S22 kill -9 at any moment of a mixed load: nothing acknowledged is lost, nothing is left behind', {
  timeout: 60_000 + rounds * 30_000,
}, async (t) => {
  await using engine = await startBerth();
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  const said = new Acknowledged();
  const starts: number[] = [];
  let operations = 0;
  for (let round = 0; round < rounds; round++) {
    const workers = [1, 2, 3, 4].map((number) => new Worker(engine, said, `w${number}`).work());
    await Promise.race([sleep(randomInt(100, 2000)), ...workers]);
    await engine.kill();
    for (const count of await Promise.all(workers)) operations += count;
    const from = performance.now();
    await engine.restart();
    starts.push(performance.now() - from);
    assert.ok(starts.at(-1)! < startWithinMs, `the start took ${Math.round(starts.at(-1)!)} ms`);
    await checkAcknowledged(engine, said);
    await assertNoLeaks(engine, () => knownTo(engine));
    // Not more and more of them.
    const ids = [...said.running].slice(0, -6);
    for (const id of ids) for (const set of [said.created, said.running]) set.delete(id);
    if (ids.length > 0) engine.must('rm', '-f', '-v', ...ids);
    const bad = engine
      .log()
      .split('\n')
      .filter((line) => / error |bug:/.test(line));
    assert.deepEqual(bad, []);
  }
  const worst = Math.round(Math.max(...starts));
  t.diagnostic(`${rounds} kills, ${operations} operations acknowledged, starts within ${worst} ms`);
});

test('R22 many clients on the same names: every answer is explained, no name is held by two, nothing is left', {
  timeout: 120_000,
}, async (t) => {
  await using engine = await startBerth();
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  engine.must('run', '--rm', 'bb:1', 'true');
  globalAgent.destroy();
  await sleep(300);
  const before = openFiles(engine.pid);
  const names = Array.from({ length: 10 }, (_, number) => `n${number}`);
  const any = () => names[randomInt(names.length)]!;
  const counts = new Map<string, number>();
  const ask = async (method: string, path: string, body: unknown, expected: Readonly<Record<number, RegExp>>) => {
    const answer = await engine.api(method, `/v1.47${path}`, body);
    const what = `${method} ${path} ${answer.status}`;
    const wanted = expected[answer.status];
    assert.ok(wanted?.test(answer.body), `${what} ${answer.body}`);
    const kind = `${method} ${path.replace(/n\d/g, 'N').replace(/\?.*/, '')} ${answer.status}`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return answer;
  };
  const inUse = /is already in use by container/;
  const missing = /No such container/;
  const removing = /removal of container .* is already in progress|is marked for removal/;
  const operations = [
    () =>
      ask(
        'POST',
        `/containers/create?name=${any()}`,
        { Image: 'bb:1', Cmd: ['sleep', '1000'] },
        { 201: /"Id"/, 409: inUse },
      ),
    () => ask('POST', `/containers/${any()}/start`, undefined, { 204: /^$/, 304: /^$/, 404: missing, 409: removing }),
    () => ask('POST', `/containers/${any()}/stop?t=0`, undefined, { 204: /^$/, 304: /^$/, 404: missing }),
    () =>
      ask('POST', `/containers/${any()}/rename?name=${any()}`, undefined, {
        204: /^$/,
        400: /same name/,
        404: missing,
        409: inUse,
      }),
    () => ask('DELETE', `/containers/${any()}?force=1`, undefined, { 204: /^$/, 404: missing, 409: removing }),
    () =>
      ask('DELETE', `/containers/${any()}`, undefined, {
        204: /^$/,
        404: missing,
        409: new RegExp(`${removing.source}|stop the container before removing`),
      }),
  ];
  const until = Date.now() + 8_000;
  let watching = true;
  const watcher = (async () => {
    while (watching) {
      const listed = JSON.parse((await engine.api('GET', '/v1.47/containers/json?all=1')).body) as {
        Names: string[];
      }[];
      const held = listed.flatMap(({ Names }) => Names);
      assert.equal(new Set(held).size, held.length, `held by two: ${held.sort()}`);
      assert.ok(held.length <= names.length);
      await sleep(10);
    }
  })();
  const clients = Array.from({ length: 20 }, async () => {
    while (Date.now() < until) await operations[randomInt(operations.length)]!();
  });
  await Promise.all(clients);
  watching = false;
  await watcher;
  for (const [kind, count] of [...counts].sort()) t.diagnostic(`${kind}: ${count}`);
  const left = engine.must('ps', '-aq').split('\n').filter(Boolean);
  if (left.length > 0) engine.must('rm', '-f', ...left);
  await assertNoLeaks(engine, () => knownTo(engine));
  // The clients' own connections are kept for later requests.
  globalAgent.destroy();
  await sleep(300);
  const after = openFiles(engine.pid);
  assert.ok(after <= before + 10, `${before} descriptors before, ${after} after`);
  const bad = engine
    .log()
    .split('\n')
    .filter((line) => / error |bug:/.test(line));
  assert.deepEqual(bad, []);
});
