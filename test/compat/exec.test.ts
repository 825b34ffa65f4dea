import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import { dockerCli, type TestEngine } from '../lib/engines.ts';

/** What exec says of a process that does not come to be, is there too early, or has ended. */

const sleeper = ['run', '-d', '--init', '--name', 'web', 'bb:1', 'sleep', '1000'];

/** docker, beside others: its exit code and what it said. */
function beside(engine: TestEngine, args: readonly string[]): Promise<{ code: number | null; said: string }> {
  return new Promise((resolve) => {
    const child = spawn(dockerCli(), args, { env: engine.env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
    });
    child.stderr.on('data', (chunk) => {
      said += chunk;
    });
    child.on('close', (code) => resolve({ code, said }));
  });
}

async function asked(engine: TestEngine, method: string, path: string, body?: object): Promise<[number, string]> {
  const answer = await engine.api(method, path, body);
  const said = answer.body === '' ? '' : ((JSON.parse(answer.body) as { message?: string }).message ?? '');
  return [answer.status, said.replace(/[0-9a-f]{64}/g, 'ID')];
}

async function made(engine: TestEngine, body: object): Promise<string> {
  const answer = await engine.api('POST', '/containers/web/exec', body);
  assert.equal(answer.status, 201, answer.body);
  return (JSON.parse(answer.body) as { Id: string }).Id;
}

onBothEngines('exec', {}, ({ same }) => {
  same('a program that is not there is 127 and says so, however many at once', async (engine) => {
    engine.must(...sleeper);
    const codes: (number | null)[] = [];
    let said = '';
    for (let round = 0; round < 3; round++) {
      const all = await Promise.all(Array.from({ length: 8 }, () => beside(engine, ['exec', 'web', 'nosuch'])));
      for (const one of all) {
        codes.push(one.code);
        if (one.code !== 127 || !one.said.includes('executable file not found')) said += one.said;
      }
    }
    assert.deepEqual([codes.filter((code) => code !== 127), said], [[], '']);
  });

  same('the exit code is there when the output has ended', async (engine) => {
    engine.must(...sleeper);
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, at) => beside(engine, ['exec', 'web', 'sh', '-c', `echo ${at}; exit ${at + 1}`])),
    );
    assert.deepEqual(
      all,
      Array.from({ length: 20 }, (_, at) => ({ code: at + 1, said: `${at}\n` })),
    );
  });

  same('a new size waits until the terminal is there', async (engine) => {
    engine.must(...sleeper);
    const id = await made(engine, { Cmd: ['sh', '-c', 'sleep 2; stty size > /size'], Tty: true, AttachStdout: true });
    const sized = asked(engine, 'POST', `/exec/${id}/resize?h=13&w=57`);
    await sleep(100);
    assert.deepEqual(await asked(engine, 'POST', `/exec/${id}/start`, { Detach: true, Tty: true }), [200, '']);
    assert.deepEqual(await sized, [200, '']);
    for (let tries = 0; tries < 300 && engine.docker(['exec', 'web', 'test', '-s', '/size']).status !== 0; tries++)
      await sleep(100);
    assert.equal(engine.must('exec', 'web', 'cat', '/size'), '13 57');
  });

  same('what has ended, was started before, or could not be started', async (engine) => {
    engine.must(...sleeper);
    const start = (id: string) => asked(engine, 'POST', `/exec/${id}/start`, { Detach: true });
    const resize = (id: string) => asked(engine, 'POST', `/exec/${id}/resize?h=10&w=20`);
    const long = await made(engine, { Cmd: ['sleep', '1000'] });
    const done = await made(engine, { Cmd: ['true'], Tty: true });
    const bad = await made(engine, { Cmd: ['nosuch'] });
    assert.deepEqual(await start(long), [200, '']);
    assert.deepEqual(await start(done), [200, '']);
    const state = async (id: string) =>
      JSON.parse((await engine.api('GET', `/exec/${id}/json`)).body) as { Running: boolean; ExitCode: number | null };
    for (let tries = 0; tries < 300 && (await state(done)).Running; tries++) await sleep(50);
    assert.equal((await state(done)).ExitCode, 0);
    const [status, words] = await start(bad);
    assert.equal(status, 400);
    assert.match(words, /^OCI runtime exec failed: .*exec: "nosuch": executable file not found in \$PATH/);
    assert.equal((await state(bad)).ExitCode, 127);
    assert.deepEqual(
      [await start(long), await start(done), await resize(done), await resize(bad)],
      [
        [409, 'exec command ID is already running'],
        [409, 'exec command ID has already run'],
        [404, 'NotFound: process does not exist ID: not found'],
        [400, 'exec process is not started'],
      ],
    );
    const late = await made(engine, { Cmd: ['true'] });
    engine.must('pause', 'web');
    assert.deepEqual(
      [await start(late), await asked(engine, 'POST', '/containers/web/exec', { Cmd: ['true'] })],
      [
        [409, 'Container ID is paused, unpause the container before exec'],
        [409, 'Container web is paused, unpause the container before exec'],
      ],
    );
    engine.must('unpause', 'web');
    assert.deepEqual(await start(late), [200, '']);
    engine.must('kill', 'web');
    const stopped = [409, 'container ID is not running'];
    assert.deepEqual(
      [await start(long), await resize(long), await asked(engine, 'POST', '/containers/web/exec', { Cmd: ['true'] })],
      [stopped, stopped, stopped],
    );
    engine.must('rm', 'web');
    assert.deepEqual(
      [await start(long), await asked(engine, 'POST', '/containers/web/exec', { Cmd: ['true'] })].map(([code]) => code),
      [404, 404],
    );
  });
});
