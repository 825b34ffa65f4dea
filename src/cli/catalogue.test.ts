import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from './catalogue.ts';
import { complete, type Entries, isGroup } from './complete.ts';

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

test('every command and every flag is completed, those of exec ls and exec kill too', async () => {
  const offered = async (line: string) => {
    const deps = { commands, names: async () => [] };
    return new Set((await complete(`berth ${line}`, deps)).map(({ word }) => word));
  };
  const missing: string[] = [];
  const walk = async (entries: Entries, above: string) => {
    const words = await offered(above);
    for (const [name, entry] of Object.entries(entries)) {
      if (!words.has(name)) missing.push(above + name);
      if (isGroup(entry)) await walk(entry.commands, `${name} `);
      else {
        const flags = await offered(`${above}${name} --`);
        const { options } = await entry.load();
        missing.push(
          ...Object.keys(options)
            .filter((flag) => !flags.has(`--${flag}`))
            .map((flag) => `${above}${name} --${flag}`),
        );
      }
    }
  };
  await walk(commands, '');
  assert.deepEqual(missing, []);
  assert.ok((await offered('exec ')).has('ls') && (await offered('exec kill --')).has('--signal'));
});
