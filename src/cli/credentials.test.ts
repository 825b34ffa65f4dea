import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { EngineError } from '../base/errors.ts';
import { Credentials, hubAddress, serverNamed, serverOf } from './credentials.ts';

const ann = { username: 'ann', password: 'a:secret', identityToken: '' };

async function inFolder(check: (folder: string, environment: NodeJS.ProcessEnv) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'credentials-'));
  try {
    await check(folder, { DOCKER_CONFIG: folder, PATH: `${folder}:/usr/bin:/bin` });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const fileOf = (folder: string) =>
  JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
const put = (folder: string, file: unknown) => writeFileSync(join(folder, 'config.json'), JSON.stringify(file));

/** A helper as they are: a program that keeps each secret in a file, and notes how it was called. */
function installHelper(folder: string, name: string): void {
  const script = `#!/bin/sh
echo "$0 $# $1" >> ${folder}/calls
case $1 in
store) cat > ${folder}/kept ;;
get) read server; grep -q "\\"$server\\"" ${folder}/kept 2>/dev/null || { echo credentials not found in native keychain; exit 1; }; cat ${folder}/kept ;;
erase) rm ${folder}/kept ;;
esac
`;
  writeFileSync(join(folder, `docker-credential-${name}`), script, { mode: 0o755 });
}

test('names of servers are those that docker has in its files', () => {
  assert.equal(serverOf('nginx:1'), hubAddress);
  assert.equal(serverOf('localhost:5000/a/b'), 'localhost:5000');
  for (const hub of [undefined, '', 'docker.io', 'https://index.docker.io/v1/'])
    assert.equal(serverNamed(hub), hubAddress);
  assert.equal(serverNamed('https://ghcr.example/v2/'), 'ghcr.example');
});

test('what is stored is found again, as docker writes it, for this user only; all else in the file stays', () =>
  inFolder(async (folder, environment) => {
    put(folder, { HttpHeaders: { a: 'b' }, auths: { 'other:5000': { auth: 'eDp5' } } });
    const where = await (await Credentials.open(environment)).store('localhost:5000', ann);
    assert.equal(where, join(folder, 'config.json'));
    assert.deepEqual(fileOf(folder), {
      HttpHeaders: { a: 'b' },
      auths: {
        'other:5000': { auth: 'eDp5' },
        'localhost:5000': { auth: Buffer.from('ann:a:secret').toString('base64') },
      },
    });
    assert.equal(statSync(join(folder, 'config.json')).mode & 0o777, 0o600);
    const again = await Credentials.open(environment);
    assert.deepEqual(await again.get('localhost:5000'), ann);
    assert.equal(await again.get('localhost:5001'), undefined);
    assert.equal(await again.erase('localhost:5000'), true);
    assert.deepEqual(Object.keys((fileOf(folder).auths ?? {}) as object), ['other:5000']);
    assert.equal(await (await Credentials.open(environment)).erase('localhost:5000'), false);
  }));

test('an identity token is kept in place of the password', () =>
  inFolder(async (folder, environment) => {
    await (await Credentials.open(environment)).store(hubAddress, { ...ann, identityToken: 'token' });
    assert.doesNotMatch(readFileSync(join(folder, 'config.json'), 'utf8'), new RegExp(btoa('a:secret').slice(0, 6)));
    assert.deepEqual(await (await Credentials.open(environment)).get(hubAddress), {
      username: 'ann',
      password: '',
      identityToken: 'token',
    });
  }));

test('older forms are read: URLs as keys, user and password apart', () =>
  inFolder(async (folder, environment) => {
    put(folder, { auths: { 'https://old.example/v1/': { username: 'ann', password: 'a:secret' } } });
    assert.deepEqual(await (await Credentials.open(environment)).get('old.example'), ann);
  }));

test('a helper keeps them: called with one argument, secrets by stdin, none in the file', () =>
  inFolder(async (folder, environment) => {
    installHelper(folder, 'test');
    put(folder, { credsStore: 'nosuch', credHelpers: { 'localhost:5000': 'test' } });
    const credentials = await Credentials.open(environment);
    assert.equal(await credentials.get('localhost:5000'), undefined);
    assert.equal(await credentials.store('localhost:5000', ann), 'docker-credential-test');
    assert.deepEqual(JSON.parse(readFileSync(join(folder, 'kept'), 'utf8')), {
      ServerURL: 'localhost:5000',
      Username: 'ann',
      Secret: 'a:secret',
    });
    assert.doesNotMatch(readFileSync(join(folder, 'config.json'), 'utf8'), /ann|secret/);
    assert.deepEqual(await credentials.get('localhost:5000'), ann);
    assert.equal(await (await Credentials.open(environment)).erase('localhost:5000'), true);
    assert.equal(await credentials.get('localhost:5000'), undefined);
    const calls = readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n');
    assert.ok(
      calls.every((call) => /docker-credential-test 1 (get|store|erase)$/.test(call)),
      calls.join(),
    );
    await assert.rejects(credentials.get('elsewhere'), /docker-credential-nosuch cannot be run: ENOENT/);
  }));

test('S08 the name of a helper is a name, not a path and not words for a shell', () =>
  inFolder(async (folder, environment) => {
    for (const name of ['../../bin/sh', 'a b', 'x;touch y', '-x', '$(id)']) {
      put(folder, { credsStore: name });
      const credentials = await Credentials.open(environment);
      await assert.rejects(credentials.get('a'), (error: EngineError) => error.kind === 'invalid', name);
    }
  }));

test('a file that cannot be read is named, and what is in it is not shown', () =>
  inFolder(async (folder, environment) => {
    writeFileSync(join(folder, 'config.json'), '{"auths": secret');
    await assert.rejects(Credentials.open(environment), (error: Error) => {
      assert.match(error.message, /config\.json cannot be read: it is no JSON object/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
    rmSync(join(folder, 'config.json'));
    assert.equal(await (await Credentials.open(environment)).get('a'), undefined);
  }));

test('a file that is a link stays one', () =>
  inFolder(async (folder, environment) => {
    writeFileSync(join(folder, 'real.json'), '{}');
    symlinkSync('real.json', join(folder, 'config.json'));
    await (await Credentials.open(environment)).store('localhost:5000', ann);
    assert.match(readFileSync(join(folder, 'real.json'), 'utf8'), /localhost:5000/);
  }));
