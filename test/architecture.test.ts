import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { floors } from './floors.ts';

const src = new URL('../src/', import.meta.url).pathname;

/** The floor of each room, counted from below. */
const floorOf = new Map(floors.flatMap((rooms, floor) => rooms.map((room): [string, number] => [room, floor])));

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => match[1]!);
}

test('every folder of src is a room with a floor', () => {
  const rooms = readdirSync(src, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
  assert.deepEqual(
    rooms.filter((room) => !floorOf.has(room)),
    [],
  );
});

test('a room uses only rooms on floors below its own', () => {
  const wrong: string[] = [];
  for (const [room, floor] of floorOf) {
    if (!existsSync(join(src, room))) continue;
    for (const entry of readdirSync(join(src, room), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
      const file = join(entry.parentPath, entry.name);
      for (const target of importsOf(file)) {
        const other = new URL(target, `file://${file}`).pathname.slice(src.length).split('/')[0]!;
        if (other === room) continue;
        const below = floorOf.get(other);
        if (below === undefined || below >= floor) wrong.push(`${file.slice(src.length)} imports ${target}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});
