import { execFile } from 'node:child_process';
import { access, chmod, constants, mkdir, readdir, readFile, rmdir, stat, statfs, writeFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';

export interface FileFacts {
  readonly directory: boolean;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

export interface FileSystemFacts {
  /** The superblock's magic number. */
  readonly magic: number;
  readonly bytes: number;
  readonly freeBytes: number;
  /** 0 where the file system has no fixed number of them. */
  readonly inodes: number;
  readonly freeInodes: number;
}

/** The machine as the checks see it. Reading never throws: what cannot be read is undefined. */
export interface Host {
  readonly root: boolean;
  readonly architecture: string;
  now(): number;
  /** Text of a file, at most 4 MiB of it; `.gz` is unpacked. */
  read(path: string): Promise<string | undefined>;
  list(path: string): Promise<readonly string[]>;
  stat(path: string): Promise<FileFacts | undefined>;
  statfs(path: string): Promise<FileSystemFacts | undefined>;
  /** Where a program is, by PATH and the system's directories. */
  which(program: string): Promise<string | undefined>;
  /** Output of a program, whether it succeeds or not; undefined when it is not there or takes longer than 500 ms. */
  run(program: string, args: readonly string[]): Promise<string | undefined>;
  /** What fixes do. These throw. */
  readonly change: {
    write(path: string, text: string): Promise<void>;
    chmod(path: string, mode: number): Promise<void>;
    mountCgroup(controller: string, directory: string): Promise<void>;
  };
}

const mostText = 4 * 1024 * 1024;
const systemDirectories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export class LinuxHost implements Host {
  readonly root = process.getuid?.() === 0;
  readonly architecture = process.arch;
  readonly #path: readonly string[];

  constructor({ path = systemDirectories }: { readonly path?: readonly string[] } = {}) {
    this.#path = path;
  }

  now(): number {
    return Date.now();
  }

  async read(path: string): Promise<string | undefined> {
    try {
      const bytes = await readFile(path);
      const content = path.endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: mostText }) : bytes;
      return content.subarray(0, mostText).toString('utf8');
    } catch {
      return undefined;
    }
  }

  async list(path: string): Promise<readonly string[]> {
    return readdir(path).catch(() => []);
  }

  async stat(path: string): Promise<FileFacts | undefined> {
    const facts = await stat(path).catch(() => undefined);
    if (!facts) return undefined;
    return { directory: facts.isDirectory(), mode: facts.mode & 0o7777, uid: facts.uid, modified: facts.mtimeMs };
  }

  async statfs(path: string): Promise<FileSystemFacts | undefined> {
    const facts = await statfs(path).catch(() => undefined);
    if (!facts) return undefined;
    return {
      magic: facts.type,
      bytes: facts.blocks * facts.bsize,
      freeBytes: facts.bavail * facts.bsize,
      inodes: facts.files,
      freeInodes: facts.ffree,
    };
  }

  async which(program: string): Promise<string | undefined> {
    if (program.includes('/')) return (await executable(program)) ? program : undefined;
    for (const directory of this.#path) {
      const path = `${directory}/${program}`;
      if (await executable(path)) return path;
    }
    return undefined;
  }

  async run(program: string, args: readonly string[]): Promise<string | undefined> {
    const path = await this.which(program);
    if (path === undefined) return undefined;
    return new Promise((done) => {
      const options = { timeout: 500, killSignal: 'SIGKILL', maxBuffer: mostText, env: { LC_ALL: 'C.UTF-8' } } as const;
      execFile(path, args, options, (error, stdout) => {
        done(error && (error.killed || typeof error.code === 'string') ? undefined : stdout);
      });
    });
  }

  readonly change = {
    write: (path: string, text: string) => writeFile(path, text),
    chmod: (path: string, mode: number) => chmod(path, mode),
    mountCgroup: async (controller: string, directory: string) => {
      await mkdir(directory);
      try {
        await new Promise<void>((done, fail) => {
          execFile('mount', ['-t', 'cgroup', '-o', controller, 'cgroup', directory], (error, _, said) =>
            error ? fail(new Error(`mount ${directory}: ${said.trim() || error.message}`, { cause: error })) : done(),
          );
        });
      } catch (error) {
        await rmdir(directory);
        throw error;
      }
    },
  };
}

const executable = (path: string) =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
