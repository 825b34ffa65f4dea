import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { packTar, type TarMember } from '../../src/layers/tar-writer.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { project, startBerth, type TestEngine } from '../lib/engines.ts';

type Member = TarMember & { readonly content?: string };

interface Result {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Not spawnSync: the engine may be this process. */
function berth(
  socket: string,
  args: readonly string[],
  { cwd = '/', input }: { readonly cwd?: string; readonly input?: Buffer } = {},
): Promise<Result> {
  const child = spawn(process.execPath, ['--', join(project, 'dist/cli-main.js'), ...args], {
    env: { PATH: process.env.PATH, BERTH_SOCKET: socket },
    cwd,
  });
  const out: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (piece: Buffer) => out.push(piece));
  child.stderr.on('data', (piece: Buffer) => {
    stderr += piece;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return new Promise((resolve) =>
    child.once('close', (status) => resolve({ status, stdout: Buffer.concat(out), stderr })),
  );
}

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-cli-files-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('berth cp, diff, export, commit', () => {
  let engine: TestEngine;
  const run = async (...args: string[]) => {
    const result = await berth(engine.socket, args, { cwd: dir });
    assert.equal(result.status, 0, `berth ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.toString();
  };
  const exec = (name: string, command: string) => engine.must('exec', name, 'sh', '-c', command);
  before(async () => {
    engine = await startBerth();
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  });
  after(() => engine[Symbol.asyncDispose]());

  test('files and directories go both ways, under the names that they were to have', async () => {
    engine.must('run', '-d', '--name', 'web', 'bb:1', 'sleep', '1000');
    mkdirSync(join(dir, 'site/deep'), { recursive: true });
    writeFileSync(join(dir, 'site/index'), 'hello');
    writeFileSync(join(dir, 'site/deep/ü'), 'x'.repeat(1_000_000));
    symlinkSync('index', join(dir, 'site/link'));
    await run('cp', 'site', 'web:/new');
    await run('cp', 'site', 'web:/tmp');
    await run('cp', './site/.', 'web:/home');
    await run('cp', 'site/index', 'web:/tmp/renamed');
    await run('cp', '-L', 'site/link', 'web:/tmp/followed');
    assert.equal(
      exec('web', 'cat /new/index /tmp/site/index /home/index /tmp/renamed /tmp/followed; readlink /new/link'),
      'hellohellohellohellohelloindex',
    );
    await run('cp', 'web:/new', 'back');
    await run('cp', 'web:/new', '.');
    await run('cp', 'web:/new/.', 'site');
    await run('cp', 'web:/new/index', 'as-this');
    await run('cp', '-L', 'web:/new/link', 'link-as-file');
    await run('cp', 'web:/new/link', 'link');
    for (const base of ['back', 'new', 'site']) {
      assert.deepEqual(readdirSync(join(dir, base)).sort(), ['deep', 'index', 'link']);
      assert.equal(readFileSync(join(dir, base, 'index'), 'utf8'), 'hello');
      assert.equal(readFileSync(join(dir, base, 'deep/ü')).length, 1_000_000);
    }
    assert.equal(readFileSync(join(dir, 'as-this'), 'utf8'), 'hello');
    assert.ok(lstatSync(join(dir, 'link-as-file')).isFile());
    assert.equal(readlinkSync(join(dir, 'link')), 'index');
    const archive = (await berth(engine.socket, ['cp', 'web:/new', '-'])).stdout;
    assert.equal((await berth(engine.socket, ['cp', '-', 'web:/var'], { input: archive })).status, 0);
    assert.equal(exec('web', 'cat /var/new/index'), 'hello');
    engine.must('rm', '-f', 'web');
  });

  test('what cannot be is refused, and says why', async () => {
    engine.must('create', '--name', 'none', 'bb:1', 'true');
    mkdirSync(join(dir, 'folder'));
    writeFileSync(join(dir, 'file'), 'x');
    for (const [args, message] of [
      [['cp', 'none:/nosuch', 'x'], /Could not find the file \/nosuch in container none/],
      [['cp', 'nosuch:/x', 'x'], /No such container: nosuch/],
      [['cp', 'file', 'nosuch:/x'], /No such container: nosuch/],
      [['cp', 'nosuch', 'none:/x'], /nosuch is not there/],
      [['cp', 'file', 'none:/nosuch/'], /there is no directory none:\/nosuch\//],
      [['cp', 'folder', 'none:/etc/passwd'], /cannot copy a directory onto a file/],
      [['cp', 'none:/etc', 'file'], /cannot copy a directory onto a file/],
      [['cp', 'none:/etc/passwd', 'folder/nosuch/'], /there is no directory folder\/nosuch\//],
      [['cp', 'none:/x', 'none:/y'], /copying between containers/],
      [['cp', 'x', 'y'], /must be a path in a container/],
      [['diff', 'nosuch'], /No such container: nosuch/],
      [['export', 'nosuch'], /No such container: nosuch/],
      [['commit', 'nosuch'], /No such container: nosuch/],
      [['commit', '-c', 'FROM x', 'none'], /FROM is not a valid change command/],
    ] as const) {
      const { status, stderr } = await berth(engine.socket, args, { cwd: dir });
      assert.equal(status, 1, args.join(' '));
      assert.match(stderr, message);
    }
    assert.deepEqual(readdirSync(dir).sort(), ['file', 'folder']);
    engine.must('rm', 'none');
  });

  test('diff, export and commit', async () => {
    engine.must('run', '--name', 'made', 'bb:1', 'sh', '-c', 'echo x >/new; rm /bin/vi; chmod 700 /root');
    assert.equal(await run('diff', 'made'), 'C /bin\nD /bin/vi\nA /new\nC /root\n');
    await run('export', '-o', 'all.tar', 'made');
    const list = spawnSync('tar', ['-tf', join(dir, 'all.tar')], { encoding: 'utf8' });
    assert.match(list.stdout, /^new$/m);
    assert.match(
      await run('commit', '-m', 'words', '-c', 'CMD ["cat", "/new"]', 'made', 'made:1'),
      /^sha256:[0-9a-f]{64}\n$/,
    );
    assert.equal(engine.must('run', '--rm', 'made:1'), 'x');
    engine.must('rm', 'made');
  });
});

describe('S04: an engine or a container that answers with something else than was asked for', () => {
  let server: Server;
  let socket: string;
  let archive: Buffer = Buffer.alloc(0);
  before(async () => {
    const base = mkdtempSync(join(tmpdir(), 'berth-lies-'));
    socket = join(base, 'engine.sock');
    server = createServer((request, response) => {
      const stat = { name: 'd', size: 1, mode: 2 ** 31 + 0o755, mtime: '2026-01-01T00:00:00Z', linkTarget: '' };
      response.setHeader('Api-Version', '1.51');
      if (request.url?.includes('/archive'))
        response.setHeader('X-Docker-Container-Path-Stat', Buffer.from(JSON.stringify(stat)).toString('base64'));
      response.end(request.method === 'HEAD' ? undefined : archive);
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  test('nothing comes but below the name that it was to have', async () => {
    const up = '../'.repeat(20);
    const d: Member = { name: 'd/', type: 'directory' };
    const hostile: readonly (readonly Member[])[] = [
      [{ name: '/etc/evil' }],
      [{ name: 'evil' }],
      [{ name: 'd2/evil' }],
      [{ name: 'dd' }],
      [{ name: '../evil' }],
      [{ name: 'd/../evil' }],
      [{ name: 'd/../../evil' }],
      [{ name: `d/${up}evil` }],
      [{ name: './evil' }],
      [d, { name: 'd/s', type: 'symlink', linkName: '..' }, { name: 'd/s/evil' }],
      [d, { name: 'd/s', type: 'symlink', linkName: '/' }, { name: 'd/s/evil' }],
      [d, { name: 'd/s', type: 'symlink', linkName: '.' }, { name: 'd/s/evil' }],
      [{ name: 'd', type: 'symlink', linkName: '.' }, { name: 'd/evil' }],
      [{ name: 'd', type: 'symlink', linkName: '/tmp' }, { name: 'd/evil' }],
      [d, { name: 'd/h', type: 'hardlink', linkName: '../kept' }, { name: 'd/h', content: 'evil' }],
      [d, { name: 'd/h', type: 'hardlink', linkName: '/kept' }, { name: 'd/h', content: 'evil' }],
      [d, { name: 'd/h', type: 'hardlink', linkName: 'kept' }, { name: 'd/h', content: 'evil' }],
      [d, { name: 'd/s', type: 'symlink', linkName: '../kept' }, { name: 'd/h', type: 'hardlink', linkName: 'd/s/x' }],
      [d, { name: 'd/s', type: 'symlink', linkName: '..' }, { name: 'd/s/kept', content: 'evil' }],
      [{ name: 'kept', type: 'symlink', linkName: '/etc/passwd' }],
    ];
    for (const members of hostile) {
      const at = join(dir, 'at');
      mkdirSync(at);
      writeFileSync(join(at, 'kept'), 'kept');
      archive = packTar(members);
      const { status, stderr } = await berth(socket, ['cp', 'c:/d', '.'], { cwd: at });
      assert.equal(status, 1, JSON.stringify(members));
      assert.match(stderr, /^berth: /);
      for (const name of readdirSync(at))
        assert.ok(['d', 'kept'].includes(name), `${name} by ${JSON.stringify(members)}`);
      assert.equal(readFileSync(join(at, 'kept'), 'utf8'), 'kept');
      assert.ok(lstatSync(join(at, 'kept')).isFile());
      for (const path of ['/evil', '/tmp/evil', '/etc/evil', join(dir, 'evil')]) assert.ok(!existsSync(path), path);
      rmSync(at, { recursive: true });
    }
  });
});
