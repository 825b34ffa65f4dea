import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { digestOf } from '../oci/digest.ts';
import { fakeEngine, request } from './fakes.ts';
import { type LogFormat, LogFormatter } from './log-format.ts';
import { detailsOf, readLog } from './logs.ts';

const base = mkdtempSync(join(tmpdir(), 'berth-logs-'));
after(() => rmSync(base, { recursive: true, force: true }));
let count = 0;
const fresh = () => join(mkdtempSync(join(base, `${++count}-`)), 'x-json.log');

const format: LogFormat = {
  tty: false,
  stdout: true,
  stderr: true,
  since: undefined,
  until: undefined,
  timestamps: false,
  details: undefined,
};
const at = (second: number) => `2026-11-23T07:50:${String(second).padStart(2, '0')}.5Z`;
const line = (log: string, stream = 'stdout', time = at(0)) => `${JSON.stringify({ log, stream, time })}\n`;
const signal = new AbortController().signal;

/** Frames as `o:text` and `e:text`. */
function frames(bytes: Buffer): string[] {
  const found: string[] = [];
  for (let from = 0; from < bytes.length; ) {
    const length = bytes.readUInt32BE(from + 4);
    found.push(`${bytes[from] === 2 ? 'e' : 'o'}:${bytes.toString('utf8', from + 8, from + 8 + length)}`);
    from += 8 + length;
  }
  return found;
}

async function read(path: string, tail?: number, asked: Partial<LogFormat> = {}): Promise<string[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of readLog(path, new LogFormatter({ ...format, ...asked }), {
    tail,
    signal,
    ended: undefined,
  }))
    chunks.push(chunk);
  return asked.tty ? [Buffer.concat(chunks).toString()] : frames(Buffer.concat(chunks));
}

test('lines come back as they were, whatever is in them', async () => {
  const path = fresh();
  const texts = [
    'plain\n',
    'quote " and \\ back\n',
    'tab\tcr\r\n',
    'half',
    '\u0001\u001b[31m\n',
    'ünïcödé 漢字 🚢\n',
    '',
    '<&>\u2028\n',
    'x'.repeat(20_000),
  ];
  const escaped = '{"log":"\\u003chtml\\u003e\\n","stream":"stderr","time":"2026-11-23T07:50:29Z"}\n';
  const attrs = '{"log":"a\\n","stream":"stdout","attrs":{"k":"v"},"time":"2026-11-23T07:50:29.1Z"}\n';
  writeFileSync(path, texts.map((text, n) => line(text, n % 2 ? 'stderr' : 'stdout')).join('') + escaped + attrs);
  assert.deepEqual(await read(path), [
    ...texts.map((text, n) => `${n % 2 ? 'e' : 'o'}:${text}`),
    'e:<html>\n',
    'o:a\n',
  ]);
});

test('a line that ends its own string early is not believed', async () => {
  const path = fresh();
  const fake = 'x","stream":"stderr","time":"2026-11-23T07:50:29.1Z"}';
  writeFileSync(path, line(fake));
  assert.deepEqual(await read(path), [`o:${fake}`]);
});

test('a torn line is left out, those around it are not', async () => {
  const path = fresh();
  writeFileSync(path, `${line('a\n')}{"log":"torn","str\n\0\0\0\n${line('b\n')}{"log":"not yet`);
  assert.deepEqual(await read(path), ['o:a\n', 'o:b\n']);
});

test('any cut of the file into chunks gives the same', () => {
  const whole = Buffer.from([line('one\n'), line('two "x"\n', 'stderr'), line('drei ä\n')].join(''));
  const expected = new LogFormatter(format).feed(whole);
  for (let cut = 0; cut <= whole.length; cut++) {
    const formatter = new LogFormatter(format);
    const parts = Buffer.concat([
      Buffer.from(formatter.feed(whole.subarray(0, cut))),
      formatter.feed(whole.subarray(cut)),
    ]);
    assert.deepEqual(parts, expected);
  }
});

test('streams, since, until, timestamps, details and terminals', async () => {
  const path = fresh();
  writeFileSync(
    path,
    [line('a\n', 'stdout', at(1)), line('b\n', 'stderr', at(2)), line('c\n', 'stdout', at(3))].join(''),
  );
  const nanos = (second: number, rest = 0n) => BigInt(Date.parse(at(second))) * 1_000_000n + rest;
  assert.deepEqual(await read(path, undefined, { stderr: false }), ['o:a\n', 'o:c\n']);
  assert.deepEqual(await read(path, undefined, { since: nanos(2) }), ['e:b\n', 'o:c\n']);
  assert.deepEqual(await read(path, undefined, { since: nanos(2, 1n) }), ['o:c\n']);
  assert.deepEqual(await read(path, undefined, { until: nanos(2) }), ['o:a\n', 'e:b\n']);
  assert.deepEqual(await read(path, 1, { timestamps: true }), ['o:2026-11-23T07:50:03.500000000Z c\n']);
  assert.deepEqual(await read(path, 1, { details: 'k=v', timestamps: true }), [
    'o:2026-11-23T07:50:03.500000000Z k=v c\n',
  ]);
  assert.deepEqual(await read(path, undefined, { tty: true }), ['a\nb\nc\n']);
});

test('details name the labels, the variables and the tag that the log options ask for', () => {
  const { config, hostConfig } = request(
    { Labels: { a: '1', b: 'x y', other: '' }, Env: ['E=v=w', 'F=2'] },
    {
      LogConfig: {
        Type: 'json-file',
        Config: { labels: 'b', 'labels-regex': '^a', env: 'E', tag: '{{upper .Name}}/{{ .ID }}' },
      },
    },
  );
  const container = {
    id: 'f'.repeat(64),
    name: 'web',
    created: at(0),
    image: digestOf('x'),
    path: 'sh',
    args: [],
    config,
    hostConfig,
    files: { log: '/x.log' },
  };
  assert.equal(detailsOf(container), 'E=v%3Dw,a=1,b=x+y,tag=WEB%2Fffffffffffff');
  const huge = { ...container, config: { ...config, Labels: { b: 'x'.repeat(20_000) } } };
  assert.throws(() => detailsOf(huge), { kind: 'invalid', message: /take more than 16 KiB/ });
  const local = { ...container, hostConfig: { ...hostConfig, LogConfig: { Type: 'local', Config: {} } } };
  assert.equal(detailsOf(local), '');
});

test('tail counts back over rotated files, compressed ones too', async () => {
  const path = fresh();
  const numbered = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, n) => line(`${from + n}\n`)).join('');
  writeFileSync(`${path}.2.gz`, gzipSync(numbered(0, 10)));
  writeFileSync(`${path}.1`, numbered(10, 20));
  writeFileSync(path, numbered(20, 25));
  const last = (n: number) => Array.from({ length: n }, (_, m) => `o:${25 - n + m}\n`);
  for (const n of [0, 1, 4, 5, 6, 15, 16, 24, 25]) assert.deepEqual(await read(path, n), last(n), `tail ${n}`);
  assert.deepEqual(await read(path, 99), last(25));
  assert.deepEqual(await read(path), last(25));
});

test('tail over more than a block', async () => {
  const path = fresh();
  writeFileSync(path, Array.from({ length: 20_000 }, (_, n) => line(`${n} ${'x'.repeat(40)}\n`)).join(''));
  const lines = await read(path, 10_000);
  assert.equal(lines.length, 10_000);
  assert.match(lines[0]!, /^o:10000 /);
});

test('a log that was never written is empty', async () => {
  assert.deepEqual(await read(fresh()), []);
});

test('R24 following sees every line once, over rotations, and ends after the last', { timeout: 20_000 }, async () => {
  const path = fresh();
  writeFileSync(path, '');
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const seen: string[] = [];
  const reading = (async () => {
    for await (const chunk of readLog(path, new LogFormatter(format), { tail: undefined, signal, ended }))
      seen.push(...frames(chunk));
  })();
  const total = 2000;
  for (let n = 0; n < total; n++) {
    appendFileSync(path, line(`${n}\n`));
    if (n % 40 === 39) {
      rmSync(`${path}.9`, { force: true });
      for (const old of [8, 7, 6, 5, 4, 3, 2, 1]) {
        try {
          renameSync(`${path}.${old}`, `${path}.${old + 1}`);
        } catch {}
      }
      renameSync(path, `${path}.1`);
      writeFileSync(path, '');
      // As far ahead as the rotated files go, and no further: what is deleted cannot be read.
      while (seen.length < n - 200) await sleep(1);
      await sleep(1);
    }
  }
  end();
  await reading;
  assert.deepEqual(
    seen,
    Array.from({ length: total }, (_, n) => `o:${n}\n`),
  );
});

test('a log that is emptied when it is full is followed on from its start', { timeout: 10_000 }, async () => {
  const path = fresh();
  writeFileSync(path, line('old\n').repeat(20));
  const end = Promise.withResolvers<void>();
  let released = 0;
  const keep = async () => ({ [Symbol.dispose]: () => void released++ });
  const log = readLog(path, new LogFormatter(format), { tail: 1, signal, ended: end.promise, keep });
  assert.deepEqual(frames((await log.next()).value as Buffer), ['o:old\n']);
  const next = log.next();
  await sleep(20);
  writeFileSync(path, line('new\n'));
  assert.deepEqual(frames((await next).value as Buffer), ['o:new\n']);
  assert.equal(released, 0);
  end.resolve();
  assert.equal((await log.next()).done, true);
  assert.equal(released, 1);
});

test('a log in the middle of a rotation has all its files', async () => {
  const path = fresh();
  // 1 was moved to 2, the newest is still to be moved to 1.
  writeFileSync(`${path}.3`, line('a\n'));
  writeFileSync(`${path}.2`, line('b\n'));
  writeFileSync(path, line('c\n'));
  assert.deepEqual(await read(path), ['o:a\n', 'o:b\n', 'o:c\n']);
  // The newest was moved, and its place is still free.
  renameSync(path, `${path}.1`);
  assert.deepEqual(await read(path), ['o:a\n', 'o:b\n', 'o:c\n']);
});

test('following is quick, and stops when nobody reads', { timeout: 10_000 }, async () => {
  const path = fresh();
  writeFileSync(path, line('old\n'));
  const abort = new AbortController();
  const log = readLog(path, new LogFormatter(format), { tail: 0, signal: abort.signal, ended: new Promise(() => {}) });
  let next = log.next();
  await sleep(30);
  const delays: number[] = [];
  for (let n = 0; n < 20; n++) {
    const begun = performance.now();
    appendFileSync(path, line(`${n}\n`));
    const { value } = await next;
    delays.push(performance.now() - begun);
    assert.deepEqual(frames(value as Buffer), [`o:${n}\n`]);
    next = log.next();
    await sleep(2);
  }
  const median = delays.sort((a, b) => a - b)[10]!;
  assert.ok(median < 50, `${median} ms`);
  abort.abort();
  assert.equal((await next).done, true);
});

test('reading makes no object of a line: it is cheaper than parsing each', () => {
  const lines = Array.from({ length: 2000 }, (_, n) => line(`${n} GET /index.html HTTP/1.1 200 ${'x'.repeat(80)}\n`));
  const block = Buffer.from(lines.join(''));
  const formatter = new LogFormatter(format);
  const parsing = () => Buffer.concat(lines.map((text) => Buffer.from((JSON.parse(text) as { log: string }).log)));
  // Of many rounds the cheapest of each counts: other work on the machine only makes some of them dearer.
  const cheapest = (work: () => unknown) => {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 40; round++) {
      const begun = performance.now();
      work();
      best = Math.min(best, performance.now() - begun);
    }
    return best;
  };
  const ratio = cheapest(() => formatter.feed(block)) / cheapest(parsing);
  assert.ok(ratio < 1, `${ratio.toFixed(2)} of the time that parsing takes`);
});

test('driver none cannot be read', async () => {
  await using engine = await fakeEngine();
  await engine.containers.create('web', request({}, { LogConfig: { Type: 'none', Config: {} } }), undefined);
  const options = { ...format, follow: false, tail: undefined, signal, details: false };
  assert.throws(() => engine.containers.logs('web', options), {
    kind: 'unsupported',
    message: 'configured logging driver does not support reading',
  });
});
