import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDetachKeys } from './detach-keys.ts';
import { Filters, matchesPattern } from './filters.ts';
import { FrameReader, frame } from './frames.ts';
import { queryBoolean } from './query.ts';
import { parseRegistryAuth } from './registry-auth.ts';
import { parseSignal } from './signals.ts';
import { humanDuration, statusText } from './status-text.ts';
import { formatTime, parseDuration, parseMoment, parseTime, readMoment } from './time.ts';
import { acceptVersion, formatVersion, negotiate, parseVersion } from './version.ts';

test('versions compare as numbers, not as text', () => {
  assert.ok(parseVersion('1.9')! < parseVersion('1.24')!);
  assert.equal(formatVersion(acceptVersion('1.41')), '1.41');
  for (const bad of ['', '.', 'x', '1.', '1..2']) assert.equal(parseVersion(bad), undefined, bad);
  assert.throws(() => acceptVersion('2.0'), { message: /client version 2\.0 is too new/ });
  assert.throws(() => acceptVersion('1.23'), { message: /too old/ });
  assert.equal(negotiate(1051, '1.41'), 1041);
  assert.equal(negotiate(1051, '1.55'), 1051);
  assert.equal(negotiate(1051, undefined), 1024);
});

test('filters are read in both encodings', () => {
  const known = ['label', 'status', 'name', 'dangling'];
  for (const text of [
    '{"status":["running","paused"],"label":["a=b"]}',
    '{"status":{"running":true,"paused":true,"dead":false},"label":{"a=b":true}}',
  ]) {
    const filters = Filters.parse(text, known);
    assert.deepEqual(filters.get('status'), ['running', 'paused']);
    assert.ok(filters.exact('status', 'paused'));
    assert.ok(!filters.exact('status', 'dead'));
    assert.ok(filters.labels({ a: 'b', c: 'd' }));
    assert.ok(!filters.labels({ a: 'c' }));
  }
  for (const nothing of ['', 'null', '{}', null, undefined]) assert.ok(Filters.parse(nothing, known).empty);
  for (const bad of ['x', '[]', '7', '{"status":7}', '{"status":{"a":1}}', '{"status":[1]}'])
    assert.throws(() => Filters.parse(bad, known), { kind: 'invalid', message: 'invalid filter' }, bad);
  assert.throws(() => Filters.parse('{"nosuch":["a"]}', known), { message: `invalid filter 'nosuch'` });
  assert.throws(() => Filters.parse('{"dangling":["maybe"]}', known).boolean('dangling'), {
    message: `invalid filter 'dangling=[maybe]'`,
  });
  assert.equal(Filters.parse('{"dangling":{"1":true}}', known).boolean('dangling'), true);
});

test('labels that are asked for must all be there, and those with ! must not', () => {
  const filters = Filters.parse('{"label":["a","b=1"],"label!":["c"]}', ['label', 'label!']);
  assert.ok(filters.labels({ a: '', b: '1' }));
  assert.ok(!filters.labels({ a: '' }));
  assert.ok(!filters.labels({ a: '', b: '1', c: '' }));
  assert.ok(!Filters.parse('{"label":["toString"]}', ['label']).labels({}));
});

test('a name filter is an expression, and one that could run away is plain text', () => {
  assert.ok(matchesPattern('^/web$', '/web'));
  assert.ok(matchesPattern('eb', 'web'));
  assert.ok(matchesPattern('w.b', 'web'));
  assert.ok(!matchesPattern('^eb', 'web'));
  assert.ok(!matchesPattern('[', 'web'));
  const before = Date.now();
  assert.ok(!matchesPattern('^(a+)+$', `${'a'.repeat(40)}b`));
  assert.ok(Date.now() - before < 200);
});

test('booleans of a query', () => {
  for (const no of [null, undefined, '', '0', 'no', 'False', 'none']) assert.equal(queryBoolean(no), false);
  for (const yes of ['1', 't', 'True', 'yes', '2']) assert.equal(queryBoolean(yes), true);
});

test('credentials are read in both alphabets, with and without padding', () => {
  const auth = { username: 'ü?>', password: 'p>?~' };
  const text = JSON.stringify(auth);
  for (const header of [
    Buffer.from(text).toString('base64'),
    Buffer.from(text).toString('base64url'),
    `${Buffer.from(text).toString('base64url')}`,
  ])
    assert.deepEqual(parseRegistryAuth(header), auth);
  for (const anonymous of [undefined, '', 'e30=', 'e30']) assert.equal(parseRegistryAuth(anonymous), undefined);
  const secret = Buffer.from('{"password":"hunter2"').toString('base64');
  assert.throws(
    () => parseRegistryAuth(secret),
    (error: Error) => !error.message.includes('hunter2'),
  );
  assert.deepEqual(
    parseRegistryAuth(Buffer.from(`{"auth":"${Buffer.from('me:a:b').toString('base64')}"}`).toString('base64')),
    {
      username: 'me',
      password: 'a:b',
    },
  );
});

test('detach keys', () => {
  assert.deepEqual([...parseDetachKeys('ctrl-p,ctrl-q')!], [16, 17]);
  assert.deepEqual([...parseDetachKeys('a,ctrl-[,ctrl-@,ctrl-_')!], [97, 27, 0, 31]);
  assert.equal(parseDetachKeys(''), undefined);
  for (const bad of ['ctrl-', 'ctrl-1', 'ab', 'é', 'a,,b'])
    assert.throws(() => parseDetachKeys(bad), { kind: 'invalid' }, bad);
});

test('frames survive every cut', () => {
  const bytes = Buffer.concat([frame(1, 'hello'), frame(2, ''), frame(2, 'world!'), frame(1, Buffer.alloc(300, 'x'))]);
  for (let size = 1; size < 20; size++) {
    const got = { 1: '', 2: '' } as Record<number, string>;
    const reader = new FrameReader((type, payload) => (got[type] += payload.toString()));
    for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
    assert.deepEqual(got, { 1: `hello${'x'.repeat(300)}`, 2: 'world!' });
    assert.ok(reader.whole);
  }
  assert.throws(() => new FrameReader(() => {}).push(Buffer.from('not a frame')));
});

test('durations and moments', () => {
  assert.equal(parseDuration('1h2m3.5s'), 3_723_500_000_000n);
  assert.equal(parseDuration('-1.5h'), -5_400_000_000_000n);
  assert.equal(parseDuration('100ms'), 100_000_000n);
  assert.equal(parseDuration('.5s'), 500_000_000n);
  assert.equal(parseDuration('0'), 0n);
  for (const bad of ['', '1', 's', '.s', '1x', '1h ', '--1s']) assert.equal(parseDuration(bad), undefined, bad);
  assert.equal(parseTime('1970-01-01T00:00:01.000000002Z'), 1_000_000_002n);
  assert.equal(parseTime('1970-01-01T02:00:00+02:00'), 0n);
  assert.equal(parseTime('1970-01-02'), 86_400_000_000_000n);
  assert.equal(parseTime('yesterday'), undefined);
  assert.equal(parseMoment('1.000000001', 0n), 1_000_000_001n);
  assert.equal(parseMoment('1.5', 0n), 1_500_000_000n);
  assert.equal(parseMoment('10s', 30_000_000_000n), 20_000_000_000n);
  assert.equal(readMoment('since', '0'), undefined);
  assert.throws(() => readMoment('since', 'x'), { kind: 'invalid' });
  assert.equal(formatTime(1_000_000_002n), '1970-01-01T00:00:01.000000002Z');
  assert.equal(formatTime(1_500_000_000n), '1970-01-01T00:00:01.5Z');
});

test('spans are told as docker ps tells them', () => {
  const second = 1000;
  const hour = 3600 * second;
  for (const [span, words] of [
    [999, 'Less than a second'],
    [second, '1 second'],
    [59 * second, '59 seconds'],
    [60 * second, 'About a minute'],
    [119 * second, 'About a minute'],
    [120 * second, '2 minutes'],
    [hour, 'About an hour'],
    [1.5 * hour, '2 hours'],
    [47 * hour, '47 hours'],
    [48 * hour, '2 days'],
    [14 * 24 * hour, '2 weeks'],
    [60 * 24 * hour, '2 months'],
    [730 * 24 * hour, '2 years'],
  ] as const)
    assert.equal(humanDuration(span), words);
});

test('status texts', () => {
  const at = Date.parse('2026-01-01T00:00:10Z');
  const state = {
    status: 'running',
    exitCode: 4,
    startedAt: '2026-01-01T00:00:07.5Z',
    finishedAt: '2026-01-01T00:00:02Z',
  } as const;
  assert.equal(statusText(state, at), 'Up 2 seconds');
  assert.equal(statusText({ ...state, health: { status: 'healthy' } }, at), 'Up 2 seconds (healthy)');
  assert.equal(statusText({ ...state, health: { status: 'starting' } }, at), 'Up 2 seconds (health: starting)');
  assert.equal(statusText({ ...state, status: 'paused' }, at), 'Up 2 seconds (Paused)');
  assert.equal(statusText({ ...state, status: 'exited' }, at), 'Exited (4) 8 seconds ago');
  assert.equal(statusText({ ...state, status: 'restarting' }, at), 'Restarting (4) 8 seconds ago');
  assert.equal(statusText({ ...state, status: 'created' }, at), 'Created');
  assert.equal(statusText(state, at - 60_000), 'Up Less than a second');
});

test('signals by name and number', () => {
  for (const text of ['15', 'TERM', 'SIGTERM', 'sigterm']) assert.equal(parseSignal(text), 15);
  assert.equal(parseSignal('SIGRTMIN+3'), 37);
  assert.equal(parseSignal('RTMAX-1'), 63);
  for (const bad of ['', '0', '65', 'NOPE', 'RTMIN+40', '9x'])
    assert.throws(() => parseSignal(bad), { message: `invalid signal: ${bad}` });
});
