import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { commands, compatibilityDocs, ownCommands } from '../scripts/compatibility-docs.ts';
import { configurationDocs } from '../scripts/configuration-docs.ts';
import { daemonJsonDocs } from '../scripts/daemon-json-docs.ts';
import { errorCodes } from '../src/base/error-codes.ts';
import { commands as own } from '../src/cli/catalogue.ts';

const root = new URL('../', import.meta.url).pathname;

test('docs/configuration.md is what the schema says (node scripts/configuration-docs.ts writes it)', () => {
  assert.equal(readFileSync(join(root, 'docs/configuration.md'), 'utf8'), configurationDocs());
});

test('docs/daemon-json.md is what the table of keys says (node scripts/daemon-json-docs.ts writes it)', () => {
  assert.equal(readFileSync(join(root, 'docs/daemon-json.md'), 'utf8'), daemonJsonDocs());
});

test('docs/compatibility.md is what the table of routes says (node scripts/compatibility-docs.ts writes it)', () => {
  assert.equal(readFileSync(join(root, 'docs/compatibility.md'), 'utf8'), compatibilityDocs());
});

test('the tests that docs/compatibility.md names are there', () => {
  const gone = commands.filter(([, , heldBy]) => {
    if (heldBy === undefined) return false;
    const [file, ...title] = heldBy.split(': ');
    // Some have their titles in tables, the recorded ones in a file of their own.
    const text = globSync(`test/compat/${file}{.test,-recorded}.ts`, { cwd: root })
      .map((name) => readFileSync(join(root, name), 'utf8'))
      .join('');
    const quoted = title.join(': ');
    return ![`'${quoted}'`, `"${quoted}"`, `  ${quoted}: [`].some((written) => text.includes(written));
  });
  assert.deepEqual(gone, []);
});

test('every verb that docker has not stands in docs/compatibility.md, with a test that is there, and in docs/cli.md', () => {
  const gone = ownCommands.filter(([, heldBy]) => {
    const [file = '', ...title] = heldBy.split(': ');
    return !existsSync(join(root, file)) || !readFileSync(join(root, file), 'utf8').includes(title.join(': '));
  });
  assert.deepEqual(gone, []);
  const verbs = Object.keys(own);
  const known = [...commands, ...ownCommands].flatMap(([command]) => command.split(/[ ,]+/));
  assert.deepEqual(
    verbs.filter((verb) => !known.includes(verb)),
    [],
  );
  const text = readFileSync(join(root, 'docs/cli.md'), 'utf8');
  assert.deepEqual(
    verbs.filter((verb) => !text.includes(`\`${verb}\``) && !text.includes(`berth ${verb}`)),
    [],
  );
});

test('docs/cli.md lists every error code', () => {
  const text = readFileSync(join(root, 'docs/cli.md'), 'utf8');
  const listed = [...text.matchAll(/^\| `(E_\w+)` \| (.*) \|$/gm)].map(([, code, about]) => [code, about]);
  assert.deepEqual(Object.fromEntries(listed), errorCodes);
});

test('every link between our documents leads somewhere', () => {
  const broken: string[] = [];
  for (const file of [...globSync('*.md', { cwd: root }), ...globSync('docs/**/*.md', { cwd: root })]) {
    for (const [, target] of readFileSync(join(root, file), 'utf8').matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      if (!existsSync(join(root, dirname(file), target!))) broken.push(`${file}: ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});
