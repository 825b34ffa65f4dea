import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Cgroups } from '../../src/runtime/cgroups.ts';
import { StartError } from '../../src/runtime/start-error.ts';
import { collect, ended, noMkdir, Place, unframe } from './runtime-fixture.ts';

const place = new Place();
const runtime = await place.open();
const cgroups = new Cgroups();
after(async () => {
  await runtime[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const output = { stdin: false, stdout: true, stderr: true };

async function run(args: string[], more: Parameters<Place['request']>[1] = {}) {
  const request = place.request(args, { attach: [output], ...more });
  const task = await runtime.start(request);
  const all = collect(task.attached[0]!);
  const code = await ended(task);
  const { stdout, stderr } = unframe(await all);
  return { request, task, code, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** What is left of a container in the kernel and on the disk. */
function traces(name: string, request: { id: string; bundle: string }): string[] {
  return [
    ...cgroups.directories(`/berth-test/${request.id}`).filter((path) => existsSync(path)),
    ...[join(place.root, 'state', name, request.id)].filter((path) => existsSync(path)),
    ...readdirSync(request.bundle),
    ...processesWith(request.id),
  ];
}

function processesWith(word: string): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(word);
    } catch {
      return false;
    }
  });
}

const descriptors = () => readdirSync('/proc/self/fd').length;

async function settled(look: () => unknown[]): Promise<unknown[]> {
  for (let n = 0; n < 100 && look().length > 0; n++) await new Promise((resolve) => setTimeout(resolve, 10));
  return look();
}

test('the runtimes are found, and crun is the default where it works', () => {
  const crun = runtime.list().find(({ name }) => name === 'crun');
  assert.match(crun?.version ?? '', /^\d+\.\d+/);
  assert.equal(runtime.default, crun?.broken ? 'runc' : 'crun');
});

for (const { name } of runtime.list().filter(({ broken }) => !broken)) {
  test(`${name}: a container runs, its output and exit code come back, and nothing is left of it`, async () => {
    const { request, task, code, stdout, stderr } = await run(['sh', '-c', 'echo out; echo err >&2; exit 42'], {
      runtime: name,
    });
    assert.deepEqual([code, stdout, stderr], [42, 'out\n', 'err\n']);
    assert.match(task.startedAt, /^\d{4}-.*\.\d{9}Z$/);
    await task.delete();
    await task.delete();
    assert.deepEqual(await settled(() => traces(name, request)), []);
  });

  test(`${name}: a signal reaches the process and makes its exit code; a second one finds it gone`, async () => {
    const task = await runtime.start(place.request(['sleep', '1000'], { runtime: name }));
    await assert.rejects(task.delete(), { kind: 'conflict' });
    await task.kill(9);
    assert.equal(await ended(task), 137);
    await assert.rejects(task.kill(9), { kind: 'conflict' });
    await task.delete();
  });

  test(`${name}: a handled signal is the container's own affair`, async () => {
    const { task } = await (async () => {
      const task = await runtime.start(
        place.request(['sh', '-c', 'trap "exit 5" TERM; echo ready; while :; do sleep 0.02; done'], {
          runtime: name,
          attach: [output],
        }),
      );
      await new Promise<void>((resolve) => task.attached[0]!.once('data', () => resolve()));
      return { task };
    })();
    await task.kill(15);
    assert.equal(await ended(task), 5);
    await task.delete();
  });

  const failures: [string[], 126 | 127, string][] = [
    [['nosuch'], 127, 'exec: "nosuch": executable file not found in $PATH'],
    [['/nosuch'], 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'],
    [['/etc/notexec'], 126, 'exec: "/etc/notexec": permission denied'],
    [['/bin'], 126, 'exec: "/bin": permission denied'],
  ];
  for (const [args, exitCode, words] of failures)
    test(`${name}: ${args} fails with ${exitCode} in Docker's words and leaves nothing`, async () => {
      writeFileSync(join(place.rootfs, 'etc/notexec'), 'no', { mode: 0o644 });
      const before = descriptors();
      const request = place.request(args, { runtime: name, attach: [output] });
      await assert.rejects(runtime.start(request), (error) => {
        assert.ok(error instanceof StartError, String(error));
        assert.equal(error.exitCode, exitCode);
        assert.ok(error.message.startsWith('failed to create task for container: '), error.message);
        assert.ok(error.message.includes(words), error.message);
        return true;
      });
      assert.deepEqual(await settled(() => traces(name, request)), []);
      await settled(() => new Array(Math.max(0, descriptors() - before)));
      assert.ok(descriptors() <= before, `${descriptors()} descriptors, ${before} before`);
    });

  test(`${name}: a missing root file system fails and leaves nothing`, async () => {
    const request = place.request(['true'], { runtime: name, spec: { root: { path: join(place.path, 'nowhere') } } });
    await assert.rejects(runtime.start(request), (error) => error instanceof StartError && error.exitCode !== 126);
    assert.deepEqual(await settled(() => traces(name, request)), []);
  });

  test(`${name}: a start that is aborted leaves nothing, whenever that was`, async () => {
    for (const delay of [0, 1, 2, 4, 6, 8, 10, 12, 16, 24]) {
      const request = place.request(['sleep', '1000'], { runtime: name });
      const stop = new AbortController();
      const begun = runtime.start({ ...request, signal: stop.signal });
      setTimeout(() => stop.abort(new Error('stopped')), delay);
      const result = await begun.then(
        (task) => task,
        (error: Error) => error,
      );
      if (!(result instanceof Error)) {
        // It was quicker than that.
        await result.kill(9);
        await ended(result);
        await result.delete();
      } else assert.equal(result.message, 'stopped');
      assert.deepEqual(await settled(() => traces(name, request)), [], `after ${delay} ms`);
    }
  });

  test(`${name}: a process in a container has three descriptors (S11)`, async () => {
    const { stdout, task } = await run(['sh', '-c', 'ls /proc/self/fd | tr "\\n" " "'], { runtime: name });
    assert.match(stdout, /^0 1 2 3 $/); // 3 is the directory that ls reads
    await task.delete();
  });

  test(`${name}: a working directory among the descriptors is refused or leads nowhere (S11)`, async () => {
    for (let fd = 3; fd < 12; fd++) {
      const base = place.request(['ls', '../../../../../../..']);
      const request = {
        ...base,
        runtime: name,
        attach: [output],
        spec: { ...base.spec, process: { ...base.spec.process, cwd: `/proc/self/fd/${fd}` } },
      };
      try {
        const task = await runtime.start(request);
        const all = collect(task.attached[0]!);
        await ended(task);
        assert.ok(
          !unframe(await all)
            .stdout.toString()
            .includes('home'),
          `descriptor ${fd}`,
        );
        await task.delete();
      } catch (error) {
        assert.ok(error instanceof StartError, String(error));
      }
    }
  });
}

test('a filter governs the container, compiled or remembered, and is the same program both ways (S20)', async () => {
  const script = 'grep ^Seccomp: /proc/self/status; mkdir /tmp/x 2>/dev/null && echo made; sleep 0.2; true';
  const seen: { stdout: string; program: Buffer }[] = [];
  for (let round = 0; round < 2; round++) {
    const base = place.request(['sh', '-c', script], { attach: [output] });
    const task = await runtime.start({
      ...base,
      spec: { ...base.spec, linux: { ...base.spec.linux, seccomp: noMkdir } },
    });
    const program = readFileSync(join(place.root, 'state/crun', base.id, 'seccomp.bpf'));
    const config = readFileSync(join(base.bundle, 'config.json'), 'utf8');
    assert.equal(config.includes('run.oci.seccomp_bpf_data'), round === 1);
    const all = collect(task.attached[0]!);
    await ended(task);
    seen.push({ stdout: unframe(await all).stdout.toString(), program });
    await task.delete();
  }
  assert.equal(seen[0]!.stdout, 'Seccomp:\t2\n');
  assert.equal(seen[1]!.stdout, 'Seccomp:\t2\n');
  assert.ok(seen[0]!.program.length > 0 && seen[0]!.program.equals(seen[1]!.program));
});

test('a remembered filter that was damaged on disk is not used (R08)', async () => {
  const other = await place.open(['crun']);
  const file = readdirSync(join(place.root, 'seccomp'))[0]!;
  const path = join(place.root, 'seccomp', file);
  const bytes = readFileSync(path);
  bytes[bytes.length - 1]! ^= 0xff;
  writeFileSync(path, bytes);
  const base = place.request(['sh', '-c', 'mkdir /tmp/y 2>/dev/null && echo made; true'], { attach: [output] });
  const task = await other.start({ ...base, spec: { ...base.spec, linux: { ...base.spec.linux, seccomp: noMkdir } } });
  assert.equal(readFileSync(join(base.bundle, 'config.json'), 'utf8').includes('run.oci.seccomp_bpf_data'), false);
  const all = collect(task.attached[0]!);
  await ended(task);
  assert.equal(unframe(await all).stdout.toString(), '');
  await task.delete();
  await other[Symbol.asyncDispose]();
});

test('a request cannot bring its own filter by an annotation (S18)', async () => {
  const base = place.request(['grep', '^Seccomp:', '/proc/self/status'], { attach: [output] });
  const allowAll = Buffer.from([6, 0, 0, 0, 0, 0, 0xff, 0x7f]).toString('base64');
  const task = await runtime.start({
    ...base,
    spec: {
      ...base.spec,
      annotations: { 'run.oci.seccomp_bpf_data': allowAll, 'RUN.oci.handler': 'x', kept: 'yes' },
      linux: { ...base.spec.linux, seccomp: noMkdir },
    },
  });
  const config = JSON.parse(readFileSync(join(base.bundle, 'config.json'), 'utf8'));
  assert.notEqual(config.annotations['run.oci.seccomp_bpf_data'], allowAll);
  assert.deepEqual(
    Object.keys(config.annotations).filter((key) => key !== 'run.oci.seccomp_bpf_data'),
    ['kept'],
  );
  await ended(task);
  await task.delete();
});

test('many containers started at once all run, and leave no process, descriptor or control group', async () => {
  const before = descriptors();
  const requests = Array.from({ length: 12 }, (_, n) => place.request(['sh', '-c', `exit ${n}`]));
  const codes = await Promise.all(
    requests.map(async (request) => {
      const task = await runtime.start(request);
      const code = await ended(task);
      await task.delete();
      return code;
    }),
  );
  assert.deepEqual(
    codes,
    requests.map((_, n) => n),
  );
  for (const request of requests) assert.deepEqual(await settled(() => traces('crun', request)), []);
  await settled(() => new Array(Math.max(0, descriptors() - before)));
  assert.ok(descriptors() <= before, `${descriptors()} descriptors, ${before} before`);
});

test('what the runtime keeps is for its owner only (S21)', async () => {
  const task = await runtime.start(
    place.request(['sleep', '100'], { log: { path: join(place.path, 'log'), maxSize: 0, maxFiles: 1 } }),
  );
  for (const path of [place.root, join(place.root, 'state'), join(place.path, 'log')])
    assert.equal(statSync(path).mode & 0o077, 0, path);
  await task.kill(9);
  await ended(task);
  await task.delete();
});
