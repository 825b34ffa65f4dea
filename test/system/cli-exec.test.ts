import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

for (const runtime of ['crun', 'runc'])
  describe(`berth exec under ${runtime}`, () => {
    let engine: TestEngine;
    let berth: BerthCli;

    before(async () => {
      engine = await startBerth({ flags: ['--default-runtime', runtime] });
      berth = new BerthCli(engine);
      engine.must('load', '-i', busyboxArchive({ name: 'bb:1' }));
      engine.must('run', '-d', '--name', 'web', 'bb:1', 'sleep', '600');
    });
    after(() => engine[Symbol.asyncDispose]());

    /** Command lines in the container, without its own. */
    const inside = () =>
      engine
        .must('top', 'web', '-eo', 'pid,args')
        .split('\n')
        .slice(1)
        .map((line) => line.trim().replace(/^\d+ +/, ''))
        .filter((line) => line !== 'sleep 600');

    const until = async (what: string, holds: () => boolean) => {
      const deadline = Date.now() + 20_000;
      while (!holds()) {
        if (Date.now() > deadline) throw new Error(`${what}: ${inside().join(' | ')}`);
        await sleep(50);
      }
    };

    const begin = async (...args: string[]) => {
      const child = berth.start(['exec', ...args]);
      child.stdout!.resume();
      child.stderr!.resume();
      const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
      await until('it runs', () => inside().length > 0);
      return { child, exited };
    };

    const command = ['web', 'sh', '-c', 'sleep 501 & sleep 502'];

    test('a client that is killed takes the command and what it started with it', async () => {
      for (const signal of ['SIGKILL', 'SIGHUP'] as const) {
        const { child, exited } = await begin(...command);
        await until('both run', () => inside().includes('sleep 501') && inside().includes('sleep 502'));
        child.kill(signal);
        await exited;
        await until(`after ${signal}`, () => inside().length === 0);
      }
    });

    test('one that takes no hang-up is killed', async () => {
      const { child, exited } = await begin('web', 'sh', '-c', 'trap "" HUP; sleep 503; sleep 504');
      child.kill('SIGKILL');
      await exited;
      await until('it is killed', () => inside().length === 0);
    });

    test('Ctrl-C is for the command first: its exit code is its own; the second leaves and ends it', async () => {
      const { child, exited } = await begin('web', 'sleep', '505');
      child.kill('SIGINT');
      assert.equal(await exited, 130);
      const stubborn = await begin('web', 'sh', '-c', 'trap "" INT; sleep 506');
      await until('it sleeps', () => inside().includes('sleep 506'));
      stubborn.child.kill('SIGINT');
      await sleep(300);
      assert.ok(inside().includes('sleep 506'), 'the first one it does not take');
      stubborn.child.kill('SIGINT');
      assert.equal(await stubborn.exited, 130);
      await until('it is ended', () => inside().length === 0);
    });

    test('a terminal that is closed ends the command on it; detach keys do not', async () => {
      const script = (keys: string) =>
        execFileSync(
          'sh',
          [
            '-c',
            `(sleep 1; printf '${keys}'; sleep 1) | timeout -k 1 15 script -qec "$CLI exec -it web sleep 507" /dev/null || true`,
          ],
          {
            env: {
              ...berth.env,
              TERM: 'xterm',
              CLI: `${process.execPath} -- ${new URL('../../dist/cli-main.js', import.meta.url).pathname}`,
            },
            stdio: ['ignore', 'ignore', 'inherit'],
          },
        );
      script('\\020\\021');
      assert.deepEqual(inside(), ['sleep 507'], 'detached, it runs on');
      assert.match(berth.must('exec', 'kill', berth.must('exec', 'ls', '-q').trim()), /^[0-9a-f]{12}\n$/);
      await until('it is ended', () => inside().length === 0);
      const { child, exited } = await begin('-t', 'web', 'sleep', '508');
      child.kill('SIGHUP');
      await exited;
      await until('hung up', () => inside().length === 0);
    });

    test('--keep and --detach leave it running; exec ls shows it, exec kill ends it with what it started', async () => {
      const { child, exited } = await begin('--keep', ...command);
      await until('both run', () => inside().includes('sleep 501'));
      child.kill('SIGKILL');
      await exited;
      berth.must('exec', '-d', '-u', 'web', 'web', 'sleep', '509');
      await sleep(2500);
      assert.deepEqual(inside().sort(), ['sleep 501', 'sleep 502', 'sleep 509']);
      const listed = berth.must('exec', 'ls', 'web');
      assert.match(listed, /^ID +CONTAINER +PID +USER +COMMAND$/m);
      assert.match(listed, /^[0-9a-f]{12} +web +\d+ +web +sleep 509$/m);
      const all = berth.json<{ ID: string; container: string }[]>('exec', 'ls', '--json');
      assert.deepEqual(
        all.map(({ container }) => container),
        ['web', 'web'],
      );
      berth.must('exec', 'kill', '-s', 'TERM', ...all.map(({ ID }) => ID));
      await until('all are ended', () => inside().length === 0);
      assert.equal(berth.must('exec', 'ls', '-q'), '');
      assert.equal(JSON.parse(engine.must('inspect', 'web'))[0].ExecIDs, null);
    });

    test('what is wrong is refused', async () => {
      assert.equal(berth.run(['exec', 'web']).status, 125);
      assert.match(berth.run(['exec', 'kill', 'f'.repeat(64)]).stderr, /No such exec instance/);
      assert.match(berth.run(['exec', 'ls', 'nosuch']).stderr, /No such container: nosuch/);
      const { Id } = JSON.parse((await engine.api('POST', '/containers/web/exec', { Cmd: ['true'] })).body);
      assert.equal((await engine.api('POST', `/exec/${Id}/kill`)).status, 409, 'not started');
      assert.equal((await engine.api('POST', `/exec/${Id}/kill?signal=NOSUCH`)).status, 400);
      assert.deepEqual(JSON.parse((await engine.api('GET', '/containers/web/json')).body).ExecIDs, [Id]);
    });
  });
