import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyFixes, type Finding, renderJson, renderText } from './finding.ts';

describe('findings', () => {
  const findings: Finding[] = [
    { name: 'a', state: 'ok', found: 'fine', cure: 'never shown' },
    { name: 'long.name', state: 'fail', found: 'bad\u001b[31m', cure: 'do this', fix: async () => {} },
  ];

  it('S28 are shown as text without control characters', () => {
    assert.equal(
      renderText(findings),
      'ok    a          fine\nFAIL  long.name  bad [31m\n                 -> do this (--fix does it)\n\n1 ok, 0 to look at, 1 failed; --fix can cure 1\n',
    );
  });

  it('are shown as JSON', () => {
    const { state, checks } = JSON.parse(renderJson(findings));
    assert.equal(state, 'fail');
    assert.deepEqual(checks[1], {
      name: 'long.name',
      state: 'fail',
      found: 'bad\u001b[31m',
      cure: 'do this',
      fixable: true,
    });
  });

  it('are fixed one after the other, whatever fails', async () => {
    const order: string[] = [];
    const fixes: Finding[] = ['a', 'b', 'c'].map((name) => ({
      name,
      state: 'warn',
      found: '',
      fix: async () => {
        order.push(name);
        if (name === 'b') throw new Error('no');
      },
    }));
    assert.deepEqual(await applyFixes(fixes), [
      { name: 'a', error: undefined },
      { name: 'b', error: 'no' },
      { name: 'c', error: undefined },
    ]);
    assert.deepEqual(order, ['a', 'b', 'c']);
  });
});
