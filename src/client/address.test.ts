import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nameOf, readAddress } from './address.ts';
import { sshWords } from './ssh-line.ts';

test('an address is read and named as docker does', () => {
  for (const text of [
    'unix:///run/berth/berth.sock',
    'tcp://10.0.0.1:2375',
    'tcp://[::1]:80',
    'ssh://host',
    'ssh://me@host:2222',
    'ssh://me@host/run/x.sock',
    'ssh://host:80',
  ])
    assert.equal(nameOf(readAddress(text)), text);
  assert.deepEqual(readAddress('/x.sock'), { kind: 'unix', path: '/x.sock' });
  assert.equal(nameOf(readAddress('tcp://host')), 'tcp://host:2375');
  assert.equal(nameOf(readAddress('tcp://host', { ca: '/ca', cert: '/cert', key: '/key' })), 'tcp://host:2376');
});

test('what is no address, or would be an option of ssh, is refused with why', () => {
  for (const [text, why] of [
    ['', /unix:\/\//],
    ['host:2375', /no unix:\/\//],
    ['unix://relative', /starts with \//],
    ['http://host', /http:\/\/ is not known/],
    ['tcp://host/path', /a host and a port alone/],
    ['tcp://a b', /no host/],
    ['ssh://-oProxyCommand=x', /dash|no host/],
    ['ssh://-oProxyCommand@host', /dash/],
    ['ssh://me:secret@host', /password/],
  ] as const)
    assert.throws(() => readAddress(text), why, text);
});

test('ssh is told user, port and the command for whatever shell is over there', () => {
  const address = readAddress("ssh://me@host:2222/run/it's.sock");
  assert.equal(address.kind, 'ssh');
  const words = sshWords(address as Extract<typeof address, { kind: 'ssh' }>);
  assert.deepEqual(words.slice(0, -1), ['-o', 'ConnectTimeout=30', '-T', '-l', 'me', '-p', '2222', '--', 'host']);
  assert.match(words.at(-1)!, /^sh -c '.*system dial-stdio'$/);
});
