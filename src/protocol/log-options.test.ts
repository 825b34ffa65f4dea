import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, checkLogOptions } from './log-options.ts';

test('log drivers and their options, refused in the words of Docker', () => {
  const bad: readonly (readonly [string, Record<string, string>, string])[] = [
    ['nosuch', {}, 'error looking up logging plugin nosuch: plugin "nosuch" not found'],
    ['json-file', { bogus: '1' }, "unknown log opt 'bogus' for json-file log driver"],
    ['local', { labels: 'a' }, "unknown log opt 'labels' for log driver local"],
    ['json-file', { mode: 'bogus' }, 'logger: logging mode not supported: bogus'],
    ['local', { 'max-buffer-size': '1m' }, "logger: max-buffer-size option is only supported with 'mode=non-blocking'"],
    [
      'json-file',
      { mode: 'non-blocking', 'max-buffer-size': 'x' },
      "error parsing option max-buffer-size: invalid size: 'x'",
    ],
    ['json-file', { 'max-size': '10x' }, "invalid value for max-size: invalid size: '10x'"],
    ['json-file', { 'max-size': '0' }, 'max-size must be a positive number'],
    ['json-file', { 'max-file': '0' }, 'max-file cannot be less than 1'],
    ['json-file', { 'max-file': 'x' }, 'strconv.Atoi: parsing "x": invalid syntax'],
    ['json-file', { compress: 'maybe' }, 'strconv.ParseBool: parsing "maybe": invalid syntax'],
    [
      'json-file',
      { compress: 'true', 'max-file': '3' },
      'compress cannot be true when max-file is less than 2 or max-size is not set',
    ],
    ['local', { 'max-file': '1' }, 'compression cannot be enabled when max file count is 1'],
    ['json-file', { 'env-regex': '(' }, 'error parsing regexp: ('],
    ['journald', { 'syslog-facility': 'mail' }, "unknown log opt 'syslog-facility' for journald log driver"],
    ['syslog', { 'max-size': '1m' }, "unknown log opt 'max-size' for syslog log driver"],
    ['syslog', { 'syslog-address': 'x' }, "unsupported scheme: ''"],
    ['syslog', { 'syslog-address': 'unix:///nosuch' }, 'stat /nosuch: no such file or directory'],
    ['syslog', { 'syslog-facility': 'nosuch' }, 'invalid syslog facility'],
    ['syslog', { 'syslog-facility': '24' }, 'invalid syslog facility'],
    ['syslog', { 'syslog-format': 'nosuch' }, 'Invalid syslog format'],
    ['syslog', { 'cache-disabled': 'x' }, 'invalid value for option cache-disabled: x'],
    ['syslog', { tag: '{{.Name' }, 'template: log-tag:1: unclosed action'],
    ['json-file', { tag: '{{.Name' }, 'template: log-tag:1: unclosed action'],
  ];
  for (const [Type, Config, message] of bad)
    assert.throws(() => checkLogOptions({ Type, Config }), { kind: 'invalid', message });
  assert.throws(() => checkLogOptions({ Type: 'gelf', Config: {} }), { kind: 'unsupported' });
});

test('options that are good', () => {
  const good: readonly (readonly [string, Record<string, string>])[] = [
    ['none', { foo: 'bar' }],
    ['local', { 'max-size': '10m', 'max-file': '3', compress: 'false', mode: 'blocking' }],
    ['local', { 'max-file': '1', compress: 'false' }],
    ['json-file', { 'max-size': '1k', 'max-file': '3', compress: 'true', labels: 'a', env: 'B', tag: '{{.ID}}' }],
    ['json-file', { mode: 'non-blocking', 'max-buffer-size': '4m' }],
  ];
  for (const [Type, Config] of good) checkLogOptions({ Type, Config });
});

test('sizes are read', () => {
  assert.deepEqual(['1k', '1.5 GiB', '7', '10MB', 'k', ''].map(bytesOf), [
    1024,
    1.5 * 1024 ** 3,
    7,
    10 * 1024 ** 2,
    undefined,
    undefined,
  ]);
});
