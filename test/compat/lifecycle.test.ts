import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import { dockerCli, type TestEngine } from '../lib/engines.ts';

/** Waits until the check holds; fails after ten seconds. */
async function until(check: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let round = 0; round < 200; round++) {
    if (await check()) return;
    await sleep(50);
  }
  assert.fail(`still not: ${what}`);
}

const running = (engine: TestEngine, name: string) =>
  engine.must('inspect', '-f', '{{.State.Running}}', name) === 'true';

onBothEngines('lifecycle', { runtimes: ['crun', 'runc'] }, ({ same }) => {
  same('create, start, stop, start again, restart, kill, rm', (engine) => {
    const id = engine.must(
      'create',
      '--name',
      'life',
      '--stop-timeout',
      '1',
      'bb:1',
      'sh',
      '-c',
      'trap "exit 5" TERM; echo up; while :; do sleep 0.1; done',
    );
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}}', 'life'), 'created');
    assert.equal(engine.must('start', 'life'), 'life');
    assert.ok(running(engine, 'life'));
    engine.must('stop', 'life');
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'life'), 'exited 5');
    engine.must('start', 'life');
    engine.must('restart', 'life');
    assert.ok(running(engine, 'life'));
    const refused = engine.docker(['rm', 'life']);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /container is running: stop the container before removing or force remove/);
    engine.must('kill', '-s', 'KILL', 'life');
    assert.equal(engine.must('inspect', '-f', '{{.State.ExitCode}} {{.State.Running}}', 'life'), '137 false');
    assert.equal(engine.must('logs', 'life'), 'up\nup\nup');
    assert.match(engine.docker(['kill', 'life']).stderr, /is not running/);
    engine.must('rm', 'life');
    assert.match(engine.docker(['inspect', 'life']).stderr, /[Nn]o such object: life/);
  });

  same('stop kills after the timeout; --stop-signal is sent first', (engine) => {
    engine.must('run', '-d', '--name', 'deaf', 'bb:1', 'sleep', '100');
    const from = Date.now();
    engine.must('stop', '-t', '1', 'deaf');
    assert.ok(Date.now() - from < 8000);
    assert.equal(engine.must('inspect', '-f', '{{.State.ExitCode}}', 'deaf'), '137');
    engine.must('rm', 'deaf');
    engine.must(
      'run',
      '-d',
      '--name',
      'usr',
      '--stop-signal',
      'USR1',
      'bb:1',
      'sh',
      '-c',
      'trap "exit 9" USR1; while :; do sleep 0.1; done',
    );
    engine.must('stop', 'usr');
    assert.equal(engine.must('wait', 'usr'), '9');
    engine.must('rm', 'usr');
  });

  same('wait gives the code of the next exit; start -a and attach show the output', async (engine) => {
    engine.must('create', '--name', 'waiting', 'bb:1', 'sh', '-c', 'echo hello; sleep 1; exit 4');
    const attached = engine.docker(['start', '-a', 'waiting']);
    assert.equal(attached.stdout, 'hello\n');
    assert.equal(attached.status, 4);
    assert.equal(engine.must('wait', 'waiting'), '4');
    engine.must('start', 'waiting');
    assert.equal(engine.must('wait', 'waiting'), '4');
    engine.must('rm', 'waiting');
  });

  same('attach with stdin reaches the program', async (engine) => {
    engine.must('run', '-d', '-i', '--name', 'cat', 'bb:1', 'cat');
    const child = spawn(dockerCli(), ['attach', 'cat'], { env: engine.env, stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    child.stdin.write('round trip\n');
    await until(() => out === 'round trip\n', 'the line came back');
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    assert.ok(running(engine, 'cat'));
    engine.must('rm', '-f', 'cat');
  });

  same('a terminal: size, resize, raw output, exit code', async (engine) => {
    // script(1) gives the CLI a terminal of its own.
    const child = spawn(
      'script',
      [
        '-qec',
        `stty rows 40 cols 100; ${dockerCli()} run -it --rm --name term bb:1 sh -c 'stty size; tty; exit 6'`,
        '/dev/null',
      ],
      { env: engine.env, stdio: ['pipe', 'pipe', 'inherit'] },
    );
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.match(out, /40 100\r\n\/dev\/(pts\/0|console)\r\n/);
    assert.equal(code, 6);
  });

  same('detach keys leave the container running', async (engine) => {
    const child = spawn('script', ['-qec', `${dockerCli()} run -it --name detached bb:1 sh`, '/dev/null'], {
      env: engine.env,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    await until(() => /[#$] /.test(out), 'the shell prompts');
    child.stdin.write('\x10');
    await sleep(100);
    child.stdin.write('\x11');
    await new Promise((resolve) => child.once('close', resolve));
    assert.ok(running(engine, 'detached'));
    engine.must('rm', '-f', 'detached');
  });

  same('pause and unpause, with the errors in between', (engine) => {
    engine.must('run', '-d', '--name', 'still', 'bb:1', 'sleep', '100');
    engine.must('pause', 'still');
    assert.equal(engine.must('inspect', '-f', '{{.State.Status}} {{.State.Paused}}', 'still'), 'paused true');
    assert.match(engine.must('ps', '--filter', 'name=still', '--format', '{{.Status}}'), /\(Paused\)$/);
    assert.match(engine.docker(['pause', 'still']).stderr, /is already paused/);
    assert.match(engine.docker(['exec', 'still', 'true']).stderr, /is paused/);
    engine.must('unpause', 'still');
    assert.match(engine.docker(['unpause', 'still']).stderr, /is not paused/);
    engine.must('rm', '-f', 'still');
  });

  same('rename, top, port', (engine) => {
    engine.must('run', '-d', '--name', 'before', '-p', '127.0.0.1:38080:80', '-p', '53/udp', 'bb:1', 'sleep', '102');
    engine.must('rename', 'before', 'after');
    assert.match(engine.docker(['rename', 'nosuch', 'x']).stderr, /No such container: nosuch/);
    assert.match(engine.must('top', 'after'), /^UID +PID +PPID[\s\S]*sleep 102/);
    assert.match(engine.must('top', 'after', '-o', 'pid,comm'), /PID +COMMAND\s+\d+ +sleep/);
    assert.equal(engine.must('port', 'after', '80'), '127.0.0.1:38080');
    assert.match(engine.must('port', 'after'), /53\/udp -> 0\.0\.0\.0:\d+/);
    engine.must('rm', '-f', 'after');
  });

  same('exec: output, exit code, env, user, workdir, stdin, detached, missing program', async (engine) => {
    engine.must('run', '-d', '--name', 'box', '-e', 'A=1', 'bb:1', 'sleep', '103');
    const result = engine.docker([
      'exec',
      '-e',
      'B=2',
      '-w',
      '/tmp',
      '-u',
      'web',
      'box',
      'sh',
      '-c',
      'echo "$A$B $PWD $(id -un)"; echo err >&2; exit 8',
    ]);
    assert.equal(result.stdout, '12 /tmp web\n');
    assert.equal(result.stderr, 'err\n');
    assert.equal(result.status, 8);
    assert.equal(engine.docker(['exec', '-i', 'box', 'cat'], { input: 'through' }).stdout, 'through');
    const missing = engine.docker(['exec', 'box', 'nosuch']);
    assert.equal(missing.status, 127);
    assert.match(
      missing.stdout + missing.stderr,
      /OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in \$PATH/,
    );
    assert.equal(engine.docker(['exec', 'box', '/etc/passwd']).status, 126);
    engine.must('exec', '-d', 'box', 'sh', '-c', 'echo later > /tmp/later');
    await until(
      () => engine.docker(['exec', 'box', 'cat', '/tmp/later']).stdout === 'later\n',
      'the detached exec wrote',
    );
    engine.must('kill', 'box');
    assert.match(engine.docker(['exec', 'box', 'true']).stderr, /is not running/);
    engine.must('rm', 'box');
  });

  same('inspect names the execs that have not ended', async (engine) => {
    engine.must('run', '-d', '--name', 'box', 'bb:1', 'sleep', '104');
    const ids = () => JSON.parse(engine.must('inspect', 'box'))[0].ExecIDs as string[] | null;
    assert.equal(ids(), null);
    const made = JSON.parse(
      (await engine.api('POST', '/containers/box/exec', { Cmd: ['sh', '-c', 'sleep 1'] })).body,
    ).Id;
    assert.deepEqual(ids(), [made]);
    await engine.api('POST', `/exec/${made}/start`, { Detach: true });
    assert.deepEqual(ids(), [made]);
    await until(() => ids() === null, 'none is left');
    assert.equal(JSON.parse((await engine.api('GET', `/exec/${made}/json`)).body).ExitCode, 0);
    engine.docker(['exec', 'box', 'nosuch']);
    assert.equal(ids(), null);
    engine.must('rm', '-f', 'box');
  });

  same('logs: tail, timestamps, since, until, follow to the end', (engine) => {
    engine.must(
      'run',
      '--name',
      'talk',
      'bb:1',
      'sh',
      '-c',
      'echo oops >&2; sleep 0.3; for i in 1 2 3 4 5; do echo line $i; done; printf unfinished',
    );
    assert.equal(engine.docker(['logs', 'talk']).stdout, 'line 1\nline 2\nline 3\nline 4\nline 5\nunfinished');
    assert.equal(engine.docker(['logs', 'talk']).stderr, 'oops\n');
    assert.equal(engine.docker(['logs', '--tail', '2', 'talk']).stdout, 'line 5\nunfinished');
    assert.match(engine.must('logs', '-t', '--tail', '2', 'talk'), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z line 5\n/);
    assert.equal(engine.docker(['logs', '--since', '1h', 'talk']).stdout.split('\n').length, 6);
    assert.equal(engine.docker(['logs', '--until', '1h', 'talk']).stdout, '');
    assert.equal(engine.docker(['logs', '-f', 'talk']).stdout.split('\n').length, 6);
    engine.must('rm', 'talk');
    assert.match(engine.docker(['logs', 'nosuch']).stderr, /No such container: nosuch/);
  });

  same('ps: filters, formats, sizes, order', (engine) => {
    engine.must('run', '-d', '--name', 'p1', '--label', 'tier=web', 'bb:1', 'sleep', '104');
    engine.docker(['run', '--name', 'p2', '--label', 'tier=db', 'bb:1', 'sh', '-c', 'exit 3']);
    engine.must('create', '--name', 'p3', 'bb:1');
    const names = (...filters: string[]) =>
      engine
        .must('ps', '-a', '--format', '{{.Names}}', ...filters.flatMap((filter) => ['--filter', filter]))
        .split('\n')
        .filter(Boolean);
    assert.deepEqual(names(), ['p3', 'p2', 'p1']);
    assert.deepEqual(names('label=tier'), ['p2', 'p1']);
    assert.deepEqual(names('label=tier=web'), ['p1']);
    assert.deepEqual(names('status=running'), ['p1']);
    assert.deepEqual(names('status=created'), ['p3']);
    assert.deepEqual(names('exited=3'), ['p2']);
    assert.deepEqual(names('name=p[12]'), ['p2', 'p1']);
    assert.deepEqual(names('ancestor=bb:1'), ['p3', 'p2', 'p1']);
    assert.deepEqual(names('before=p2'), ['p1']);
    assert.deepEqual(names('since=p1'), ['p3', 'p2']);
    assert.deepEqual(names('network=bridge'), names());
    assert.equal(engine.must('ps', '-q', '--no-trunc').length, 64);
    assert.match(engine.docker(['ps', '--filter', 'nosuch=1']).stderr, /invalid filter 'nosuch'/);
    assert.match(engine.must('ps', '-as', '--format', '{{.Size}}'), /B \(virtual/);
    assert.match(
      engine.must('ps', '-a', '--filter', 'name=p2', '--format', '{{.Status}}|{{.Command}}|{{.Image}}'),
      /^Exited \(3\) .* ago\|"sh -c 'exit 3'"\|bb:1$/,
    );
    assert.deepEqual(engine.must('ps', '-n', '1', '-a', '--format', '{{.Names}}'), 'p3');
    engine.must('rm', '-f', 'p1', 'p2', 'p3');
  });

  same('--rm removes the container and its anonymous volumes; rm -v too; rm without -v keeps them', (engine) => {
    engine.must('run', '--rm', '-v', '/anon', 'bb:1', 'sh', '-c', 'echo x > /anon/x');
    assert.equal(engine.must('ps', '-aq'), '');
    assert.equal(engine.must('volume', 'ls', '-q'), '');
    engine.must('run', '--name', 'keeps', '-v', '/anon', 'bb:1', 'true');
    engine.must('rm', 'keeps');
    const left = engine.must('volume', 'ls', '-q');
    assert.match(left, /^[0-9a-f]{64}$/);
    engine.must('volume', 'rm', left);
    engine.must('run', '--name', 'takes', '-v', '/anon', 'bb:1', 'true');
    engine.must('rm', '-v', 'takes');
    assert.equal(engine.must('volume', 'ls', '-q'), '');
  });

  same('events of a run come in order', async (engine) => {
    const since = (Date.now() / 1000 - 0.001).toFixed(3);
    engine.docker(['run', '--name', 'eventful', 'bb:1', 'sh', '-c', 'exit 2']);
    engine.must('rm', 'eventful');
    const lines = engine
      .must(
        'events',
        '--since',
        since,
        '--until',
        (Date.now() / 1000 + 0.5).toFixed(3),
        '--filter',
        'container=eventful',
        '--format',
        '{{.Action}}',
      )
      .split('\n');
    assert.deepEqual(lines, ['create', 'attach', 'start', 'die', 'destroy']);
  });
});
