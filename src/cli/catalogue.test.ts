import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from './catalogue.ts';
import { type Entries, isGroup } from './complete.ts';

/** What prints no result: a terminal, bytes of others, a script for a shell. */
const withoutResult = new Set(['attach', 'container attach', 'debug', 'system dial-stdio', 'completion']);

test('every command that prints a result takes --json', async () => {
  const without: string[] = [];
  const walk = async (entries: Entries, above: string) => {
    for (const [name, entry] of Object.entries(entries))
      if (isGroup(entry)) await walk(entry.commands, `${name} `);
      else if (!('json' in (await entry.load()).options)) without.push(above + name);
  };
  await walk(commands, '');
  assert.deepEqual(new Set(without), withoutResult);
});
