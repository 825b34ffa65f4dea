import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../../src/base/errors.ts';
import { familiarName, formatReference, parseReference } from '../../src/oci/reference.ts';

/** The same numbers for the same seed, so that a failure can be had again. */
function randomFrom(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const pieces = [
  'a',
  'b0',
  'nginx',
  'library',
  'docker.io',
  'localhost',
  'reg.test',
  '/',
  '//',
  ':',
  ':5000',
  '@',
  'sha256:',
  '0123abcd'.repeat(8),
  '.',
  '..',
  '-',
  '--',
  '_',
  '__',
  '___',
  'A',
  '[::1]',
  '$(id)',
  ' ',
  '\n',
  '\u0000',
  'é',
  '%2f',
  '\\',
  'latest',
  'f'.repeat(64),
  'z'.repeat(130),
];

test('S08 100,000 references: refused as invalid, or a name that is safe and means the same when it is read again', () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
  const random = randomFrom(seed);
  let accepted = 0;
  const started = performance.now();
  for (let round = 0; round < 100_000; round++) {
    let text = '';
    for (let left = 1 + random(6); left > 0; left--) text += pieces[random(pieces.length)]!;
    const where = `seed ${seed}: ${JSON.stringify(text)}`;
    try {
      const reference = parseReference(text);
      accepted++;
      assert.match(formatReference(reference), /^[A-Za-z0-9[][A-Za-z0-9._:/@[\]-]*$/, where);
      assert.doesNotMatch(reference.path, /\.\.|^[/-]|\/$|[^a-z0-9._/-]/, where);
      assert.deepEqual(parseReference(formatReference(reference)), reference, where);
      assert.deepEqual(parseReference(familiarName(reference)), reference, where);
    } catch (error) {
      assert.ok(error instanceof EngineError && error.kind === 'invalid', `${where}: ${String(error)}`);
    }
  }
  assert.ok(accepted > 1000, `only ${accepted} were names`);
  // Names of 250 bytes that almost match: no pattern may need more than linear time.
  for (const long of ['a-'.repeat(120), 'a__'.repeat(80), 'a.'.repeat(120), '-'.repeat(250), `a${'-'.repeat(248)}`])
    for (const text of [long, `${long}!`, `reg.test/${long}/x:y`, `${long}:5000/a`])
      try {
        parseReference(text);
      } catch (error) {
        assert.ok(error instanceof EngineError);
      }
  assert.ok(performance.now() - started < 20_000);
});
