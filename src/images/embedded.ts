import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../base/atomic-file.ts';
import { EngineError, messageOf } from '../base/errors.ts';
import { TarReader } from '../layers/tar.ts';
import { packTar, type TarMember } from '../layers/tar-writer.ts';
import { digestOf } from '../oci/digest.ts';
import type { ImageConfig } from '../oci/image-config.ts';
import { type Descriptor, type Manifest, mediaTypes } from '../oci/manifest.ts';
import { hostPlatform } from '../oci/platform.ts';
import { statusProgram, welcomePage, welcomeStyle } from './welcome-page.ts';

export const welcomeName = 'berth/welcome:latest';

/** Runs a program of the host and gives what it writes. Throws with its last words. */
export type Run = (program: string, args: readonly string[], options: { readonly cwd: string }) => Promise<Buffer>;

export interface WelcomeOptions {
  /** A folder of the caller's; the archive is put there, and nothing else stays. */
  readonly workDir: string;
  readonly run?: Run;
  /** One sentence for each step, before it begins. */
  readonly onStep?: (step: string) => void;
}

export interface WelcomeArchive {
  /** A tar with an OCI layout, for `POST /images/load`. */
  readonly path: string;
  readonly name: string;
}

interface Busybox {
  readonly bytes: Buffer;
  /** Seconds since 1970: when Debian built it. All times in the image are this, so that it always has the same digest. */
  readonly built: number;
  readonly applets: readonly string[];
}

type File = TarMember & { readonly content?: string | Uint8Array };

/**
 * The image that `quickstart` runs: Debian's static BusyBox with a web page, put together on this machine with no
 * registry. The same package gives the same image, to the byte.
 */
export async function assembleWelcome({
  workDir,
  run = runProgram,
  onStep = () => {},
}: WelcomeOptions): Promise<WelcomeArchive> {
  const scratch = await mkdtemp(join(workDir, 'welcome-'));
  try {
    const busybox = await findBusybox({ scratch, run, onStep });
    onStep('Packing the image');
    const path = join(workDir, 'welcome.tar');
    await writeFileAtomic(path, welcomeLayout(busybox));
    return { path, name: welcomeName };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function findBusybox({ scratch, run, onStep }: { scratch: string; run: Run; onStep: (step: string) => void }) {
  const bin = join(scratch, 'busybox');
  const found = await fromPackage({ scratch, run, onStep }).catch(async (error) => {
    onStep('No package to be had; looking for an installed BusyBox');
    return await fromHost().catch(() => {
      throw new EngineError('unavailable', `the welcome image needs Debian's busybox-static: ${messageOf(error)}`, {
        cause: error,
        hint: 'apt-get update && apt-get install busybox-static, then try again',
      });
    });
  });
  if (!isStatic(found.bytes))
    throw new EngineError('unsupported', 'the welcome image needs a static BusyBox; this one needs shared libraries', {
      hint: 'apt-get install busybox-static',
    });
  await writeFile(bin, found.bytes, { mode: 0o700 });
  const applets = (await run(bin, ['--list'], { cwd: scratch })).toString().split('\n');
  return { ...found, applets: applets.filter((name) => /^[\w.[\]-]+$/.test(name) && name !== 'busybox').sort() };
}

async function fromPackage({ scratch, run, onStep }: { scratch: string; run: Run; onStep: (step: string) => void }) {
  const folder = join(scratch, 'package');
  await mkdir(folder);
  await openToApt(scratch, folder);
  onStep('Downloading busybox-static from Debian');
  await run('/usr/bin/apt-get', ['-q', 'download', 'busybox-static'], { cwd: folder });
  const [file] = (await readdir(folder)).filter((name) => name.endsWith('.deb'));
  if (!file) throw new EngineError('unavailable', 'apt-get download busybox-static brought no package');
  onStep('Unpacking it');
  return busyboxIn(await run('/usr/bin/dpkg-deb', ['--fsys-tarfile', join(folder, file)], { cwd: folder }));
}

/** apt downloads as the user _apt, who has to reach the folder. As root it works too, with a warning. */
async function openToApt(scratch: string, folder: string): Promise<void> {
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const uid = /^_apt:[^:]*:(\d+):/m.exec(users)?.[1];
  await chmod(scratch, 0o711);
  if (uid && process.getuid?.() === 0) await chown(folder, Number(uid), -1);
}

/** The program out of a package's tar, which an old Debian has under /bin and a new one under /usr/bin. */
export function busyboxIn(tar: Buffer): { bytes: Buffer; built: number } {
  let wanted = false;
  let built = 0;
  const parts: Buffer[] = [];
  const reader = new TarReader({
    entry: ({ name, type, mtime }) => {
      wanted = type === 'file' && /^(?:\.\/)?(?:usr\/)?bin\/busybox$/.test(name);
      if (wanted) built = mtime;
    },
    data: (piece) => {
      if (wanted) parts.push(piece);
    },
  });
  reader.push(tar);
  reader.finish();
  if (parts.length === 0) throw new EngineError('invalid', 'the package busybox-static has no bin/busybox');
  return { bytes: Buffer.concat(parts), built };
}

async function fromHost(): Promise<{ bytes: Buffer; built: number }> {
  return { bytes: await readFile('/bin/busybox'), built: 0 };
}

/** An ELF file without a program header that asks for an interpreter (PT_INTERP). */
export function isStatic(elf: Buffer): boolean {
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f454c46 || elf[5] !== 1) return false;
  const wide = elf[4] === 2;
  const at = wide ? Number(elf.readBigUInt64LE(32)) : elf.readUInt32LE(28);
  const size = elf.readUInt16LE(wide ? 54 : 42);
  const count = elf.readUInt16LE(wide ? 56 : 44);
  if (at + size * count > elf.length) return false;
  for (let header = 0; header < count; header++) if (elf.readUInt32LE(at + header * size) === 3) return false;
  return true;
}

/** The image as an OCI layout in a tar: the system in one layer, the site in another. */
export function welcomeLayout({ bytes, built, applets }: Busybox): Buffer {
  const blobs = new Map<string, Buffer>();
  const add = (mediaType: string, content: Buffer): Descriptor => {
    const digest = digestOf(content);
    blobs.set(`blobs/${digest.replace(':', '/')}`, content);
    return { mediaType, digest, size: content.length };
  };
  const layers = [systemLayer(bytes, applets), siteLayer()].map((files) =>
    add(mediaTypes.ociLayer, packTar(files.map((file) => ({ ...file, mtime: built })))),
  );
  const created = new Date(built * 1000).toISOString().replace('.000Z', 'Z');
  const config: ImageConfig = {
    created,
    ...hostPlatform(),
    config: {
      ExposedPorts: { '80/tcp': {} },
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Cmd: ['httpd', '-f', '-p', '80', '-h', '/www'],
      WorkingDir: '/',
      // As a namespace's first process BusyBox's httpd ignores every signal that can be ignored, and has nothing to lose.
      StopSignal: 'SIGKILL',
      Labels: {
        'org.opencontainers.image.title': 'Berth welcome',
        'org.opencontainers.image.description': 'A page that shows that the engine works, served by BusyBox',
        'org.opencontainers.image.vendor': 'Berth',
        'org.opencontainers.image.licenses': 'GPL-2.0-only AND Apache-2.0',
        'org.opencontainers.image.created': created,
      },
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    history: [
      { created, created_by: 'busybox-static from Debian, with links for its commands' },
      { created, created_by: 'the welcome page' },
      { created, created_by: 'CMD ["httpd" "-f" "-p" "80" "-h" "/www"]', empty_layer: true },
    ],
  };
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: add(mediaTypes.ociConfig, json(config)),
    layers,
  };
  const annotations = {
    'io.containerd.image.name': `docker.io/${welcomeName}`,
    'org.opencontainers.image.ref.name': 'latest',
  };
  const root = { ...add(mediaTypes.ociManifest, json(manifest)), annotations };
  return packTar([
    { name: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
    { name: 'index.json', content: json({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [root] }) },
    ...[...blobs].map(([name, content]) => ({ name, content })),
  ]);
}

function systemLayer(busybox: Buffer, applets: readonly string[]): File[] {
  const folder = (name: string, mode = 0o755): File => ({ name: `${name}/`, type: 'directory', mode });
  return [
    folder('bin'),
    { name: 'bin/busybox', mode: 0o755, content: busybox },
    ...applets.map((name): File => ({ name: `bin/${name}`, type: 'symlink', linkName: 'busybox', mode: 0o777 })),
    ...['dev', 'etc', 'home', 'proc'].map((name) => folder(name)),
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' },
    { name: 'etc/group', content: 'root:x:0:\nnogroup:x:65534:\n' },
    { name: 'etc/nsswitch.conf', content: 'passwd: files\ngroup: files\nhosts: files dns\n' },
    folder('root', 0o700),
    folder('sys'),
    folder('tmp', 0o1777),
    folder('usr'),
    folder('usr/bin'),
    { name: 'usr/bin/env', type: 'symlink', linkName: '../../bin/busybox', mode: 0o777 },
    folder('var'),
  ];
}

function siteLayer(): File[] {
  return [
    { name: 'www/', type: 'directory' },
    { name: 'www/cgi-bin/', type: 'directory' },
    { name: 'www/cgi-bin/status', mode: 0o755, content: statusProgram },
    { name: 'www/index.html', content: welcomePage },
    { name: 'www/style.css', content: welcomeStyle },
  ];
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** By absolute path, without a shell, in an environment of our own (S08). */
export const runProgram: Run = (program, args, { cwd }) =>
  new Promise((resolve, reject) => {
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' };
    const options = { cwd, env, encoding: 'buffer' as const, maxBuffer: 256 * 1024 * 1024 };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const words = stderr.toString().trim().split('\n').at(-1) || error.message;
      reject(new EngineError('unavailable', `${program} ${args.join(' ')}: ${words}`, { cause: error }));
    });
  });
