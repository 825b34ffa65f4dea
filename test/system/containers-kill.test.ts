/** kill -9 of the engine at any moment: what was acknowledged is there, what was half made is finished or gone. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Composed, newPlaces, ownNetwork } from '../lib/engine.ts';

const doomed = fileURLToPath(new URL('./containers-doomed.ts', import.meta.url));
const rounds = Number(process.env['BERTH_KILL_ROUNDS'] ?? 5);

test('R01 an engine that is killed while it works loses nothing and leaves nothing', {
  timeout: 60_000 + rounds * 15_000,
}, async () => {
  ownNetwork();
  const places = newPlaces();
  {
    const first = await Composed.open({ places });
    await first.load({ name: 'bb:latest' });
    await first.stop();
  }
  const created = new Set<string>();
  const runs = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const engine = spawn(process.execPath, [doomed, JSON.stringify(places)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const said = text(engine.stdout);
    await new Promise((resolve) => engine.stdout.once('data', resolve));
    await sleep(randomInt(100, 1500));
    engine.kill('SIGKILL');
    const lines = (await said)
      .trim()
      .split('\n')
      .map((line) => line.split(' ') as [string, string]);
    const removed = new Set<string>();
    for (const [what, id] of lines) {
      if (what === 'created') created.add(id);
      if (what === 'runs') runs.add(id);
      if (what === 'ending' || what === 'removed') for (const set of [created, runs]) set.delete(id);
      if (what === 'removed') removed.add(id);
    }

    const begun = performance.now();
    const composed = await Composed.open({ places });
    const took = performance.now() - begun;
    const { containers } = composed;
    assert.ok(took < 10_000, `opening took ${took} ms`);
    const known = new Map(containers.list().map((container) => [container.id, container]));
    for (const id of created) assert.ok(known.has(id), `lost ${id}`);
    for (const id of removed) assert.ok(!known.has(id), `back again ${id}`);
    for (const id of runs) {
      const { state } = known.get(id)!;
      assert.equal(state.status, 'running');
      assert.ok(existsSync(`/proc/${state.pid}`), 'it runs');
    }
    // Whatever is not a container that is listed is gone, and what runs is whole.
    await containers.idle();
    const live = containers
      .list()
      .filter(({ state }) => state.status === 'running')
      .map(({ id }) => id);
    const held = (path: string) => readdirSync(path).sort();
    assert.deepEqual(held(join(places.runDir, 'containers')), live.sort());
    assert.deepEqual(
      held(join(places.base, 'root/containers')),
      containers
        .list()
        .map(({ id }) => id)
        .sort(),
    );
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(`${places.runDir}/containers`));
    assert.equal(mounts.length, live.length);
    assert.equal(composed.engine.networks.get('bridge').endpoints.length, live.length);
    for (const name of live)
      await containers.execCreate(name, {
        Cmd: ['true'],
        AttachStdin: false,
        AttachStdout: false,
        AttachStderr: false,
        Tty: false,
        Detach: true,
        DetachKeys: '',
        Env: [],
        User: '',
        WorkingDir: '',
        Privileged: false,
        ConsoleSize: undefined,
      });
    const some = live[0];
    if (some) {
      await containers.remove(some, { force: true, volumes: true, link: false });
      created.delete(some);
      runs.delete(some);
      await containers.idle();
    }
    const problems = composed.lines.filter((line) => / error /.test(line));
    assert.deepEqual(problems, []);
    if (round < rounds - 1) await composed.stop();
    else await composed[Symbol.asyncDispose]();
  }
});
