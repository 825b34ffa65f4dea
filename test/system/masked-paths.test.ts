/** What of the kernel's files a container must not see is hidden, and a runtime that does not hide it starts nothing. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth } from '../lib/engines.ts';
import { assertNoLeaks, knownTo } from '../lib/leaks.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-masks-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** crun, of which `edit` (a sed script) changes what the bundle asks for, as a runtime that is led astray does. */
function led(name: string, edit: string): string {
  const path = join(folder, name);
  const script = [
    '#!/bin/sh',
    'take=',
    'for word; do [ "$take" ] && bundle=$word; take=; [ "$word" = --bundle ] && take=1; done',
    `[ "$bundle" ] && sed -i '${edit}' "$bundle/config.json"`,
    'exec crun "$@"',
  ];
  writeFileSync(path, `${script.join('\n')}\n`, { mode: 0o755 });
  return path;
}

test('S12 masked and protected paths are, under each runtime; one that leaves a path open starts nothing', {
  timeout: 120_000,
}, async () => {
  const runtimes = {
    unmasking: led('unmasking', 's#"/proc/keys"#"/proc/none"#'),
    writable: led('writable', 's#"/proc/sysrq-trigger"#"/proc/none"#; s#"/proc/sys"#"/proc/none"#'),
  };
  const pairs = Object.entries(runtimes).map(([name, path]) => `${name}=${path}`);
  await using engine = await startBerth({ flags: ['--runtimes', pairs.join(',')] });
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  const look = 'cat /proc/keys | wc -c; ls /sys/firmware | wc -l; touch /proc/sys/kernel/core_pattern && echo open; :';
  for (const runtime of ['crun', 'runc'])
    assert.equal(
      engine.docker(['run', '--rm', '--runtime', runtime, 'bb:1', 'sh', '-c', look]).stdout,
      '0\n0\n',
      runtime,
    );
  for (const [name, path] of [
    ['unmasking', '/proc/keys'],
    ['writable', '/proc/sys'],
  ] as const) {
    const { status, stderr } = engine.docker(['run', '--name', name, '--runtime', name, 'bb:1', 'sleep', '10']);
    assert.equal(status, 125, stderr);
    assert.match(stderr, new RegExp(`runtime ${name} left ${path}\\S* of the container open: it was ended`));
    assert.match(stderr, /try: berth doctor/);
    assert.match(engine.must('inspect', '-f', '{{.State.Status}} {{.State.Running}}', name), /^created false$/);
    engine.must('rm', name);
  }
  // Where nothing is to be hidden, and where the container may change its mounts itself, nothing is missed.
  for (const flag of ['--privileged', '--cap-add=SYS_ADMIN', '--security-opt=systempaths=unconfined'])
    assert.equal(engine.must('run', '--rm', '--runtime', 'unmasking', flag, 'bb:1', 'echo', 'well'), 'well', flag);
  for (const flags of [['--pid=host'], ['--net=host'], ['--read-only'], ['-v', '/sys:/sys'], ['--userns=host']])
    assert.equal(engine.must('run', '--rm', ...flags, 'bb:1', 'echo', 'well'), 'well', flags.join(' '));
  await assertNoLeaks(engine, () => knownTo(engine));
});
