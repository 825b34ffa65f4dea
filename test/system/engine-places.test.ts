import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { project } from '../lib/engines.ts';

/** What keeps an engine from starting: each is told with the setting, the place, the reason and what to try; exit code 1. */

describe('an engine whose settings or places are wrong', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'engine-places-'));
  const at = (name: string) => join(scratch, name);
  const mounted = [at('read-only'), at('full')];

  before(() => {
    for (const place of mounted) mkdirSync(place);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', at('read-only')]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', at('full')]);
    spawnSync('sh', ['-c', `head -c 1m /dev/zero > '${at('full')}/fill'`]);
    writeFileSync(at('file'), '');
  });
  after(() => {
    for (const place of mounted) execFileSync('umount', [place]);
    rmSync(scratch, { recursive: true });
  });

  const run = (flags: Readonly<Record<string, string>>, who: readonly string[] = []) => {
    const settings = { root: at('root'), 'run-dir': at('run'), socket: at('e.sock'), bridge: 'bt-places', ...flags };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    const [command = '', ...args] = [...who, process.execPath, join(project, 'dist/daemon-main.js'), ...words];
    const ended = spawnSync('unshare', ['-n', command, ...args], { encoding: 'utf8', timeout: 30_000 });
    return { status: ended.status, said: ended.stderr };
  };

  test('places that cannot be used are named with the reason', () => {
    for (const [flags, reason] of [
      [{ root: at('read-only/root') }, /the data root \S+ cannot be used: the file system is read-only try=.*--root/],
      [{ root: at('full/root') }, /the data root \S+ cannot be used: no space left on the device try="df -h/],
      [{ root: at('file') }, /the data root \S+ cannot be used: there is a file try=/],
      [{ root: '/proc/berth-nothing' }, /the data root \S+ cannot be used: the file system makes no directories there/],
      [{ 'run-dir': at('read-only/run') }, /the run directory \S+ cannot be used: .* try=.*--run-dir/],
      [{ socket: at('read-only/x/e.sock') }, /the directory of the socket \S+ cannot be used: .* try=.*--socket/],
      [{ socket: at('file') }, /listen on \S+: there is something else, not a socket/],
    ] as const) {
      const { status, said } = run(flags);
      assert.match(said, reason);
      assert.equal(status, 1, said);
    }
    const { status, said } = run({ root: at('other') }, [
      'setpriv',
      '--reuid',
      '65534',
      '--regid',
      '65534',
      '--clear-groups',
    ]);
    assert.match(said, /the data root \S+ cannot be used: permission denied try="run the engine as root"/);
    assert.equal(status, 1);
  });

  test('settings that no engine could keep to are refused', () => {
    for (const [flags, reason] of [
      [{ 'default-runtime': 'nosuch' }, /the default runtime nosuch does not exist try="one of crun, runc/],
      [{ group: 'no-such-group' }, /there is no group "no-such-group" on this machine try=/],
      [{ 'registry-mirrors': 'docker.io=:::' }, /invalid mirror of docker\.io: ":::" is no URL/],
      [{ 'insecure-registries': '10.0.0.0\/99' }, /invalid CIDR block/],
    ] as const) {
      const { status, said } = run(flags);
      assert.match(said, reason);
      assert.equal(status, 1, said);
    }
    const long = run({ socket: join(scratch, 'x'.repeat(120)) });
    assert.match(long.said, /--socket: expected an absolute path of at most 107 bytes/);
    assert.equal(long.status, 125);
    assert.deepEqual(
      readdirSync(scratch).filter((name) => name === 'e.sock'),
      [],
    );
  });
});
