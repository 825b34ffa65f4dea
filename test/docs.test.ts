import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { compatibilityDocs } from '../scripts/compatibility-docs.ts';
import { configurationDocs } from '../scripts/configuration-docs.ts';

const root = new URL('../', import.meta.url).pathname;

test('docs/configuration.md is what the schema says (node scripts/configuration-docs.ts writes it)', () => {
  assert.equal(readFileSync(join(root, 'docs/configuration.md'), 'utf8'), configurationDocs());
});

test('docs/compatibility.md is what the table of routes says (node scripts/compatibility-docs.ts writes it)', () => {
  assert.equal(readFileSync(join(root, 'docs/compatibility.md'), 'utf8'), compatibilityDocs());
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
