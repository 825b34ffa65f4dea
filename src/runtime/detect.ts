import { execFile } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { codeOf, messageOf } from '../base/errors.ts';
import type { Cgroups } from './cgroups.ts';
import type { RuntimeInfo } from './runtime.ts';

const run = promisify(execFile);

export interface ConfiguredRuntime {
  readonly name: string;
  /** A path, or a name to be found in the directories of programs. */
  readonly path: string;
}

export interface DetectedRuntime extends RuntimeInfo {
  /** What it is by its own word; a runtime of another name may be a crun. */
  readonly family: 'crun' | 'runc' | 'other';
}

const directories = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/usr/libexec/crun',
];

/** Looks at one runtime: its version, and whether it can be used on this machine. */
export async function detectRuntime(
  { name, path }: ConfiguredRuntime,
  { cgroups, scratch }: { readonly cgroups: Cgroups; readonly scratch: string },
): Promise<DetectedRuntime> {
  const found = await locate(path);
  if (!found) return { name, path, version: '', family: 'other', broken: `${path}: no such program` };
  try {
    const { stdout } = await run(found, ['--version'], { timeout: 10_000 });
    const version = /version[ :]+(\S+)/.exec(stdout)?.[1] ?? stdout.split('\n')[0]!.trim();
    const word = /^(crun|runc)\b/.exec(stdout)?.[1] ?? basename(found);
    const family = word === 'crun' || word === 'runc' ? word : 'other';
    const broken = family === 'crun' ? await whyCrunFails(found, { cgroups, scratch }) : undefined;
    return { name, path: found, version, family, broken };
  } catch (error) {
    return { name, path: found, version: '', family: 'other', broken: `${found} --version: ${messageOf(error)}` };
  }
}

/**
 * crun 1.8 refuses a machine with version 1 hierarchies whose version 2 hierarchy still has a controller. Only there it
 * is tried out, with a container that has no program: it must fail for that and for nothing before it.
 */
async function whyCrunFails(
  path: string,
  { cgroups, scratch }: { readonly cgroups: Cgroups; readonly scratch: string },
): Promise<string | undefined> {
  const { v1, v2 } = cgroups.mounts;
  if (v1.size === 0 || !v2) return undefined;
  const left = (await readFile(join(v2, 'cgroup.controllers'), 'utf8').catch(() => '')).trim();
  if (left === '') return undefined;
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const bundle = await mkdtemp(join(scratch, 'probe-'));
  const id = `berth-${basename(bundle)}`;
  const cgroup = `/${id}`;
  try {
    await mkdir(join(bundle, 'rootfs'));
    await writeFile(join(bundle, 'config.json'), JSON.stringify(probeSpec(cgroup)));
    const said = await run(path, ['--root', join(bundle, 'state'), 'run', '--bundle', bundle, id], {
      timeout: 10_000,
    }).then(
      () => '',
      (error: { stderr?: string }) => (error.stderr ?? messageOf(error)).trim(),
    );
    if (/executable file .* not found|open executable/.test(said)) return undefined;
    return `${said} (the version 2 hierarchy still has ${left.replaceAll(' ', ', ')})`;
  } finally {
    await cgroups.remove(cgroup).catch(() => {});
    await rm(bundle, { recursive: true, force: true });
  }
}

function probeSpec(cgroupsPath: string) {
  return {
    ociVersion: '1.0.0',
    process: { user: { uid: 0, gid: 0 }, args: ['/berth-probe'], env: ['PATH=/'], cwd: '/' },
    root: { path: 'rootfs' },
    mounts: [],
    linux: { cgroupsPath, namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }] },
  };
}

async function locate(path: string): Promise<string | undefined> {
  for (const candidate of path.includes('/') ? [path] : directories.map((directory) => join(directory, path)))
    try {
      await access(candidate, constants.X_OK);
      return candidate;
    } catch (error) {
      const code = codeOf(error);
      if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'ENOTDIR') throw error;
    }
  return undefined;
}
