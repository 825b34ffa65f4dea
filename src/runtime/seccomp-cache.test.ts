import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Spec } from '../oci/runtime-spec.ts';
import { SeccompCache, withoutRuntimeAnnotations, withProgram } from './seccomp-cache.ts';

const place = mkdtempSync(join(tmpdir(), 'berth-seccomp-'));
after(() => rmSync(place, { recursive: true, force: true }));

const crun = { path: '/usr/bin/crun', version: '1.8.1' };
const profile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  flags: ['SECCOMP_FILTER_FLAG_LOG'],
  syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW' }],
};
const program = Buffer.alloc(64, 7);
const spec: Spec = {
  ociVersion: '1.0.2',
  process: { user: { uid: 0, gid: 0 }, args: ['x'], env: [], cwd: '/' },
  root: { path: '/' },
  mounts: [],
  linux: { namespaces: [], seccomp: profile },
};

test('a program is found again by the profile and the runtime, by a later engine too', async () => {
  const directory = join(place, 'a');
  const cache = new SeccompCache({ directory });
  const key = cache.key(profile, crun);
  assert.equal(await cache.get(key), undefined);
  writeFileSync(join(place, 'bpf'), program);
  await cache.learn(key, join(place, 'bpf'));
  assert.equal(await cache.get(key), program.toString('base64'));
  assert.equal(await new SeccompCache({ directory }).get(key), program.toString('base64'));
});

test('another profile, version or path is another program', () => {
  const cache = new SeccompCache({ directory: place });
  const keys = [
    cache.key(profile, crun),
    cache.key({ ...profile, defaultAction: 'SCMP_ACT_ALLOW' }, crun),
    cache.key({ ...profile, flags: [] }, crun),
    cache.key(profile, { ...crun, version: '1.9' }),
    cache.key(profile, { ...crun, path: '/opt/crun' }),
  ];
  assert.equal(new Set(keys).size, keys.length);
});

test('what is damaged, cut or no program is not used (R08)', async () => {
  const directory = join(place, 'b');
  const cache = new SeccompCache({ directory });
  const key = cache.key(profile, crun);
  for (const bad of [Buffer.alloc(0), Buffer.alloc(63), Buffer.alloc(8 * 4097)]) {
    writeFileSync(join(place, 'bad'), bad);
    await cache.learn(key, join(place, 'bad'));
    assert.equal(await cache.get(key), undefined);
  }
  writeFileSync(join(place, 'bpf'), program);
  await cache.learn(key, join(place, 'bpf'));
  const file = join(directory, readdirSync(directory)[0]!);
  const whole = readFileSync(file);
  for (let at = 0; at < whole.length; at += 5) {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 1;
    writeFileSync(file, bytes);
    assert.equal(await new SeccompCache({ directory }).get(key), undefined, `byte ${at}`);
  }
  for (const length of [0, 16, 32, 40, whole.length - 8]) {
    writeFileSync(file, whole);
    truncateSync(file, length);
    assert.equal(await new SeccompCache({ directory }).get(key), undefined, `${length} bytes`);
  }
});

test('annotations for the runtime are taken out of a request, others stay (S18)', () => {
  const asked = { ...spec, annotations: { 'run.oci.seccomp_bpf_data': 'x', 'Run.OCI.hooks.stdout': 'y', mine: 'z' } };
  assert.deepEqual(withoutRuntimeAnnotations(asked).annotations, { mine: 'z' });
});

test('with a program the profile shrinks to its default and its flags', () => {
  const { linux, annotations } = withProgram({ ...spec, annotations: { mine: 'z' } }, 'AAAA');
  assert.deepEqual(linux.seccomp, {
    defaultAction: 'SCMP_ACT_ERRNO',
    flags: ['SECCOMP_FILTER_FLAG_LOG'],
    syscalls: [],
  });
  assert.deepEqual(annotations, { mine: 'z', 'run.oci.seccomp_bpf_data': 'AAAA' });
});
