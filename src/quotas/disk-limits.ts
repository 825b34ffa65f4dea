import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KeyedQueue } from '../base/async.ts';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { LoopCalls } from '../sys/loop.ts';
import { MountCalls } from '../sys/mount.ts';
import { ProjectQuotaCalls } from '../sys/project-quota.ts';

/** The file with a file system of its own, in the home that it limits. */
export const imageName = 'limited.ext4';

/** Made where it is tried how directories are limited. */
const probeName = '.limit-probe';

/** Below it ext4 has no room for itself. */
const leastImage = 1024 ** 2;

/** So many projects are ours to choose from; others on the same file system start at 1. */
const firstProject = 0x42000000;
const projects = 0x01000000;

/** What limits directories on one file system. */
export type LimitedBy =
  | { readonly how: 'project' }
  | { readonly how: 'image' }
  | { readonly how: 'none'; readonly why: string; readonly hint: string };

/**
 * Directories that hold no more than they are allowed. A *home* is a directory of ours, `place` the one that the limited
 * files are in. With project quotas both are what they were: all below the home counts. Elsewhere the home gets a sparse file
 * with an ext4 file system, and that is mounted at the place.
 *
 * No record says which: the home itself does, by its project or its file, so nothing is left of one that is removed, whatever
 * was interrupted.
 */
export class DiskLimits {
  readonly #programs: readonly string[];
  readonly #quotas = new ProjectQuotaCalls();
  readonly #loops = new LoopCalls();
  readonly #mounts = new MountCalls();
  /** By place: what is mounted twice has to be unmounted twice. */
  readonly #queue = new KeyedQueue();
  readonly #known = new Map<number, LimitedBy>();
  /** Chosen, and not yet the kernel's to tell. */
  readonly #taken = new Set<number>();

  constructor({ programs = programDirectories }: { readonly programs?: readonly string[] } = {}) {
    this.#programs = programs;
  }

  /** How directories below `root`, which exists, are limited: tried once for each file system. */
  by(root: string): LimitedBy {
    const { dev } = statSync(root);
    const known = this.#known.get(dev);
    if (known) return known;
    const tried = this.#try(root);
    // What is lacking may be installed meanwhile.
    if (tried.how !== 'none') this.#known.set(dev, tried);
    return tried;
  }

  /** Throws, with what to do about it, when a directory below `root` cannot be limited to so much. `what` cannot be done. */
  check(root: string, bytes: number, what: string): void {
    const by = this.by(root);
    if (by.how === 'none') throw new EngineError('invalid', `${what}: ${by.why}`, { hint: by.hint });
    if (by.how === 'image' && bytes < leastImage)
      throw new EngineError('invalid', `${what}: ${bytes} bytes are too few for a file system: 1m is the least`);
  }

  /** Limits a home that exists, is empty and nobody's yet. Durable when it returns; a failure leaves the home as it was. */
  async limit(home: string, bytes: number): Promise<void> {
    const by = this.by(dirname(home));
    if (by.how === 'project') this.#limitProject(home, bytes);
    else await this.#makeImage(join(home, imageName), bytes);
  }

  /** Removes what was left in `root` when it was tried and the engine killed. */
  sweep(root: string): void {
    const directory = join(root, probeName);
    this.release(directory);
    rmSync(directory, { recursive: true, force: true });
  }

  /** Whether the files of this home are in a file system of their own, that has to be mounted. */
  hasImage(home: string): boolean {
    return statSync(join(home, imageName), { throwIfNoEntry: false }) !== undefined;
  }

  /** False of one that was copied without its project. */
  isLimited(home: string): boolean {
    return this.hasImage(home) || this.#projectOf(home) !== undefined;
  }

  /** What a home with an image has is at its place when this returns; done twice it is done once. */
  mount(home: string, place: string): Promise<void> {
    return this.#queue.run(place, async () => {
      if (!mountedAt(place)) await this.#mount(join(home, imageName), place);
    });
  }

  /** What is not mounted is no error. With `detach` it is gone from its place even while somebody is in it. */
  unmount(place: string, { detach }: { readonly detach: boolean }): Promise<void> {
    return this.#queue.run(place, async () => {
      if (mountedAt(place)) await this.#mounts.unmountLater(place, { detach });
    });
  }

  async #mount(image: string, place: string): Promise<void> {
    try {
      // The device holds itself while the file system is mounted.
      using device = this.#loops.attach(image);
      await this.#mounts.mountLater({
        source: device.path,
        target: place,
        type: 'ext4',
        // What is deleted takes no room in the file; unwritten tables of inodes read as zeros already; df shows the limit.
        data: 'discard,noinit_itable,minixdf',
      });
    } catch (error) {
      throw new EngineError('unavailable', `mount ${image} at ${place}: ${messageOf(error)}`, {
        cause: error,
        hint: codeOf(error) === 'ENOENT' ? 'modprobe loop' : `dmesg | tail; e2fsck -f ${image}`,
      });
    }
  }

  /** Before a home is deleted: its project may be another's afterwards. */
  release(home: string): void {
    const project = this.#projectOf(home);
    if (project === undefined) return;
    this.#taken.delete(project);
    // Quotas that are switched off meanwhile have no limit to take back.
    ignoring(['ESRCH', 'ENOSYS'], () => this.#quotas.setLimit(home, project, 0));
  }

  /** Ours; undefined is none, also where there is no home, or no projects on its file system. */
  #projectOf(home: string): number | undefined {
    const project = ignoring(['ENOENT', 'ENOTTY', 'EOPNOTSUPP', 'ENOTSUP', 'EINVAL'], () =>
      this.#quotas.projectOf(home),
    );
    return project !== undefined && isOurs(project) ? project : undefined;
  }

  #limitProject(home: string, bytes: number): void {
    const project = this.#freeProject(home);
    this.#taken.add(project);
    try {
      // In this order: a crash in between leaves a home whose project has no limit, and not a limit that nobody knows.
      this.#quotas.setProject(home, project);
      this.#quotas.setLimit(home, project, bytes);
    } catch (error) {
      this.release(home);
      this.#taken.delete(project);
      throw error;
    }
  }

  #freeProject(path: string): number {
    for (let tries = 0; tries < 1000; tries++) {
      const project = firstProject + randomInt(projects);
      if (!this.#taken.has(project) && this.#isUnused(path, project)) return project;
    }
    throw new EngineError('unavailable', `limit ${path}: no project of the file system is free`);
  }

  #isUnused(path: string, project: number): boolean {
    // XFS knows only the projects that there were.
    const use = ignoring(['ENOENT'], () => this.#quotas.use(path, project));
    return !use || (use.limit === 0 && use.inodes === 0);
  }

  async #makeImage(image: string, bytes: number): Promise<void> {
    try {
      await using file = await open(image, 'wx', 0o600);
      await file.truncate(bytes);
      await run('mkfs.ext4', ['-q', '-F', '-m', '0', '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard', image]);
      // Programs that want an empty directory, databases above all, are to find one.
      await run('debugfs', ['-w', '-R', 'rmdir lost+found', image]);
      await file.sync();
    } catch (error) {
      await rm(image, { force: true });
      if (codeOf(error) === 'EFBIG')
        throw new EngineError('invalid', `limit ${dirname(image)}: no file here can have ${bytes} bytes`, {
          cause: error,
        });
      // What mkfs and debugfs say is all there is to know it by.
      if (codeOf(error) === 'ENOSPC' || /No space left on device/.test(messageOf(error)))
        throw new EngineError('unavailable', `limit ${dirname(image)}: no space left on device`, {
          cause: error,
          hint: 'free space on the disk that holds it: berth df shows what takes it, berth prune what can go',
        });
      throw error;
    }
    // Its name too.
    for (const folder of [dirname(image), dirname(dirname(image))]) {
      await using directory = await open(folder, 'r');
      await directory.sync();
    }
  }

  #try(root: string): LimitedBy {
    this.sweep(root);
    const directory = join(root, probeName);
    let project: string;
    try {
      mkdirSync(directory, { mode: 0o700 });
      // A number that no file system has by chance.
      const bytes = 1234 * 4096;
      this.#limitProject(directory, bytes);
      mkdirSync(join(directory, 'in'));
      const { blocks, bsize } = statfsSync(join(directory, 'in'));
      if (blocks * bsize === bytes) return { how: 'project' };
      project = 'its project quotas are counted and not enforced';
    } catch (error) {
      project = `it has no project quotas (${messageOf(error)})`;
    } finally {
      this.sweep(root);
    }
    const lacking = this.#imageLacks();
    if (!lacking) return { how: 'image' };
    return {
      how: 'none',
      why: `the file system of ${root}: ${project}; and a file with one of its own cannot be had: ${lacking.why}`,
      hint: `${lacking.hint}, or put ${root} on XFS mounted with pquota, or on ext4 with the feature project mounted with prjquota`,
    };
  }

  #imageLacks(): { readonly why: string; readonly hint: string } | undefined {
    for (const program of ['mkfs.ext4', 'debugfs'])
      if (!this.#programs.some((place) => statSync(join(place, program), { throwIfNoEntry: false })))
        return { why: `there is no ${program}`, hint: 'install e2fsprogs' };
    if (!statSync('/dev/loop-control', { throwIfNoEntry: false }))
      return { why: 'there is no /dev/loop-control', hint: 'modprobe loop' };
    return undefined;
  }
}

const programDirectories = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

const isOurs = (project: number) => project >= firstProject && project < firstProject + projects;

/** A file system of its own has a device of its own. */
function mountedAt(place: string): boolean {
  const there = statSync(place, { throwIfNoEntry: false });
  return there !== undefined && there.dev !== statSync(dirname(place)).dev;
}

function ignoring<T>(codes: readonly string[], call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (!codes.includes(codeOf(error) ?? '')) throw error;
    return undefined;
  }
}

function run(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { cwd: '/', env: { PATH: programDirectories.join(':'), LC_ALL: 'C.UTF-8' }, timeout: 120_000 };
    execFile(program, args, options, (error, _, stderr) => {
      if (!error) return resolve();
      const said = stderr.trim().split('\n').at(-1);
      reject(new EngineError('unavailable', `${program} ${args.at(-1)}: ${said || error.message}`, { cause: error }));
    });
  });
}
