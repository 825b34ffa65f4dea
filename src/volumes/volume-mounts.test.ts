import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveAddress, resolveDevice } from './volume-mounts.ts';

test('names of servers become addresses, IPv4 first, and only for file systems of a network', async () => {
  assert.equal(await resolveAddress('nfs', 'rw,addr=localhost,nfsvers=4'), 'rw,addr=127.0.0.1,nfsvers=4');
  assert.equal(await resolveAddress('nfs', 'addr=192.0.2.1'), 'addr=192.0.2.1');
  assert.equal(await resolveAddress('tmpfs', 'addr=localhost'), 'addr=localhost');
  assert.equal(await resolveDevice('cifs', '//localhost/share/in it'), '//127.0.0.1/share/in it');
  assert.equal(await resolveDevice('cifs', 'cifs://localhost/share'), '//127.0.0.1/share');
  assert.equal(await resolveDevice('cifs', '//192.0.2.1/share'), '//192.0.2.1/share');
  assert.equal(await resolveDevice('nfs', ':/export'), ':/export');
});
