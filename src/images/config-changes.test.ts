import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changedConfig, mergedDefaults } from './config-changes.ts';
import { expand, instructionsOf, pairsOf, wordsOf } from './instructions.ts';

test('instructions: comments and empty lines are left out, lines that go on are taken together', () => {
  assert.deepEqual(instructionsOf('# a\n\nenv a b \\\n  # inside\n  c\r\nCMD ["x"]'), [
    { name: 'ENV', rest: 'a b   c' },
    { name: 'CMD', rest: '["x"]' },
  ]);
  assert.throws(() => instructionsOf('# nothing\n'), /file with no instructions/);
});

test('words are divided at blanks that are neither quoted nor escaped', () => {
  assert.deepEqual(wordsOf(`a  "b c" d\\ e 'f "g' h"i j"k`), ['a', '"b c"', 'd\\ e', `'f "g'`, 'h"i j"k']);
  assert.deepEqual(pairsOf('ENV', 'a=1 b="2 3"'), [
    ['a', '1'],
    ['b', '"2 3"'],
  ]);
  assert.deepEqual(pairsOf('ENV', 'a b  c'), [['a', 'b  c']]);
  assert.throws(() => pairsOf('ENV', 'a'), /ENV must have two arguments/);
  assert.throws(() => pairsOf('ENV', 'a=1 b'), /can't find = in "b"/);
});

test('variables are put in, quotes and escapes taken off', () => {
  const environment = ['A=1', 'B=', 'P=/bin:/usr'];
  const cases = {
    '$A-${A}-$NONE-': '1-1--',
    "'$A'": '$A',
    '"$A b"': '1 b',
    '\\$A': '$A',
    '"a\\"b\\n"': 'a"b\\n',
    '${B:-x}${B-y}${NONE-z}': 'xz',
    '${A:+x}${B:+y}${B+w}': 'xw',
    '${P}:/x': '/bin:/usr:/x',
    'costs 5$': 'costs 5$',
  };
  for (const [word, expected] of Object.entries(cases)) assert.equal(expand(word, environment), expected, word);
  assert.throws(() => expand('${A#x}', environment), /unsupported modifier/);
});

test('changes are made one after the other', () => {
  const changed = changedConfig({ Env: ['A=1'], Cmd: ['old'], WorkingDir: '/w', OnBuild: ['RUN a'] }, [
    'ENV A=2 B=$A',
    'WORKDIR x/../y',
    'WORKDIR z',
    'ENTRYPOINT ["e"]',
    'ONBUILD COPY a b',
    'EXPOSE 1-2/udp 3',
    'HEALTHCHECK --start-interval=2s CMD ["a", "b"]',
  ]);
  assert.deepEqual(changed, {
    Env: ['A=2', 'B=1'],
    Cmd: null,
    WorkingDir: '/w/y/z',
    Entrypoint: ['e'],
    OnBuild: ['RUN a', 'COPY a b'],
    ExposedPorts: { '1/udp': {}, '2/udp': {}, '3/tcp': {} },
    Healthcheck: { StartInterval: 2_000_000_000, Test: ['CMD', 'a', 'b'] },
  });
  assert.deepEqual(changedConfig({ Cmd: ['old'] }, ['CMD ["c"]', 'ENTRYPOINT e']).Cmd, ['c']);
  assert.deepEqual(changedConfig({ Shell: ['/bin/bash', '-c'] }, ['CMD x']).Cmd, ['/bin/bash', '-c', 'x']);
});

test('what is no change is refused', () => {
  for (const [change, message] of [
    ['COPY a b', /COPY is not a valid change command/],
    ['HEALTHCHECK --interval=1ns CMD x', /cannot be less than 1ms/],
    ['HEALTHCHECK --nosuch=1 CMD x', /Unknown flag: nosuch/],
    ['HEALTHCHECK CMD', /Missing command after HEALTHCHECK CMD/],
    ['HEALTHCHECK NONE x', /takes no arguments/],
    ['VOLUME ["/a", ""]', /can not be an empty string/],
    ['ENV =x', /ENV names can not be blank/],
  ] as const)
    assert.throws(() => changedConfig({}, [change]), { kind: 'invalid', message }, change);
});

test('what a configuration leaves out comes from the one below', () => {
  const below = {
    Env: ['A=1', 'B=1'],
    Cmd: ['c'],
    Entrypoint: ['e'],
    Labels: { a: '1', b: '1' },
    User: 'u',
    WorkingDir: '/w',
  };
  assert.deepEqual(mergedDefaults({}, below), below);
  assert.deepEqual(mergedDefaults({ Env: ['B=2'], Labels: { b: '2' }, User: 'v' }, below), {
    ...below,
    Env: ['B=2', 'A=1'],
    Labels: { a: '1', b: '2' },
    User: 'v',
  });
  // Another program has none of the arguments of the one before.
  assert.deepEqual(mergedDefaults({ Entrypoint: ['other'] }, below).Cmd, undefined);
  assert.deepEqual(
    mergedDefaults(
      { Healthcheck: { Test: ['CMD', 'x'], Interval: 0 } },
      { Healthcheck: { Test: ['NONE'], Interval: 5 } },
    ).Healthcheck,
    { Test: ['CMD', 'x'], Interval: 5 },
  );
});
