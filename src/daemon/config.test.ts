import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaultConfigFile, flagOf, readConfig, settings, variableOf } from './config.ts';

function withFile(content: string, check: (file: string) => void) {
  const directory = mkdtempSync(join(tmpdir(), 'berth-config-'));
  const file = join(directory, 'berth.json');
  writeFileSync(file, content);
  try {
    check(file);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('flags win over the environment, the environment over the file, the file over the defaults', () => {
  withFile('{"logLevel":"warn","mtu":1400,"stopTimeout":3}', (file) => {
    const config = readConfig({
      file,
      env: { BERTH_MTU: '1300', BERTH_STOP_TIMEOUT: '4' },
      flags: { stopTimeout: '5' },
    });
    assert.equal(config.logLevel, 'warn');
    assert.equal(config.mtu, 1300);
    assert.equal(config.stopTimeout, 5);
    assert.equal(config.bridge, 'berth0');
  });
});

test('lists, pairs and sizes are read from text and from JSON', () => {
  withFile(
    '{"insecureRegistries":["a:1","10.0.0.0/8"],"runtimes":{"kata":"/usr/bin/kata"},"logMaxSize":1000}',
    (file) => {
      const config = readConfig({ file, env: {}, flags: {} });
      assert.deepEqual(config.insecureRegistries, ['a:1', '10.0.0.0/8']);
      assert.deepEqual(config.runtimes, { kata: '/usr/bin/kata' });
      assert.equal(config.logMaxSize, 1000);
    },
  );
  const config = readConfig({
    file: undefined,
    env: { BERTH_INSECURE_REGISTRIES: 'a:1, b', BERTH_RUNTIMES: 'x=/x,y=/y' },
    flags: { logMaxSize: '5m' },
  });
  assert.deepEqual(config.insecureRegistries, ['a:1', 'b']);
  assert.deepEqual(config.runtimes, { x: '/x', y: '/y' });
  assert.equal(config.logMaxSize, 5 * 1024 * 1024);
});

test('what is wrong is named with its source, its key and what it may be', () => {
  withFile('{"logLevel":"loud"}', (file) => {
    assert.throws(() => readConfig({ file, env: {}, flags: {} }), {
      message: `${file}: logLevel: expected one of debug, info, warn, error, got "loud"`,
    });
  });
  withFile('{"sokcet":"/x"}', (file) => {
    assert.throws(() => readConfig({ file, env: {}, flags: {} }), /sokcet: no such setting; did you mean socket\?/);
  });
  withFile('{"socket":', (file) => assert.throws(() => readConfig({ file, env: {}, flags: {} }), /is not JSON/));
  withFile('[]', (file) => assert.throws(() => readConfig({ file, env: {}, flags: {} }), /is not a JSON object/));
  assert.throws(() => readConfig({ file: '/nowhere/berth.json', env: {}, flags: {} }), /cannot be read: ENOENT/);
  assert.throws(
    () => readConfig({ file: undefined, env: { BERTH_MTU: '9' }, flags: {} }),
    /BERTH_MTU: expected bytes, 576 to 65535, got "9"/,
  );
  assert.throws(
    () => readConfig({ file: undefined, env: {}, flags: { root: 'relative' } }),
    /--root: expected an absolute path/,
  );
});

test('every setting has a flag, a variable and a default of its own form', () => {
  assert.equal(flagOf('logMaxSize'), '--log-max-size');
  assert.equal(variableOf('logMaxSize'), 'BERTH_LOG_MAX_SIZE');
  assert.equal(defaultConfigFile, '/etc/berth/berth.json');
  for (const { key, default: fallback, read } of Object.values(settings)) {
    assert.deepEqual(read(fallback as never), fallback, key);
  }
});

test('proxies are those of the settings, else those that the machine names for all programs; a bad one shows no password', () => {
  const machine = { HTTPS_PROXY: 'http://machine.test:1', http_proxy: 'small.test:2', NO_PROXY: 'near.test' };
  const read = (env: Record<string, string>, flags = {}) => readConfig({ file: undefined, env, flags });
  const usual = read(machine);
  assert.deepEqual(
    [usual.httpProxy, usual.httpsProxy, usual.noProxy],
    ['small.test:2', 'http://machine.test:1', 'near.test'],
  );
  withFile('{"httpsProxy":"http://file.test:3"}', (file) =>
    assert.equal(readConfig({ file, env: machine, flags: {} }).httpsProxy, 'http://file.test:3'),
  );
  assert.equal(read({ ...machine, BERTH_HTTPS_PROXY: '' }).httpsProxy, '', 'set to nothing is no proxy');
  assert.equal(read({ HTTPS_PROXY: 'socks5://proxy.test' }).httpsProxy, 'socks5://proxy.test', 'told when it is used');
  assert.throws(
    () => read({}, { httpProxy: 'socks5://ann:canary@proxy.test' }),
    (error: Error) => /^--http-proxy: expected a proxy's URL/.test(error.message) && !/canary/.test(error.message),
  );
});
