import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

describe('berth debug', () => {
  let engine: TestEngine;
  let berth: BerthCli;

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine);
    // Its only program is busybox by that name: no shell that anybody finds.
    const noShell = { name: 'lone:1', config: { Env: ['PATH=/nowhere'] }, files: { 'etc/secret': 'of the target' } };
    engine.must('load', '-i', busyboxArchive(noShell));
    engine.must('run', '-d', '--name', 'lone', '-p', '127.0.0.1:8080:80', 'lone:1', '/bin/sleep', '600');
  });
  after(() => engine[Symbol.asyncDispose]());

  test('without an image that has a shell it says how to get one, and leaves nothing', () => {
    const { status, stderr } = berth.run(['debug', 'lone']);
    assert.equal(status, 1);
    assert.match(stderr, /no image with a shell is on this machine\n {2}try: berth debug --image busybox lone/);
    assert.equal(engine.must('ps', '-aq').split('\n').length, 1);
  });

  test('a shell of another image in the processes and the network of the target, with its files', () => {
    engine.must('load', '-i', busyboxArchive({ name: 'tools:1' }));
    const said = berth.run(
      ['debug', 'lone'],
      'cat /proc/1/root/etc/secret; echo; cat /proc/1/cmdline; echo; hostname -i; sleep 0.3; exit 7\n',
    );
    assert.equal(said.status, 7, said.stderr);
    assert.match(said.stdout, /of the target\n\/bin\/sleep\x00600\x00\n/);
    const address = engine.must('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'lone');
    assert.match(said.stdout, new RegExp(address.replaceAll('.', '\\.')));
    assert.equal(engine.must('ps', '-aq').split('\n').length, 1, 'it is removed');
  });

  test('a command instead of the shell, its exit code, and one that is not there', () => {
    assert.equal(berth.run(['debug', '--image', 'tools:1', 'lone', 'sh', '-c', 'sleep 0.3; exit 9']).status, 9);
    const missing = berth.run(['debug', '--image', 'tools:1', 'lone', 'nosuch']);
    assert.equal(missing.status, 127);
    assert.match(missing.stderr, /try: is nosuch in tools:1\?/);
    assert.equal(engine.must('ps', '-aq').split('\n').length, 1);
  });

  test('on a terminal the shell has one', () => {
    const { stdout, status } = berth.onTerminal([
      'debug',
      'lone',
      'sh',
      '-c',
      'test -t 0 && echo a terminal && sleep 0.3 && exit 5',
    ]);
    assert.match(stdout, /its files: \/proc\/1\/root/);
    assert.match(stdout, /a terminal\r/);
    assert.equal(status, 5);
  });

  test('one that does not run is refused with what to do', () => {
    engine.must('create', '--name', 'off', 'tools:1');
    const { status, stderr } = berth.run(['debug', 'off']);
    assert.equal(status, 1);
    assert.match(stderr, /off does not run \(created\).*\n {2}try: berth why off, berth start off/);
  });
});
