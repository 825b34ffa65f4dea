/** After test/vm/systemd.test.ts and a shutdown of that machine. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

process.env.DOCKER_HOST = 'unix:///run/berth/berth.sock';
const limit = { timeout: 600_000 };

function docker(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('docker', args, { encoding: 'utf8', input: '', timeout: 300_000 });
  assert.equal(status, 0, `docker ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout.trim();
}

test('R19 the engine is up, and who asked for it runs again', limit, async () => {
  const running = () => docker('ps', '--format', '{{.Names}}').split('\n').toSorted().join(' ');
  for (let n = 0; n < 100 && running() !== 'always on-failure unless-stopped'; n++) await sleep(300);
  assert.equal(running(), 'always on-failure unless-stopped');
});

test('R19 what ran was asked to stop before the machine went down, and was given its time', limit, () => {
  assert.equal(docker('inspect', '-f', '{{.State.ExitCode}} {{.State.Status}}', 'no'), '3 exited');
  assert.equal(docker('inspect', '-f', '{{.State.ExitCode}}', 'deaf'), '137');
  for (const policy of ['no', 'always', 'unless-stopped', 'on-failure'])
    assert.equal(docker('run', '--rm', '-v', `${policy}:/data`, 'bb:1', 'cat', '/data/told'), 'bye', policy);
});

test('what had a size has it still', limit, () => {
  docker('cp', 'limited:/kept', '/tmp/kept');
  assert.equal(readFileSync('/tmp/kept', 'utf8'), 'kept\n');
  assert.equal(docker('run', '--rm', '-v', 'sized:/data', 'bb:1', 'cat', '/data/kept'), 'kept');
  const total = "df -k /data | awk 'END { print $2 }'";
  assert.equal(docker('run', '--rm', '-v', 'sized:/data', 'bb:1', 'sh', '-c', total), '10240');
  docker('rm', 'limited');
  docker('volume', 'rm', 'sized');
});
