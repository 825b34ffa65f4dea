import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
import { Proxies, proxyAuthorization, readProxy } from './proxies.ts';

const to = (url: string, none = '') =>
  new Proxies({ http: 'http://plain.test:3128', https: 'secure.test:3129', none }).of(new URL(url))?.host;

test('the proxy is chosen by the scheme that is asked for, and this machine is reached without', () => {
  assert.equal(to('http://registry.test/v2/'), 'plain.test:3128');
  assert.equal(to('https://registry.test/v2/'), 'secure.test:3129');
  for (const url of [
    'https://localhost:5000/',
    'http://127.9.9.9/',
    'http://[::1]:5000/',
    'http://[::ffff:127.0.0.1]/',
  ])
    assert.equal(to(url), undefined, url);
  assert.equal(to('https://localhost.test/'), 'secure.test:3129');
  assert.equal(new Proxies({ http: 'http://p.test', https: '', none: '' }).of(new URL('https://x.test/')), undefined);
});

test('NO_PROXY is read as Go reads it: hosts, domains, addresses, blocks, ports, everything', () => {
  const direct: [string, string][] = [
    ['registry.test', 'https://registry.test/'],
    ['registry.test', 'https://sub.registry.test/'],
    [' other.test , REGISTRY.test', 'https://registry.test:5000/'],
    ['.registry.test', 'https://sub.registry.test/'],
    ['*.registry.test', 'https://sub.registry.test/'],
    ['registry.test:443', 'https://registry.test/'],
    ['registry.test:5000', 'https://registry.test:5000/'],
    ['10.1.2.3', 'http://10.1.2.3/'],
    ['10.1.2.3:80', 'http://10.1.2.3/'],
    ['10.0.0.0/8', 'https://10.1.2.3:5000/'],
    ['fd00::/8', 'https://[fd00::1]:5000/'],
    ['fd00::1', 'https://[fd00::1]/'],
    ['[fd00::1]:443', 'https://[fd00::1]/'],
    ['*', 'https://registry.test/'],
  ];
  for (const [none, url] of direct) assert.equal(to(url, none), undefined, `${none} and ${url}`);
  const proxied: [string, string][] = [
    ['registry.test', 'https://notregistry.test/'],
    ['.registry.test', 'https://registry.test/'],
    ['*.registry.test', 'https://registry.test/'],
    ['registry.test:5000', 'https://registry.test/'],
    ['10.1.2.3:80', 'https://10.1.2.3/'],
    ['10.0.0.0/8', 'https://11.1.2.3/'],
    ['10.0.0.0/8', 'https://registry.test/'],
    ['10.0.0.0/99', 'https://10.1.2.3/'],
    [',, ,:80', 'https://registry.test/'],
    ['*registry.test', 'https://sub.registry.test/'],
  ];
  for (const [none, url] of proxied) assert.equal(to(url, none), 'secure.test:3129', `${none} and ${url}`);
});

test('what is no proxy of HTTP is refused when it is needed, without its password', () => {
  assert.equal(readProxy('socks5://proxy.test:1080'), undefined);
  assert.equal(readProxy('http://'), undefined);
  assert.equal(readProxy('proxy.test')?.href, 'http://proxy.test/');
  const proxies = new Proxies({ http: '', https: 'socks5://ann:canary@proxy.test', none: 'near.test' });
  assert.equal(proxies.of(new URL('https://near.test/')), undefined);
  assert.throws(
    () => proxies.of(new URL('https://far.test/')),
    (error) => error instanceof EngineError && error.kind === 'unavailable' && !/canary/.test(error.message),
  );
});

test('user and password of the URL are what the proxy is told, unescaped', () => {
  const told = (text: string) => proxyAuthorization(readProxy(text)!)?.replace('Basic ', '');
  assert.equal(told('http://proxy.test'), undefined);
  assert.equal(atob(told('http://ann:p%40ss@proxy.test')!), 'ann:p@ss');
  assert.equal(atob(told('ann@proxy.test')!), 'ann:');
});
