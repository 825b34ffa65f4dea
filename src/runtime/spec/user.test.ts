import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { findUser, resolveUser } from './user.ts';

const passwd = `root:x:0:0:root:/root:/bin/sh
# comment
web:x:33:34:Web,,,:/srv/www:/bin/sh
1001:x:5:5::/number:/bin/sh
broken:x:zero:0::/:/bin/sh
huge:x:4294967296:4294967296::/:/bin/sh
short:x`;
const group = `root:x:0:
web:x:34:
audio:x:29:web,other
video:x:44:web
minus:x:-1:
`;
const find = (user: string, groupAdd: string[] = [], files = { passwd, group }) =>
  findUser({ user, groupAdd, ...files });

describe('findUser', () => {
  it('resolves every form of USER', () => {
    const cases: [string, number, number, number[], string][] = [
      ['', 0, 0, [0], '/root'],
      ['root', 0, 0, [0], '/root'],
      ['0', 0, 0, [0], '/root'],
      ['web', 33, 34, [34, 29, 44], '/srv/www'],
      ['33', 33, 34, [34, 29, 44], '/srv/www'],
      ['web:audio', 33, 29, [29], '/srv/www'],
      ['web:7', 33, 7, [7], '/srv/www'],
      ['web:', 33, 34, [34, 29, 44], '/srv/www'],
      ['1000', 1000, 0, [0], '/'],
      ['1000:1000', 1000, 1000, [1000], '/'],
      [':audio', 0, 29, [29], '/root'],
      ['1001', 1001, 0, [0], '/'],
      ['4294967294:4294967294', 4294967294, 4294967294, [4294967294], '/'],
    ];
    for (const [user, uid, gid, additionalGids, home] of cases)
      assert.deepEqual(find(user), { uid, gid, additionalGids, home }, user);
  });

  it('adds groups by name or number, each once', () => {
    assert.deepEqual(find('web', ['video', '29', '5000']).additionalGids, [34, 29, 44, 5000]);
    assert.deepEqual(find('', ['12'], { passwd: '', group: '' }), {
      uid: 0,
      gid: 0,
      additionalGids: [0, 12],
      home: '/',
    });
  });

  it("says in Docker's words who is not there", () => {
    const message = (of: () => unknown, text: string) => assert.throws(of, { kind: 'invalid', message: text });
    message(() => find('nope'), 'unable to find user nope: no matching entries in passwd file');
    message(() => find('web:nope'), 'unable to find group nope: no matching entries in group file');
    message(() => find('web', ['nope']), 'unable to find group nope: no matching entries in group file');
    message(
      () => find('web', [], { passwd: '', group }),
      'unable to find user web: no matching entries in passwd file',
    );
  });

  it('S17 takes no id that could wrap around to root', () => {
    const refused = [
      '4294967296',
      '4294967295',
      '-1',
      '-0',
      '99999999999999999999',
      '1:4294967296',
      '1:-1',
      'huge',
      'broken',
      'short',
      '1:minus',
    ];
    for (const user of refused)
      assert.throws(
        () => find(user),
        { kind: 'invalid', message: 'uids and gids must be in range 0-4294967294' },
        user,
      );
    assert.throws(() => find('1', ['4294967296']), { message: 'uids and gids must be in range 0-4294967294' });
    for (const user of ['1e3', '0x0', ' 0', '1.0'])
      assert.throws(
        () => find(user),
        { message: `unable to find user ${user}: no matching entries in passwd file` },
        user,
      );
    assert.equal(find('65536:65536').uid, 65536);
  });
});

describe('resolveUser', () => {
  let root: string;
  const file = (name: string) => join(root, 'etc', name);
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'user-'));
    mkdirSync(join(root, 'etc'));
    writeFileSync(file('group'), group);
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('reads the files of the root that it was given, by path or descriptor', () => {
    writeFileSync(file('passwd'), passwd);
    assert.equal(resolveUser(root, 'web').home, '/srv/www');
    const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
    assert.equal(resolveUser(fd, 'web:audio').gid, 29);
    closeSync(fd);
  });

  it('takes numbers where there are no files', () => {
    rmSync(join(root, 'etc'), { recursive: true });
    assert.deepEqual(resolveUser(root, '5:6', ['7']), { uid: 5, gid: 6, additionalGids: [6, 7], home: '/' });
  });

  it('S17 follows links inside the root only', () => {
    mkdirSync(join(root, 'store'));
    writeFileSync(join(root, 'store/passwd'), 'in:x:7:7::/in:\n');
    symlinkSync('/store/passwd', file('passwd'));
    assert.equal(resolveUser(root, 'in').uid, 7);
    rmSync(file('passwd'));
    // What the host has at this path must not be read: its root user has a name.
    symlinkSync('../../../../../../etc/passwd', file('passwd'));
    assert.throws(() => resolveUser(root, 'root'), {
      kind: 'invalid',
      message: /^read \/etc\/passwd of the container: ELOOP$/,
    });
    rmSync(file('passwd'));
    symlinkSync('/proc/self/root/etc/passwd', file('passwd'));
    assert.throws(() => resolveUser(root, 'root'), { message: /no matching entries in passwd file$/ });
  });

  it('S17 reads nothing that is not a plain file', () => {
    const refused = { kind: 'invalid', message: 'read /etc/passwd of the container: not a regular file' };
    execFileSync('mkfifo', [file('passwd')]);
    assert.throws(() => resolveUser(root, 'web'), refused);
    rmSync(file('passwd'));
    mkdirSync(file('passwd'));
    assert.throws(() => resolveUser(root, 'web'), refused);
    rmSync(file('passwd'), { recursive: true });
    symlinkSync('/dev/zero', file('passwd'));
    assert.throws(() => resolveUser(root, 'web'), { message: /^unable to find user web/ });
  });

  it('S17 reads no more than 1 MiB', () => {
    writeFileSync(file('passwd'), passwd);
    truncateSync(file('group'), 10 * 1024 ** 3);
    assert.throws(() => resolveUser(root, 'web'), {
      kind: 'invalid',
      message: 'read /etc/group of the container: larger than 1048576 bytes',
    });
  });
});
