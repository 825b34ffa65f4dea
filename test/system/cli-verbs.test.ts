import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

/** Every verb of docker for one host, in its short and its long form, against an engine. */
describe('the verbs of docker, in our own CLI', () => {
  let engine: TestEngine;
  let berth: BerthCli;
  const state = (name: string) => engine.must('inspect', '-f', '{{.State.Status}}', name);

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine);
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine[Symbol.asyncDispose]());

  test('pause, unpause, wait, rename, top, port', () => {
    engine.must('run', '-d', '--name', 'web', '-p', '8080:80', '-p', '5300:53/udp', 'bb:1', 'sleep', '1000');
    assert.equal(berth.must('pause', 'web'), 'web\n');
    assert.equal(state('web'), 'paused');
    assert.equal(berth.must('container', 'unpause', 'web'), 'web\n');
    assert.equal(state('web'), 'running');
    assert.match(berth.run(['unpause', 'web']).stderr, /is not paused/);

    assert.deepEqual([berth.must('rename', 'web', 'site'), state('site')], ['', 'running']);
    assert.match(berth.run(['container', 'rename', 'web', 'x']).stderr, /No such container: web/);

    assert.match(berth.must('top', 'site'), /^UID +PID[^]*sleep 1000/);
    assert.match(berth.must('container', 'top', 'site', '-o', 'pid,args'), /^PID +COMMAND\n\d+ +sleep 1000\n$/);
    assert.equal(berth.json<{ Titles: string[] }>('top', '--json', 'site').Titles.includes('PID'), true);

    const listed = berth.must('port', 'site').trim().split('\n').sort();
    assert.deepEqual(listed, engine.must('port', 'site').split('\n').sort());
    assert.match(berth.must('container', 'port', 'site', '80'), /^0\.0\.0\.0:8080$/m);
    assert.match(berth.must('port', 'site', '53/udp'), /^0\.0\.0\.0:5300$/m);
    const none = berth.run(['port', 'site', '81']);
    assert.deepEqual([none.status, none.stdout], [1, '']);
    assert.match(none.stderr, /No public port '81' published for site/);
    assert.equal(berth.run(['port', 'site', 'http']).status, 125);

    engine.must('create', '--name', 'seven', 'bb:1', 'sh', '-c', 'exit 7');
    engine.must('start', 'seven');
    assert.equal(berth.must('wait', 'seven'), '7\n');
    assert.deepEqual(berth.json('container', 'wait', '--json', 'seven'), [{ container: 'seven', exitCode: 7 }]);
    assert.match(berth.run(['wait', 'nosuch']).stderr, /No such container: nosuch/);
    engine.must('rm', '-f', 'site', 'seven');
  });

  test('attach and start -a: output, keyboard, exit codes', async () => {
    engine.must('create', '-i', '--name', 'cat', 'bb:1', 'sh', '-c', 'read line; echo "got $line"; exit 5');
    const stopped = berth.run(['attach', 'cat']);
    assert.deepEqual([stopped.status, stopped.stdout], [1, '']);
    assert.match(stopped.stderr, /cat does not run \(created\)\n {2}try: berth start -a cat/);
    const started = berth.run(['start', '-ai', 'cat'], 'one\n');
    assert.deepEqual([started.status, started.stdout, started.stderr], [5, 'got one\n', '']);
    assert.equal(berth.must('start', 'cat'), 'cat\n');
    const attached = berth.run(['container', 'attach', 'cat'], 'two\n');
    assert.deepEqual([attached.status, attached.stdout], [5, 'got two\n']);
    assert.equal(berth.run(['start', '-a', 'cat', 'dog']).status, 125);
    // One that could not be started stays: it was there before.
    engine.must('create', '--name', 'broken', 'bb:1', 'nosuch');
    assert.equal(berth.run(['start', '-a', 'broken']).status, 1);
    assert.equal(state('broken'), 'created');
    engine.must('rm', '-f', 'cat', 'broken');
  });

  test('signals go to the program that is attached, and detach keys leave it running', async () => {
    engine.must(
      'run',
      '-d',
      '--name',
      'traps',
      'bb:1',
      'sh',
      '-c',
      'trap "exit 9" TERM; while :; do echo; sleep 0.1; done',
    );
    const client = berth.start(['attach', 'traps']);
    // It shows what comes when it passes signals on.
    await once(client.stdout!, 'data');
    client.stdout!.resume();
    client.kill('SIGTERM');
    assert.deepEqual(await once(client, 'exit'), [9, null]);
    engine.must('rm', '-f', 'traps');

    engine.must('create', '-it', '--name', 'left', 'bb:1', 'cat');
    const left = berth.onTerminal(['start', '-ai', '--detach-keys', 'x,y', 'left'], 'xy');
    assert.equal(left.status, 0, left.stdout);
    assert.match(left.stdout, /left it running/);
    assert.equal(state('left'), 'running');
    engine.must('rm', '-f', 'left');
  });

  test('network: create, ls, connect, inspect, disconnect, rm', () => {
    const id = berth
      .must('network', 'create', '--subnet', '10.77.0.0/24', '--gateway', '10.77.0.9', '--label', 'a=b', 'back')
      .trim();
    assert.match(id, /^[0-9a-f]{64}$/);
    const listed = berth.must('network');
    assert.match(listed, /^NETWORK +DRIVER +ADDRESSES +ID$/m);
    assert.match(listed, new RegExp(`^back +bridge +10\\.77\\.0\\.0/24 +${id.slice(0, 12)}$`, 'm'));
    assert.equal(berth.must('network', 'ls', '-q', '--no-trunc', '-f', 'label=a=b'), `${id}\n`);
    const [back] = berth.json<{ Id: string; IPAM: { Config: { Gateway: string }[] } }[]>('network', 'inspect', 'back');
    assert.deepEqual([back!.Id, back!.IPAM.Config[0]!.Gateway], [id, '10.77.0.9']);

    berth.must('network', 'create', '--ipv6', '--subnet', '10.78.0.0/24', '--subnet', 'fd00:78::/64', 'six');
    const six = ['--gateway', 'fd00:79::5', '--ip-range', '10.79.0.128/25', '--aux-address', 'printer=10.79.0.7'];
    berth.must('network', 'create', '--ipv6', '--subnet', '10.79.0.0/24', '--subnet', 'fd00:79::/64', ...six, 'pair');
    const [pair] = berth.json<{ IPAM: { Config: Record<string, unknown>[] } }[]>('network', 'inspect', 'pair');
    assert.equal(pair!.IPAM.Config[1]!['Gateway'], 'fd00:79::5');
    assert.equal(pair!.IPAM.Config[0]!['IPRange'], '10.79.0.128/25');
    assert.deepEqual(pair!.IPAM.Config[0]!['AuxiliaryAddresses'], { printer: '10.79.0.7' });
    const lost = berth.run(['network', 'create', '--ip-range', '10.80.0.0/25', 'lost']);
    assert.equal(lost.status, 125);
    assert.match(lost.stderr, /--ip-range 10\.80\.0\.0\/25: no --subnet that it lies in/);

    engine.must('run', '-d', '--name', 'in', 'bb:1', 'sleep', '1000');
    assert.equal(berth.must('network', 'connect', '--ip', '10.77.0.77', '--alias', 'inside', 'back', 'in'), '');
    const address = '{{(index .NetworkSettings.Networks "back").IPAddress}}';
    assert.equal(engine.must('inspect', '-f', address, 'in'), '10.77.0.77');
    assert.equal(engine.must('exec', 'in', 'nslookup', 'inside').includes('10.77.0.77'), true);
    const busy = berth.run(['network', 'rm', 'back', 'six']);
    assert.deepEqual([busy.status, busy.stdout], [1, 'six\n']);
    assert.match(busy.stderr, /has active endpoints/);
    assert.equal(berth.must('network', 'disconnect', 'back', 'in'), '');
    assert.equal(berth.must('network', 'rm', '-f', 'back', 'pair', 'nosuch'), 'back\npair\n');
    assert.match(berth.run(['network', 'inspect', 'bridg']).stderr, /did you mean bridge\?/);
    engine.must('rm', '-f', 'in');
  });

  test('history, events, info; search says which registry does not answer', () => {
    const steps = berth.must('history', 'bb:1');
    assert.match(steps, /^MADE +ADDED +BY$/m);
    assert.equal(
      berth.json<unknown[]>('image', 'history', '--json', 'bb:1').length,
      steps.trim().split('\n').length - 1,
    );
    assert.match(berth.run(['history', 'bb:2']).stderr, /No such image: bb:2[^]*did you mean bb:1\?/);

    engine.must('run', '-d', '--name', 'short', 'bb:1', 'sh', '-c', 'exit 3');
    engine.must('wait', 'short');
    const told = berth.must('events', '--since', '10m', '--until', '0s', '-f', 'container=short');
    assert.match(told, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}container +start {2}short {2}\(bb:1\)$/m);
    assert.match(told, / {2}die {2}short {2}\(bb:1, exitCode 3\)$/m);
    const lines = berth.must('system', 'events', '--json', '--since', '10m', '--until', '0s', '-f', 'event=die');
    assert.equal((JSON.parse(lines.trim().split('\n').at(-1)!) as { Action: string }).Action, 'die');
    engine.must('rm', 'short');

    assert.match(berth.must('info'), /^machine +[^]*^containers +\d+: \d+ running/m);
    assert.equal(typeof berth.json<{ NCPU: number }>('system', 'info', '--json').NCPU, 'number');
    const search = berth.run(['search', '127.0.0.1:9/nothing']);
    assert.deepEqual([search.status, search.stdout], [1, '']);
    assert.match(search.stderr, /127\.0\.0\.1:9/);
    assert.equal(berth.run(['search', '--limit', 'many', 'x']).status, 125);
  });

  test('--format gives what docker gives', () => {
    engine.must(
      'run',
      '-d',
      '--name',
      'web',
      '-p',
      '8080:80',
      '-v',
      'data:/data',
      '-l',
      'a=b',
      'bb:1',
      'sleep',
      '1000',
    );
    const fields =
      '{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Ports}} {{.Labels}} {{.Mounts}} {{.Networks}}';
    const same = (...args: string[]) => assert.equal(berth.must(...args).trim(), engine.must(...args), args.join(' '));
    same('ps', '--no-trunc', '--format', fields);
    same('images', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}');
    same('volume', 'ls', '--format', '{{.Name}} {{.Driver}} {{.Mountpoint}}');
    same('network', 'ls', '--format', '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.ID}}');
    same('info', '--format', '{{.NCPU}} {{.MemTotal}} {{json .SecurityOptions}}');
    const loop =
      '{{range $p, $b := .NetworkSettings.Ports}}{{$p}}={{(index $b 0).HostPort}} {{end}}{{json .Config.Labels}}';
    same('inspect', '-f', `{{.Name}} {{.State.Running}} ${loop}`, 'web');
    same('inspect', '-f', '{{.HostConfig.Binds}} {{if .State.Paused}}held{{else}}goes{{end}} {{len .Mounts}}', 'web');
    assert.match(berth.must('ps', '--format', 'table {{.Names}}\\t{{.Image}}'), /^NAMES +IMAGE\nweb +bb:1\n$/);
    const wrong = berth.run(['ps', '--format', '{{.Names']);
    assert.equal(wrong.status, 125);
    assert.match(wrong.stderr, /template parsing error/);
    engine.must('rm', '-f', 'web');
    engine.must('volume', 'rm', 'data');
  });

  test('a failure points to why, a stop does not', () => {
    for (const [name, command] of [
      ['failed', 'exit 3'],
      ['done', 'exit 0'],
    ] as const) {
      engine.must('create', '--name', name, 'bb:1', 'sh', '-c', command);
      engine.must('start', name);
      engine.must('wait', name);
    }
    const listed = berth.must('ps', '-a');
    assert.match(listed, /^failed +exited \(3\) .* ago → berth why failed /m);
    assert.match(listed, /^done +exited \(0\) [^→]* ago +-/m);
    engine.must('rm', 'failed', 'done');
  });

  test('ps says how long a stop waits, and that its first process ignores the signal', async () => {
    engine.must('run', '-d', '--name', 'deaf', 'bb:1', 'sh', '-c', 'while :; do sleep 1; done');
    const stopping = berth.start(['stop', '-t', '600', 'deaf']);
    const said = () => /^deaf +(.*?) {3}/m.exec(berth.must('ps'))?.[1] ?? '';
    for (const until = Date.now() + 30_000; !said().startsWith('stopping') && Date.now() < until; ) await sleep(100);
    assert.match(said(), /^stopping \d+ s\/600 s \(ignores SIGTERM: PID 1 is sh\)$/);
    engine.must('kill', 'deaf');
    await once(stopping, 'exit');
    assert.equal((await engine.api('GET', '/v1.47/berth/stopping')).body.trim(), '[]');
    engine.must('rm', 'deaf');
  });

  test('container, image and volume have the verbs too, and inspect of one kind only', () => {
    engine.must('create', '--name', 'made', '--label', 'a=b', 'bb:1', 'true');
    assert.match(berth.must('container', 'ls', '-a'), /^made +created/m);
    assert.match(berth.must('container'), /^NAME/);
    assert.match(berth.must('image', 'ls', 'bb'), /^bb:1 /m);
    assert.match(berth.must('images', '--digests', '-f', 'reference=bb'), /^IMAGE +DIGEST +ID/m);
    assert.equal(berth.must('image', 'ls', '-q', 'nosuch'), '');
    assert.equal(berth.json<{ Name: string }[]>('container', 'inspect', '-s', 'made')[0]!.Name, '/made');
    assert.equal(berth.run(['image', 'inspect', 'made']).status, 1);
    assert.equal(berth.run(['inspect', '--type', 'network', 'made']).status, 1);
    assert.equal(berth.json<unknown[]>('inspect', '--type', 'image', 'bb:1').length, 1);
    berth.must('image', 'tag', 'bb:1', 'bb:3');
    assert.match(berth.must('image', 'rm', 'bb:3'), /^untagged /);
    assert.match(berth.must('container', 'diff', 'made'), /^$/);
    const loaded = berth.onTerminal(['load', '-i', busyboxArchive({ name: 'bb:1' })]);
    assert.match(loaded.stdout, /Loaded image: bb:1\r?\n$/);
    assert.doesNotMatch(loaded.stdout, /\[object|undefined|NaN/);
    assert.equal(berth.must('image', 'load', '-q', '-i', busyboxArchive({ name: 'bb:1' })), 'Loaded image: bb:1\n');
    assert.deepEqual(berth.json('diff', '--json', 'made'), []);
    const { id } = berth.json<{ id: string }>('container', 'commit', '--json', 'made', 'made:1');
    assert.equal(engine.must('images', '-q', '--no-trunc', 'made:1'), id);
    berth.must('image', 'rm', 'made:1');
    assert.equal(berth.must('container', 'rm', 'made'), 'made\n');
    assert.equal(berth.must('volume', 'create', 'v1'), 'v1\n');
    assert.match(berth.must('volume', '-q'), /^v1$/m);
    assert.match(berth.must('volume', 'ls'), /^v1 /m);
    assert.equal(berth.must('volume', 'rm', 'v1'), 'v1\n');
  });

  test('--json gives one JSON value on stdout, and errors with codes as JSON on stderr', async () => {
    const archive = busyboxArchive({ name: 'bb:1' });
    const out = join(engine.dir, 'out.tar');
    const passing = `run -d --name j1 bb:1 sleep 1000|create --name k1 bb:1 true|ps -a|images|inspect j1|top j1|port j1|ports|why j1|diff j1
      stats --no-stream j1|exec -d j1 sleep 1|exec ls|update --pids-limit 64 j1|rename k1 l1|pause j1|unpause j1|commit j1 made:1|tag made:1 made:2
      history made:1|rmi made:2 made:1|save -o ${out} bb:1|load -i ${archive}|export -o ${out} j1|import ${out} flat:1|cp j1:/etc/passwd ${out}
      network create n|network connect n j1|network disconnect n j1|network ls|network rm n|volume create v9|volume ls|volume rm v9
      logout localhost:1|restart -t 0 j1|kill j1|wait j1|start j1|stop -t 0 j1|rm j1 l1|df|info|version|container prune -f|image prune -f`;
    for (const line of passing.split(/\||\n */)) {
      const [verb = '', second = '', ...rest] = line.split(' ');
      const words =
        ['network', 'volume', 'container', 'image', 'exec'].includes(verb) &&
        /^(?:ls|create|connect|disconnect|rm|prune)$/.test(second)
          ? [verb, second, '--json', ...rest]
          : [verb, '--json', second, ...rest];
      const said = berth.run(words.filter(Boolean));
      assert.equal(said.status, 0, `${line}: ${said.stderr}`);
      assert.doesNotThrow(() => JSON.parse(said.stdout), `${line}: ${said.stdout}`);
    }

    engine.must('run', '-d', '--name', 'held', '-p', '8123:80', '-v', 'used:/data', 'bb:1', 'sleep', '1000');
    const failing: Readonly<Record<string, string>> = {
      'stop nosuch': 'E_NO_SUCH_CONTAINER',
      'rmi nosuch': 'E_NO_SUCH_IMAGE',
      'network rm nosuch': 'E_NO_SUCH_NETWORK',
      'volume rm nosuch': 'E_NO_SUCH_VOLUME',
      'exec kill nosuch': 'E_NO_SUCH_EXEC',
      'cp held:/nosuch -q /tmp': 'E_NO_SUCH_FILE',
      'create --name held bb:1': 'E_NAME_IN_USE',
      'network create bridge': 'E_FORBIDDEN',
      'volume rm used': 'E_IN_USE',
      'rm held': 'E_STILL_RUNNING',
      'unpause held': 'E_CONFLICT',
      'run -d -p 8123:80 bb:1': 'E_PORT_IN_USE',
      'run -d --init=false bb:1 nosuch': 'E_COMMAND_NOT_FOUND',
      'run -d --init=false bb:1 /etc': 'E_COMMAND_NOT_EXECUTABLE',
      'ps --nosuch': 'E_USAGE',
      'save bb:1': 'E_USAGE',
      'update --memory 1 held': 'E_INVALID',
    };
    const codes = Object.keys(failing).map((line): readonly [string, string] => {
      const [verb = '', ...rest] = line.split(' ');
      const said = berth.run(
        /^(?:network|volume|exec)$/.test(verb) ? [...line.split(' '), '--json'] : [verb, '--json', ...rest],
      );
      assert.notEqual(said.status, 0, line);
      assert.equal(said.stdout, '', line);
      const { error, code } = JSON.parse(said.stderr) as { error: string; code: string };
      assert.ok(error.length > 5, line);
      return [line, code];
    });
    assert.deepEqual(Object.fromEntries(codes), failing);
    const several = berth.run(['rm', '--json', 'nosuch', 'neither']);
    assert.deepEqual(
      several.stderr
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { code: string }).code),
      ['E_NO_SUCH_CONTAINER', 'E_NO_SUCH_CONTAINER'],
    );
    assert.equal((JSON.parse(several.stdout) as unknown[]).length, 2);
    assert.match(berth.run(['stop', 'nosuch']).stderr, /\n {2}code: E_NO_SUCH_CONTAINER\n$/);
    engine.must('rm', '-f', '-v', 'held');
    engine.must('volume', 'rm', 'used');
  });
});
