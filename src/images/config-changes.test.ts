import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../base/errors.ts';
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

const changed = (...changes: string[]) => changedConfig({}, changes);

test('every instruction that changes a configuration', () => {
  assert.deepEqual(
    changed(
      'CMD ["/bin/busybox","true"]',
      'ENV A=b C="d e" F=g\\ h',
      'ENV OLD form with blanks',
      'expose 80 81/udp 90-92/tcp',
      'LABEL x=y "two words"=\'it is\'',
      'USER 1000:10',
      'VOLUME /v /w',
      'VOLUME ["/with blank"]',
      'WORKDIR /w',
      'WORKDIR sub/../deep',
      'ONBUILD RUN make',
      'STOPSIGNAL SIGUSR1',
      'HEALTHCHECK --interval=5s --timeout=1m30s --retries=3 --start-period=500ms CMD curl -f x',
      'ENTRYPOINT serve --all',
    ),
    {
      Cmd: ['/bin/busybox', 'true'],
      Env: ['A=b', 'C=d e', 'F=g h', 'OLD=form with blanks'],
      ExposedPorts: { '80/tcp': {}, '81/udp': {}, '90/tcp': {}, '91/tcp': {}, '92/tcp': {} },
      Labels: { x: 'y', 'two words': 'it is' },
      User: '1000:10',
      Volumes: { '/v': {}, '/w': {}, '/with blank': {} },
      WorkingDir: '/w/deep',
      OnBuild: ['RUN make'],
      StopSignal: 'SIGUSR1',
      Healthcheck: {
        Test: ['CMD-SHELL', 'curl -f x'],
        Interval: 5e9,
        Timeout: 90e9,
        StartPeriod: 5e8,
        Retries: 3,
      },
      Entrypoint: ['/bin/sh', '-c', 'serve --all'],
    },
  );
  assert.deepEqual(changed('HEALTHCHECK CMD ["a","b"]').Healthcheck, { Test: ['CMD', 'a', 'b'] });
  assert.deepEqual(changed('HEALTHCHECK NONE').Healthcheck, { Test: ['NONE'] });
  assert.deepEqual(changed('CMD').Cmd, ['/bin/sh', '-c']);
  assert.equal(changed('ENTRYPOINT []').Entrypoint, null);
});

test('what was there stays, is replaced by name, and is not changed itself', () => {
  const before = {
    Env: ['A=1', 'B=2'],
    Cmd: ['old'],
    Labels: { a: '1' },
    Shell: ['/bin/bash', '-c'],
    WorkingDir: '/x',
  };
  const kept = structuredClone(before);
  assert.deepEqual(changedConfig(before, ['ENV A=3', 'LABEL b=2', 'WORKDIR y']), {
    ...before,
    Env: ['A=3', 'B=2'],
    Labels: { a: '1', b: '2' },
    WorkingDir: '/x/y',
  });
  assert.deepEqual(changedConfig(before, ['CMD run it']).Cmd, ['/bin/bash', '-c', 'run it']);
  assert.deepEqual(before, kept);
});

test('an entrypoint takes the command away that was meant for another, and not one given beside it', () => {
  assert.equal(changedConfig({ Cmd: ['old'] }, ['ENTRYPOINT ["x"]']).Cmd, null);
  assert.deepEqual(changedConfig({ Cmd: ['old'] }, ['CMD ["y"]', 'ENTRYPOINT ["x"]']).Cmd, ['y']);
});

test('variables are those of the image; single quotes and backslashes keep them as they are', () => {
  const { Env, Labels, WorkingDir, Volumes } = changedConfig({ Env: ['HOME=/h'] }, [
    "ENV A=$HOME/a B=${HOME}b C=${NO:-none} D=${HOME:+set} E='$HOME' F=\\$HOME G=$NO",
    'LABEL where=$A',
    'WORKDIR $HOME',
    'VOLUME ${A}',
  ]);
  assert.deepEqual(Env, ['HOME=/h', 'A=/h/a', 'B=/hb', 'C=none', 'D=set', 'E=$HOME', 'F=$HOME', 'G=']);
  assert.deepEqual([Labels, WorkingDir, Volumes], [{ where: '/h/a' }, '/h', { '/h/a': {} }]);
});

test('one change may hold several lines, comments and joined lines', () => {
  assert.deepEqual(changed('# what it is\nENV A=1 \\\n  B=2\n\nUSER x'), { Env: ['A=1', 'B=2'], User: 'x' });
});

test("what is no change is refused in Docker's words", () => {
  for (const [change, words] of [
    ['RUN x', 'RUN is not a valid change command'],
    ['add a b', 'ADD is not a valid change command'],
    ['NOPE', 'NOPE is not a valid change command'],
    ['constructor x', 'CONSTRUCTOR is not a valid change command'],
    ['EXPOSE abc', 'Invalid containerPort: abc'],
    ['EXPOSE 70000', 'Invalid containerPort: 70000'],
    ['EXPOSE 90-80', 'Invalid containerPort: 90-80'],
    ['EXPOSE 80/carrier-pigeon', 'Invalid proto: carrier-pigeon'],
    ['EXPOSE', 'EXPOSE requires at least one argument'],
    ['ENV A', 'ENV must have two arguments'],
    ['ENV =b', 'ENV names can not be blank'],
    ['ENV A=b c', 'Syntax error - can\'t find = in "c". Must be of the form: name=value'],
    ['USER', 'USER requires exactly one argument'],
    ['VOLUME', 'VOLUME requires at least one argument'],
    ['VOLUME [""]', 'VOLUME specified can not be an empty string'],
    ['STOPSIGNAL NOSUCH', 'invalid signal: NOSUCH'],
    ['ONBUILD ONBUILD RUN x', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ['ONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger"],
    ['HEALTHCHECK', 'HEALTHCHECK requires at least one argument'],
    ['HEALTHCHECK TCP 80', 'Unknown type "TCP" in HEALTHCHECK (try CMD)'],
    ['HEALTHCHECK CMD', 'Missing command after HEALTHCHECK CMD'],
    ['HEALTHCHECK --interval=x CMD y', 'time: invalid duration "x"'],
    ['HEALTHCHECK --interval=1us CMD y', 'Interval "interval" cannot be less than 1ms'],
  ] as const)
    assert.throws(
      () => changed(change),
      (error) => error instanceof EngineError && error.kind === 'invalid' && error.message === words,
      change,
    );
});
