import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

/** A directory of uid 4000 and gid 4001 with a file of it, and a file of root's. */
function fill(directory: string): string {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'file'), 'of the caller\n', { mode: 0o600 });
  writeFileSync(join(directory, 'roots'), '', { mode: 0o600 });
  for (const path of [directory, join(directory, 'file')]) chownSync(path, 4000, 4001);
  return directory;
}

const owner = (path: string) => {
  const { uid, gid } = statSync(path);
  return `${uid}:${gid}`;
};

for (const runtime of ['crun', 'runc'])
  describe(`bind mounts with mapped owners, ${runtime}`, () => {
    let engine: TestEngine;
    let base: string;
    let memory: string;
    before(async () => {
      engine = await startBerth({ flags: ['--default-runtime', runtime] });
      engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
      base = mkdtempSync(join(tmpdir(), 'berth-idmap-'));
      memory = mkdtempSync('/dev/shm/berth-idmap-');
    });
    after(async () => {
      await engine[Symbol.asyncDispose]();
      for (const path of [base, memory]) rmSync(path, { recursive: true, force: true });
    });

    test('files belong to the container’s user, and what it makes belongs to the owner of the source', () => {
      for (const [at, directory] of [fill(join(base, 'disk')), fill(join(memory, 'tmpfs'))].entries())
        for (const user of ['0:0', '1000:1000']) {
          const script = `stat -c %u:%g /d /d/file /d/roots; cat /d/file; echo x > /d/made${at}; stat -c %u:%g /d/made${at}`;
          const run = ['run', '--rm', '-u', user, '-v', `${directory}:/d:idmap`, 'bb:1', 'sh', '-c', script];
          assert.deepEqual(engine.must(...run).split('\n'), [
            ...[user, user, user === '0:0' ? '4000:4001' : '0:0', 'of the caller', user],
          ]);
          assert.equal(owner(join(directory, `made${at}`)), '4000:4001');
          rmSync(join(directory, `made${at}`));
        }
    });

    test('a single file, read-only, by the API', async () => {
      const file = join(fill(join(base, 'single')), 'file');
      const mount = { Type: 'bind', Source: file, Target: '/f', ReadOnly: true, BindOptions: { IDMap: true } };
      const { status, body } = await engine.api('POST', '/containers/create?name=single', {
        Image: 'bb:1',
        User: 'web',
        Cmd: ['sh', '-c', 'stat -c %U:%G /f; cat /f; echo x > /f || echo read-only'],
        HostConfig: { Mounts: [mount] },
      });
      assert.equal(status, 201, body);
      assert.equal(engine.docker(['start', '-a', 'single']).stdout, 'web:web\nof the caller\nread-only\n');
      engine.must('rm', 'single');
    });

    test('restart, exec, cp of a running and of a stopped container, and the engine killed', async () => {
      const directory = fill(join(base, 'held'));
      engine.must('run', '-d', '--name', 'held', '-u', 'web', '-v', `${directory}:/d:idmap`, 'bb:1', 'sleep', '600');
      await engine.kill();
      await engine.restart();
      engine.must('restart', '-t', '0', 'held');
      assert.equal(engine.must('exec', 'held', 'sh', '-c', 'touch /d/exec; stat -c %U /d/exec'), 'web');
      assert.equal(owner(join(directory, 'exec')), '4000:4001');
      const owners = (archive: string) => /(\d+)\/(\d+)/.exec(archive)?.[0];
      for (const state of ['running', 'stopped']) {
        if (state === 'stopped') engine.must('stop', '-t', '0', 'held');
        const tar = engine.docker(['cp', 'held:/d/file', '-']).stdout;
        const listed = execFileSync('tar', ['-tvf', '-', '--numeric-owner'], { input: tar, encoding: 'utf8' });
        assert.equal(owners(listed), '1000/1000', state);
        const source = join(base, 'copied');
        writeFileSync(source, 'x');
        chownSync(source, 1000, 1000);
        engine.must('cp', '-a', source, `held:/d/in-${state}`);
        assert.equal(owner(join(directory, `in-${state}`)), '4000:4001', state);
      }
      engine.must('rm', 'held');
      assert.doesNotMatch(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(`${engine.dir}\\S*/subpaths`));
    });

    test('refused: where the file system cannot, with what else makes no sense', () => {
      const refused = (source: string, mode: string) =>
        engine.docker(['run', '--rm', '-v', `${source}:/d:${mode}`, 'bb:1', 'true']);
      const { status, stderr } = refused('/proc/sys', 'idmap');
      assert.equal(status, 125);
      assert.match(stderr, /mount \/proc\/sys with mapped owners \(idmap\): its file system \(proc\)/);
      const overlay = ['lower', 'upper', 'work', 'merged'].map((name) => join(base, name)) as [
        string,
        string,
        string,
        string,
      ];
      for (const path of overlay) mkdirSync(path);
      const [lower, upper, work, merged] = overlay;
      const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
      execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged]);
      try {
        assert.match(refused(merged, 'idmap').stderr, /its file system \(overlay\).*cannot/);
      } finally {
        execFileSync('umount', [merged]);
        rmdirSync(merged);
      }
      assert.match(refused('name', 'idmap').stderr, /invalid mode: idmap/);
      assert.match(refused(base, 'idmap,rshared').stderr, /invalid mode: idmap,rshared/);
    });
  });
