import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer } from 'node:tls';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

/** A server on a socket with a name that keeps what it is told; it can be away. */
class Told implements AsyncDisposable {
  text = '';
  readonly #path: string;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async listen(server: Server = createServer()): Promise<void> {
    this.#server = server;
    server.on(server instanceof createTlsServer().constructor ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('data', (data) => {
        this.text += data.toString();
      });
    });
    server.listen(this.#path);
    await once(server, 'listening');
  }

  async leave(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
    await new Promise((resolve) => this.#server?.close(resolve) ?? resolve(undefined));
    this.#server = undefined;
  }

  async has(what: RegExp): Promise<RegExpExecArray> {
    for (let round = 0; round < 400; round++) {
      const found = what.exec(this.text);
      if (found) return found;
      await sleep(50);
    }
    throw new Error(`${what} was never told: ${this.text.slice(-500)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server) await this.leave();
  }
}

/** Datagrams, which Node cannot take: python writes each as a line of hexadecimal digits. */
const datagrams = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('ready', flush=True)
while True: print(s.recv(1 << 20).hex(), flush=True)
`;

describe('logs that go elsewhere', () => {
  let engine: TestEngine;
  let dir: string;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'berth-logs-'));
    engine = await startBerth();
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(async () => {
    await engine?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });
  const syslog = (path: string, ...more: string[]) => [
    ...['--log-driver', 'syslog', '--log-opt', `syslog-address=unix://${path}`, ...more],
  ];

  test('a server that is away, an engine that is killed, rotated files, a removal: every line arrives, in order', async () => {
    const path = join(dir, 'away');
    await using told = new Told(path);
    await told.listen();
    const small = ['--log-opt', 'cache-max-size=20k', '--log-opt', 'cache-max-file=9', '--log-opt', 'tag={{.Name}}'];
    const script = 'i=0; while read n; do while [ $i -lt $n ]; do echo "line $i."; i=$((i+1)); done; done';
    engine.must('create', '-i', '--name', 'teller', ...syslog(path, ...small), 'bb:1', 'sh', '-c', script);
    const stdin = spawn('docker', ['start', '-ai', 'teller'], {
      env: engine.env,
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    stdin.stdin.write('10\n');
    const [, tag] = await told.has(/<30>\w+ +\d+ [\d:]+ (\w+)\[\d+\]: line 0\.\n/);
    assert.equal(tag, 'teller');
    await told.has(/line 9\.\n/);
    assert.equal(engine.must('inspect', '-f', '{{.LogPath}}', 'teller'), '');
    assert.match(engine.must('logs', '--tail', '1', 'teller'), /^line 9\.$/);

    await told.leave();
    stdin.stdin.write('800\n');
    while (!engine.must('logs', '--tail', '1', 'teller').includes('line 799.')) await sleep(50);
    await engine.kill();
    rmSync(path, { force: true });
    await told.listen();
    await engine.restart();
    await told.has(/line 799\.\n/);

    await told.leave();
    rmSync(path, { force: true });
    const end = spawn('docker', ['attach', 'teller'], { env: engine.env, stdio: ['pipe', 'ignore', 'ignore'] });
    end.stdin.end('1000\n');
    await once(end, 'exit');
    assert.equal(engine.must('wait', 'teller'), '0');
    const removal = spawn('docker', ['rm', 'teller'], { env: engine.env, stdio: 'ignore' });
    await sleep(300);
    await told.listen();
    await once(removal, 'exit');
    await told.has(/line 999\.\n/);
    const numbers = [...told.text.matchAll(/line (\d+)\.\n/g)].map((match) => Number(match[1]));
    const inOrder = numbers.filter((number, at) => number > Math.max(-1, ...numbers.slice(Math.max(0, at - 2000), at)));
    assert.deepEqual(
      inOrder,
      Array.from({ length: 1000 }, (_, n) => n),
    );
    stdin.kill();
  });

  test('a container comes back by its policy while the server is away, which hears of it later', async () => {
    const path = join(dir, 'later');
    await using told = new Told(path);
    await told.listen();
    const script = 'echo begun; sleep 0.3; exit 1';
    engine.must('run', '-d', '--name', 'again', '--restart', 'always', ...syslog(path), 'bb:1', 'sh', '-c', script);
    await told.has(/begun/);
    await told.leave();
    const before = told.text.split('begun').length;
    const restarts = () => Number(engine.must('inspect', '-f', '{{.RestartCount}}', 'again'));
    const from = restarts();
    for (let round = 0; round < 400 && restarts() < from + 2; round++) await sleep(50);
    assert.ok(restarts() >= from + 2, engine.must('inspect', '-f', '{{.State.Status}} {{.State.Error}}', 'again'));
    rmSync(path, { force: true });
    await told.listen();
    for (let round = 0; round < 400 && told.text.split('begun').length < before + 2; round++) await sleep(50);
    assert.ok(told.text.split('begun').length >= before + 2, told.text);
    engine.must('rm', '-f', 'again');
  });

  test('TLS with a certificate of its own, and counted messages', async () => {
    const made = spawnSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
        ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'],
        ...['-keyout', join(dir, 'key'), '-out', join(dir, 'cert')],
      ],
      { encoding: 'utf8' },
    );
    assert.equal(made.status, 0, made.stderr);
    // The engine is in a network of its own: the server too.
    const script = `
      const { readFileSync } = require('node:fs');
      const server = require('node:tls').createServer({ key: readFileSync(process.argv[1]), cert: readFileSync(process.argv[2]) });
      server.on('secureConnection', (socket) => { socket.on('error', () => {}); socket.pipe(process.stdout, { end: false }); });
      server.listen(6514, '127.0.0.1', () => console.log('ready'));`;
    const server = spawn(
      'nsenter',
      [`--net=/run/netns/${engine.netns}`, process.execPath, '-e', script, join(dir, 'key'), join(dir, 'cert')],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      let text = '';
      server.stdout.on('data', (data) => {
        text += String(data);
      });
      for (let round = 0; round < 200 && !text.startsWith('ready'); round++) await sleep(50);
      const run = (...more: string[]) =>
        engine.docker([
          ...['run', '--rm', '--log-driver', 'syslog', '--log-opt', 'syslog-address=tcp+tls://127.0.0.1:6514'],
          ...['--log-opt', 'syslog-format=rfc5424', ...more, 'bb:1', 'sh', '-c', 'echo over tls'],
        ]);
      const refused = run();
      assert.equal(refused.status, 125);
      assert.match(refused.stderr, /failed to initialize logging driver: dial tcp 127\.0\.0\.1:6514: .*certificate/);
      assert.equal(run('--log-opt', `syslog-tls-ca-cert=${join(dir, 'cert')}`).status, 0);
      assert.equal(run('--log-opt', 'syslog-tls-skip-verify=true').status, 0);
      for (let round = 0; round < 200 && text.split('over tls').length < 3; round++) await sleep(50);
      const [, length, rest] = /^ready\n(\d+) (<30>1 .*? - over tls\n)\d+ /s.exec(text)!;
      assert.equal(Number(length), rest!.length);
    } finally {
      server.kill();
    }
  });

  test('journald: an entry for each line with the fields of Docker', async () => {
    const path = join(dir, 'journal');
    const made = mkdirSync('/run/systemd', { recursive: true });
    // Where journald listens, in the mount namespace of this engine alone.
    const journal = spawn('python3', ['-c', datagrams, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const other = await startBerth({
      under: [
        'unshare',
        '--mount',
        '--propagation',
        'slave',
        'sh',
        '-c',
        `mount -t tmpfs none /run/systemd && mkdir /run/systemd/journal && ln -s ${path} /run/systemd/journal/socket; exec "$@"`,
        'sh',
      ],
    });
    try {
      let text = '';
      journal.stdout.on('data', (data) => {
        text += String(data);
      });
      for (let round = 0; round < 200 && !text.startsWith('ready'); round++) await sleep(50);
      other.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
      other.must(
        ...['run', '--name', 'told', '--log-driver', 'journald', '--label', 'com.team=blue', '-e', 'X=1'],
        ...['--log-opt', 'labels=com.team', '--log-opt', 'env=X', '--log-opt', 'tag={{.Name}}/t'],
        ...[
          'bb:1',
          'sh',
          '-c',
          'echo fine; sleep 0.3; echo wrong >&2; sleep 0.3; head -c 20000 /dev/zero | tr "\\\\0" x; echo',
        ],
      );
      for (let round = 0; round < 200 && text.split('\n').length < 6; round++) await sleep(50);
      const id = other.must('inspect', '-f', '{{.Id}}', 'told');
      const entries = text
        .split('\n')
        .slice(1, -1)
        .map((hex) =>
          Object.fromEntries(
            Buffer.from(hex, 'hex')
              .toString()
              .trim()
              .split('\n')
              .map((one) => one.split(/=(.*)/s)),
          ),
        );
      const [fine, wrong, part, last] = entries as [
        Record<string, string>,
        Record<string, string>,
        Record<string, string>,
        Record<string, string>,
      ];
      const { SYSLOG_TIMESTAMP, CONTAINER_LOG_EPOCH, ...rest } = fine;
      assert.match(SYSLOG_TIMESTAMP!, /^\d{4}-.*Z$/);
      assert.match(CONTAINER_LOG_EPOCH!, /^[0-9a-f]{64}$/);
      assert.deepEqual(rest, {
        CONTAINER_ID: id.slice(0, 12),
        CONTAINER_ID_FULL: id,
        CONTAINER_NAME: 'told',
        CONTAINER_TAG: 'told/t',
        IMAGE_NAME: 'bb:1',
        SYSLOG_IDENTIFIER: 'told/t',
        COM_TEAM: 'blue',
        X: '1',
        PRIORITY: '6',
        CONTAINER_LOG_ORDINAL: '1',
        MESSAGE: 'fine',
      });
      assert.deepEqual([wrong.MESSAGE, wrong.PRIORITY, wrong.CONTAINER_LOG_ORDINAL], ['wrong', '3', '2']);
      assert.equal(part.MESSAGE!.length + last.MESSAGE!.length, 20_000);
      assert.deepEqual(
        [part, last].map((one) => [
          one.CONTAINER_PARTIAL_ORDINAL,
          one.CONTAINER_PARTIAL_LAST,
          one.CONTAINER_PARTIAL_MESSAGE,
        ]),
        [
          ['1', 'false', 'true'],
          ['2', 'true', undefined],
        ],
      );
      assert.equal(part.CONTAINER_PARTIAL_ID, last.CONTAINER_PARTIAL_ID);
    } finally {
      journal.kill();
      if (made) rmdirSync(made);
      await other[Symbol.asyncDispose]();
    }
  });

  test('options, and a server that is not there, are refused, and nothing is left', () => {
    const create = (...options: string[]) =>
      engine.docker([
        'create',
        '--log-driver',
        'syslog',
        ...options.flatMap((one) => ['--log-opt', one]),
        'bb:1',
        'true',
      ]);
    assert.match(create('bogus=1').stderr, /unknown log opt 'bogus' for syslog log driver/);
    assert.equal(engine.must('ps', '-aq'), '');
    const missing = engine.docker(['run', '--rm', '--log-driver', 'journald', 'bb:1', 'true']);
    assert.equal(missing.status, 125);
    assert.match(missing.stderr, /failed to initialize logging driver: journald is not enabled on this host/);
    assert.match(missing.stderr, /try: start systemd-journald/);
    const gone = join(dir, 'gone');
    const nobody = engine.docker(['run', '--rm', ...syslog(dir), 'bb:1', 'true']);
    assert.match(nobody.stderr, /failed to initialize logging driver: dial unix .*: connect: /);
    assert.match(engine.docker(['create', ...syslog(gone), 'bb:1', 'true']).stderr, /stat .*gone: no such file/);
    assert.equal(engine.must('ps', '-aq'), '');
    engine.must('create', '--name', 'unread', '--log-driver', 'journald', '--log-opt', 'cache-disabled=true', 'bb:1');
    assert.match(engine.docker(['logs', 'unread']).stderr, /configured logging driver does not support reading/);
    engine.must('rm', 'unread');
  });
});
