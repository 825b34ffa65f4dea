import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { project, startBerth, type TestEngine } from '../lib/engines.ts';

describe('completion in shells', () => {
  let engine: TestEngine;
  let berth: BerthCli;
  const bin = mkdtempSync(join(tmpdir(), 'berth-completion-'));

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine);
    engine.must('load', '-i', busyboxArchive({ name: 'bb:1' }));
    engine.must('tag', 'bb:1', 'bb:2');
    engine.must('create', '--name', 'made', 'bb:1');
    engine.must('run', '-d', '--name', 'runs', 'bb:1', 'sleep', '600');
    symlinkSync(join(project, 'berth'), join(bin, 'berth'));
  });
  after(async () => {
    rmSync(bin, { recursive: true });
    await engine[Symbol.asyncDispose]();
  });

  const shell = (program: string, args: readonly string[], source: string) => {
    const file = join(bin, 'source');
    writeFileSync(file, source);
    const { status, stdout, stderr } = spawnSync(program, [...args, file], {
      env: { ...berth.env, PATH: `${bin}:${process.env.PATH}` },
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(status, 0, stderr);
    return stdout.split('\n').filter(Boolean);
  };

  const inBash = (line: string) =>
    shell(
      'bash',
      [],
      `${berth.must('completion', 'bash')}
COMP_LINE='${line}' COMP_POINT=${line.length}
_berth berth
printf '%s\\n' "\${COMPREPLY[@]}"`,
    );

  test('bash: commands, flags, names; an image behind its colon as readline wants it', () => {
    assert.deepEqual(inBash('berth insp'), ['inspect']);
    assert.deepEqual(inBash('berth logs --ta'), ['--tail']);
    assert.deepEqual(inBash('berth rm '), ['runs', 'made']);
    assert.deepEqual(inBash('berth stop '), ['runs']);
    assert.deepEqual(inBash('berth run bb'), ['bb:1', 'bb:2']);
    assert.deepEqual(inBash('berth run bb:'), ['1', '2']);
    assert.deepEqual(inBash('berth load -i /etc/pass'), []);
  });

  test('an engine that does not answer, or is not there, costs no more than a moment', () => {
    process.kill(engine.pid, 'SIGSTOP');
    try {
      assert.equal(berth.must('completion', 'candidates', 'berth stop '), '');
    } finally {
      process.kill(engine.pid, 'SIGCONT');
    }
    berth.env.BERTH_SOCKET = '/nonexistent/engine.sock';
    try {
      assert.equal(berth.must('completion', 'candidates', 'berth stop '), '');
    } finally {
      berth.env.BERTH_SOCKET = engine.socket;
    }
  });

  for (const name of ['zsh', 'fish'])
    test(`${name} takes its script`, { skip: spawnSync(name, ['--version']).status !== 0 && `no ${name} here` }, () => {
      shell(name, ['-n'], berth.must('completion', name));
    });

  test('the name that was meant is told', () => {
    assert.match(berth.run(['stop', 'rnus']).stderr, /No such container: rnus\n {2}try: did you mean runs\?/);
    assert.match(
      berth.run(['rm', 'mad', 'nothing-like-it']).stderr,
      /No such container: mad\n {2}try: did you mean made\?\n/,
    );
    assert.match(berth.run(['inspect', 'rnus']).stderr, /did you mean runs\?/);
    assert.match(berth.run(['rmi', 'bb:3']).stderr, /did you mean bb:[12]\?/);
    assert.match(berth.run(['completion', 'bsh']).stderr, /no such shell: bsh; did you mean bash\?/);
  });
});
