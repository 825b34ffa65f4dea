import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { remapOf } from './userns-remap.ts';

const etc = mkdtempSync(join(tmpdir(), 'berth-etc-'));
after(() => rmSync(etc, { recursive: true }));

function fill(files: Readonly<Record<string, string>>): void {
  const all = { passwd: 'root:x:0:0::/:/bin/sh\n', group: 'root:x:0:\n', subuid: '', subgid: '', ...files };
  for (const [name, text] of Object.entries(all)) writeFileSync(join(etc, name), text);
}

const run = (): never => assert.fail('nothing is to be made');
const range = (inside: number, outside: number, count: number) => ({ inside, outside, count });

test('the ranges of a user and a group, by name and by number, one after the other', () => {
  fill({
    passwd: 'root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n',
    group: 'root:x:0:\nweb:x:1000:\nstaff:x:50:\n',
    subuid: '# ours\nother:1:1\nweb:100000:1000\n1000:300000:64536\n',
    subgid: 'web:200000:65536\nstaff:400000:65536\nno range\n',
  });
  const uids = [range(0, 100_000, 1000), range(1000, 300_000, 64_536)];
  for (const setting of ['web', '1000', 'web:web', '1000:1000'])
    assert.deepEqual(remapOf(setting, { etc, run }), { uids, gids: [range(0, 200_000, 65_536)] }, setting);
  assert.deepEqual(remapOf('web:staff', { etc, run })?.gids, [range(0, 400_000, 65_536)]);
  assert.equal(remapOf('', { etc, run }), undefined);
});

test('`default` makes the user and its ranges, behind those that are given, and only once', () => {
  fill({ subuid: 'web:100000:65536\nmore:300000:65536\n' });
  const ran: string[] = [];
  const programs = (program: string, args: readonly string[]) => {
    ran.push([program, ...args].join(' '));
    if (program === 'useradd') {
      appendFileSync(join(etc, 'passwd'), 'dockremap:x:998:998::/:/bin/false\n');
      appendFileSync(join(etc, 'group'), 'dockremap:x:998:\n');
    } else {
      appendFileSync(join(etc, 'subuid'), 'dockremap:365536:65536\n');
      appendFileSync(join(etc, 'subgid'), 'dockremap:100000:65536\n');
    }
  };
  const wanted = { uids: [range(0, 365_536, 65_536)], gids: [range(0, 100_000, 65_536)] };
  assert.deepEqual(remapOf('default', { etc, run: programs }), wanted);
  assert.deepEqual(ran, [
    'useradd --system --no-create-home --shell /bin/false --user-group dockremap',
    'usermod --add-subuids=365536-431071 --add-subgids=100000-165535 dockremap',
  ]);
  assert.deepEqual(remapOf('default', { etc, run }), wanted);
});

test('refused with the next command: no such user, no ranges, root', () => {
  fill({ passwd: 'root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n', group: 'root:x:0:\nweb:x:1000:\n' });
  const refused = (setting: string, message: RegExp, hint: RegExp) =>
    assert.throws(() => remapOf(setting, { etc, run }), { kind: 'invalid', message, hint });
  refused('nobody', /there is no user nobody/, /useradd --system --user-group nobody/);
  refused('web:none', /there is no group none/, /groupadd --system none/);
  refused(
    'web',
    /no subuid ranges found for user "web"/,
    /usermod --add-subuids=100000-165535 --add-subgids=100000-165535 web/,
  );
  refused('root', /root cannot be mapped to itself/, /default/);
});
