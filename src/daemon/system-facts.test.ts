import assert from 'node:assert/strict';
import { test } from 'node:test';
import { masked } from './system-facts.ts';

test('a proxy is shown without its user and its password, as Docker shows it', () => {
  for (const [proxy, shown] of [
    ['', ''],
    ['http://proxy.test:3128', 'http://proxy.test:3128'],
    ['http://ann:secret@proxy.test:3128', 'http://xxxxx:xxxxx@proxy.test:3128'],
    ['https://ann@proxy.test', 'https://xxxxx:xxxxx@proxy.test'],
    ['http://ann:se@cret@proxy.test', 'http://xxxxx:xxxxx@proxy.test'],
    ['ann:secret@proxy.test:3128', 'xxxxx:xxxxx@proxy.test:3128'],
  ])
    assert.equal(masked(proxy!), shown);
});
