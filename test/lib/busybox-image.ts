import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cache } from './engines.ts';

export interface ImageOptions {
  readonly name: string;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Files besides busybox: path to content. */
  readonly files?: Readonly<Record<string, string>>;
}

/**
 * An image made from Debian's static busybox: a docker-archive that `docker load` takes, on any engine. Made with the
 * system's tar, so that what Berth reads was not written by Berth.
 */
export function busyboxArchive({ name, config = {}, files = {} }: ImageOptions): string {
  mkdirSync(cache, { recursive: true });
  const key = createHash('sha256')
    .update(JSON.stringify({ name, config, files, form: 2 }))
    .digest('hex')
    .slice(0, 16);
  const archive = join(cache, `busybox-${key}.tar`);
  if (existsSync(archive)) return archive;
  const work = mkdtempSync(join(cache, 'make-'));
  const root = join(work, 'root');
  for (const directory of ['bin', 'etc', 'tmp', 'root', 'proc', 'sys', 'dev', 'var', 'home'])
    mkdirSync(join(root, directory), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  copyFileSync('/usr/bin/busybox', join(root, 'bin/busybox'));
  chmodSync(join(root, 'bin/busybox'), 0o755);
  const applets = execFileSync('/usr/bin/busybox', ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((applet) => applet && applet !== 'busybox');
  for (const applet of applets) symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nweb:x:1000:1000:web:/home:/bin/sh\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\ndaemon:x:1:\nweb:x:1000:\naudio:x:29:web\nextra:x:2000:web\n');
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  const layer = join(work, 'layer.tar');
  execFileSync('tar', [
    '--sort=name',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mtime=@1700000000',
    '-C',
    root,
    '-cf',
    layer,
    '.',
  ]);
  const diffId = createHash('sha256').update(readFileSync(layer)).digest('hex');
  const image = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    created: '2023-11-14T22:13:20Z',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'], ...config },
    rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] },
    history: [{ created: '2023-11-14T22:13:20Z', created_by: 'busybox from Debian' }],
  };
  const content = JSON.stringify(image);
  const id = createHash('sha256').update(content).digest('hex');
  writeFileSync(join(work, `${id}.json`), content);
  mkdirSync(join(work, diffId));
  renameSync(layer, join(work, diffId, 'layer.tar'));
  writeFileSync(
    join(work, 'manifest.json'),
    JSON.stringify([{ Config: `${id}.json`, RepoTags: [name], Layers: [`${diffId}/layer.tar`] }]),
  );
  execFileSync('tar', ['-C', work, '-cf', `${archive}.${process.pid}`, 'manifest.json', `${id}.json`, diffId]);
  renameSync(`${archive}.${process.pid}`, archive);
  rmSync(work, { recursive: true });
  return archive;
}
