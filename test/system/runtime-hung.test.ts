/** A runtime that hangs in the middle of a start. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { buildMonitor } from '../../src/runtime/build-monitor.ts';
import { OciRuntime } from '../../src/runtime/oci-runtime.ts';
import { Place } from './runtime-fixture.ts';

/** crun, but starting anything takes for ever. */
function hungRuntime({ path }: Place): string {
  const script = join(path, 'hung');
  writeFileSync(script, '#!/bin/sh\ncase " $* " in *" run "*) exec sleep 1000;; esac\nexec crun "$@"\n', {
    mode: 0o755,
  });
  return script;
}

async function open(place: Place, startWithinMs: number): Promise<OciRuntime> {
  return OciRuntime.open({
    root: place.root,
    runtimes: [
      { name: 'crun', path: 'crun' },
      { name: 'hung', path: hungRuntime(place) },
    ],
    default: 'crun',
    monitor: await buildMonitor({ directory: join(place.path, 'bin') }),
    startWithinMs,
    log: silentLog,
  });
}

const running = (word: string) =>
  readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(word);
    } catch {
      return false;
    }
  });

test('R02 starts that hang fail in time, leave nothing, and hold up nobody for ever', { timeout: 60_000 }, async () => {
  await using place = new Place();
  await using runtime = await open(place, 500);
  const requests = Array.from({ length: 20 }, () => place.request(['sleep', '1000'], { runtime: 'hung' }));
  const starts = requests.map((request) => runtime.start(request));
  const outcomes = Promise.allSettled(starts);
  const well = await runtime.start(place.request(['true']));
  assert.equal((await well.exited).code, 0);
  await well.delete();
  for (const outcome of await outcomes) {
    assert.equal(outcome.status, 'rejected');
    assert.match(String(outcome.reason), /did not start it within 0\.5 s/);
  }
  for (const { id } of requests) assert.deepEqual(running(id), []);
});
