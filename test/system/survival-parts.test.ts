/** The processes beside the engine killed at any moment: monitors, runtimes in the middle of a start, the network helper. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth } from '../lib/engines.ts';
import { assertNoLeaks, knownTo, processesOf } from '../lib/leaks.ts';

const seconds = Number(process.env['BERTH_TORTURE_ROUNDS'] ?? 6);

test('R02 kill -9 of monitors, runtimes and the helper at any moment: told, healed, nothing left behind', {
  timeout: 60_000 + seconds * 3_000,
}, async (t) => {
  await using engine = await startBerth();
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  const until = Date.now() + seconds * 1000;
  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await engine.api(method, `/v1.47${path}`, body);
    if (answer.status >= 400)
      assert.match(answer.body, /^\{"message":".+"\}\s*$/s, `${method} ${path}: ${answer.status}`);
    return answer;
  };
  let failed = 0;
  let done = 0;
  const work = async () => {
    while (Date.now() < until) {
      const PortBindings = randomInt(2) === 0 ? { '80/tcp': [{ HostPort: '' }] } : {};
      const body = { Image: 'bb:1', Cmd: ['sleep', '1000'], HostConfig: { PortBindings } };
      const created = await ask('POST', '/containers/create', body);
      assert.equal(created.status, 201, created.body);
      const { Id } = JSON.parse(created.body) as { Id: string };
      const started = await ask('POST', `/containers/${Id}/start`);
      if (started.status === 204) done++;
      else failed++;
      const exec = await ask('POST', `/containers/${Id}/exec`, { Cmd: ['sleep', '0.1'], AttachStdout: true });
      if (exec.status === 201) {
        const session = (JSON.parse(exec.body) as { Id: string }).Id;
        // It may be cut under the answer, as any stream whose process ended.
        await ask('POST', `/exec/${session}/start`, { Detach: randomInt(2) === 0 }).catch(() => {});
      }
      if (randomInt(3) > 0) assert.equal((await ask('DELETE', `/containers/${Id}?force=1`)).status, 204);
    }
  };
  const killed: Record<string, number> = {};
  const kill = async () => {
    while (Date.now() < until) {
      await sleep(randomInt(60));
      const isHelper = ({ words }: { readonly words: readonly string[] }) =>
        words.some((word) => /networks-helper/.test(word));
      const others = processesOf(engine.dir).filter(
        (other) => other.pid !== engine.pid && (!isHelper(other) || randomInt(10) === 0),
      );
      const victim = others[randomInt(Math.max(1, others.length))];
      if (!victim) continue;
      try {
        process.kill(victim.pid, 'SIGKILL');
      } catch {
        continue;
      }
      const name = victim.words.find((word) => /networks-helper/.test(word))
        ? 'helper'
        : victim.words[0]!.split('/').at(-1)!;
      const kind = name.startsWith('monitor') || name.startsWith('berth-monitor') ? 'monitor' : name;
      killed[kind] = (killed[kind] ?? 0) + 1;
    }
  };
  await Promise.all([work(), work(), work(), kill()]);
  t.diagnostic(`killed ${JSON.stringify(killed)}; ${done} starts, ${failed} failed`);
  await assertNoLeaks(engine, () => knownTo(engine));
  // What runs, runs well.
  const { running } = await knownTo(engine);
  for (const id of running.slice(0, 3)) assert.equal(engine.must('exec', id, 'echo', 'well'), 'well');
  assert.equal(engine.must('run', '--rm', '-p', '80', 'bb:1', 'echo', 'fine'), 'fine');
  assert.deepEqual(
    engine
      .log()
      .split('\n')
      .filter((line) => line.includes('bug:')),
    [],
  );
});
