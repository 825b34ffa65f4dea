import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Cgroups } from './cgroups.ts';
import { detectRuntime } from './detect.ts';

const place = mkdtempSync(join(tmpdir(), 'berth-detect-'));
after(() => rmSync(place, { recursive: true, force: true }));

function program(name: string, script: string): string {
  const path = join(place, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

/** A machine with version 1 hierarchies and a version 2 hierarchy that has these controllers. */
function machine(controllers: string): Cgroups {
  const point = mkdtempSync(join(place, 'cgroup-'));
  mkdirSync(join(point, 'memory'));
  mkdirSync(join(point, 'unified'));
  writeFileSync(join(point, 'unified/cgroup.controllers'), controllers);
  return new Cgroups({
    mountinfo: `1 2 0:1 / ${point}/memory rw - cgroup cgroup rw,memory\n1 2 0:2 / ${point}/unified rw - cgroup2 cgroup2 rw\n`,
  });
}

const crun = (said: string) =>
  program('crun-fake', `[ "$1" = --version ] && { echo "crun version 1.8.1"; exit; }\necho '${said}' >&2; exit 1`);

test('crun is tried where a hybrid machine might be refused, and its words say why', async () => {
  const scratch = join(place, 'scratch');
  const refused = await detectRuntime(
    { name: 'crun', path: crun('invalid cgroup mount') },
    { cgroups: machine('hugetlb\n'), scratch },
  );
  assert.deepEqual([refused.family, refused.version], ['crun', '1.8.1']);
  assert.equal(refused.broken, 'invalid cgroup mount (the version 2 hierarchy still has hugetlb)');
  const fine = await detectRuntime(
    { name: 'crun', path: crun('executable file `/berth-probe` not found in $PATH') },
    { cgroups: machine('hugetlb\n'), scratch },
  );
  assert.equal(fine.broken, undefined);
  const whole = await detectRuntime({ name: 'crun', path: crun('never asked') }, { cgroups: machine(''), scratch });
  assert.equal(whole.broken, undefined);
  assert.deepEqual(readdirSync(scratch), []);
});

test('a runtime that is not there, or does not run, is broken and says so', async () => {
  const about = { cgroups: machine(''), scratch: join(place, 'scratch') };
  const missing = await detectRuntime({ name: 'kata', path: '/nonexistent/kata' }, about);
  assert.equal(missing.broken, '/nonexistent/kata: no such program');
  const failing = await detectRuntime({ name: 'bad', path: program('bad', 'exit 3') }, about);
  assert.match(failing.broken ?? '', /bad --version/);
  const other = await detectRuntime(
    { name: 'runc', path: program('r', 'echo "runc version 1.2.3"; echo "spec: 1.2"') },
    about,
  );
  assert.deepEqual([other.family, other.version, other.broken], ['runc', '1.2.3', undefined]);
});
