import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runFile, secondTime } from './file.ts';

const place = mkdtempSync(join(tmpdir(), 'berth-runner-'));
after(() => rmSync(place, { recursive: true, force: true }));

function run(source: string, seconds = 60) {
  const file = join(place, 'one.test.mjs');
  writeFileSync(file, `import { test } from 'node:test';\nimport { spawn } from 'node:child_process';\n${source}`);
  return runFile({ file, name: 'one', cwd: place, seconds });
}

test('what passed, failed and was not run is counted, each test once', async () => {
  const { passed, failed, skipped } = await run(`
    test('good', () => {});
    test('outer', async (t) => {
      await t.test('inner', () => {});
      await t.test('bad', () => { throw new Error('because'); });
    });
    test('absent', { skip: 'no such kernel' }, () => {});
    test('known', { todo: 'a race' }, () => { throw new Error('again'); });
  `);
  assert.equal(passed, 2);
  assert.deepEqual(
    failed.map((text) => text.split('\n')[0]),
    ['one: bad'],
  );
  assert.match(failed[0]!, /Error: because/);
  assert.deepEqual(skipped, ['one: absent: no such kernel', 'one: known: a known failure: a race']);
});

test('a file that hangs is ended in time, with what it started, and what it had counted stands', async () => {
  const pid = join(place, 'pid');
  const { passed, failed } = await run(
    `
    test('good', () => {});
    test('hung', () => {
      spawn('/bin/sh', ['-c', 'echo $$ >${pid}; exec sleep 1000'], { stdio: 'inherit', detached: true });
      process.on('SIGTERM', () => {});
      return new Promise(() => setTimeout(() => { for (;;); }, 300));
    });`,
    2,
  );
  assert.equal(passed, 1);
  assert.match(failed[0]!, /^one: took longer than 2 s and was ended, last begun: hung\n/);
  assert.ok(existsSync(pid));
  const left = () => existsSync(`/proc/${readFileSync(pid, 'utf8').trim()}/environ`);
  for (let n = 0; n < 100 && left(); n++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(left(), false);
});

test('a file that ends badly without a failed test has failed', async () => {
  assert.match((await run('process.exit(3);')).failed[0]!, /^one: ended with code 3 and no failed test/);
  assert.match((await run('syntax error')).failed[0]!, /SyntaxError/);
});

test('an open handle does not keep a file going that is done', async () => {
  const { passed, failed } = await run(`test('good', () => { setInterval(() => {}, 1000); });`);
  assert.deepEqual([passed, failed], [1, []]);
});

test('the second run of a file counts; what failed the first time only is told by name', () => {
  const first = { passed: 3, failed: ['one: a\nx', 'one: b\ny'], skipped: [] };
  assert.deepEqual(secondTime(first, { passed: 4, failed: ['one: b\nz'], skipped: ['one: c'] }), {
    passed: 4,
    failed: ['one: b\nz'],
    skipped: ['one: c', 'one: a: failed once, passed when run again'],
  });
});
