import { constants, fstatSync, readdirSync, readSync, type Stats } from 'node:fs';
import { codeOf, EngineError } from '../base/errors.ts';
import { type JsonObject, parseJsonObject } from '../oci/validate-json.ts';
import { DirectoryCalls } from '../sys/dirfd.ts';
import { openat2, resolve } from '../sys/openat2.ts';

const AT_FDCWD = -100;
const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Documents of Docker's are some kilobytes; a database of networks has some hundred. */
const mostBytes = 64 * 1024 * 1024;

/** Something of the root that is open for reading. */
export interface Opened extends Disposable {
  readonly fd: number;
  readonly stat: Stats;
  /** The same by a path, for Node and for other programs, as long as it is open. */
  readonly path: string;
}

/**
 * The data root of another engine, for reading only. Paths are relative to it and have no link anywhere: one that leads
 * out, or anywhere else, is refused by the kernel (openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS).
 */
export class ForeignRoot implements Disposable {
  readonly path: string;
  readonly #calls = new DirectoryCalls();
  readonly #fd: number;

  /** Throws `not-found` when there is no such directory. */
  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = this.#calls.open(AT_FDCWD, Buffer.from(path).toString('latin1'), O_RDONLY | O_DIRECTORY);
    } catch (cause) {
      if (codeOf(cause) !== 'ENOENT' && codeOf(cause) !== 'ENOTDIR') throw cause;
      throw new EngineError('not-found', `no data root of Docker at ${path}: there is no such directory`, {
        cause,
        hint: 'berth adopt docker --from DIR',
      });
    }
  }

  [Symbol.dispose](): void {
    this.#calls.close(this.#fd);
  }

  /** Throws SyscallError: ELOOP on a link, EXDEV on a way out. */
  open(path: string, { directory = false }: { readonly directory?: boolean } = {}): Opened {
    // Not to wait for a writer, should it be a pipe.
    const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | (directory ? O_DIRECTORY : 0);
    return this.#opened(
      openat2(this.#fd, path, {
        flags,
        resolve: resolve.beneath | resolve.noSymlinks | resolve.noMagicLinks,
      }),
    );
  }

  /** A file by a path in a tree of this root, whose links are followed as if the tree was all there is. */
  openIn(tree: Opened, path: string): Opened {
    const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
    return this.#opened(openat2(tree.fd, path, { flags, resolve: resolve.inRoot | resolve.noMagicLinks }));
  }

  /** Undefined when it is not there. */
  find(path: string, options: { readonly directory?: boolean } = {}): Opened | undefined {
    try {
      return this.open(path, options);
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
      throw error;
    }
  }

  /** The whole file; undefined when it is not there. Throws `invalid` when it is no file, or too long to be one of Docker's. */
  read(path: string, limit = mostBytes): Buffer | undefined {
    using file = this.find(path);
    if (!file) return undefined;
    if (!file.stat.isFile()) throw new EngineError('invalid', `${path} is not a file`);
    if (file.stat.size > limit) throw new EngineError('invalid', `${path} has ${file.stat.size} bytes, too many`);
    const bytes = Buffer.alloc(file.stat.size);
    let got = 0;
    while (got < bytes.length) {
      const count = readSync(file.fd, bytes, got, bytes.length - got, got);
      if (count === 0) break;
      got += count;
    }
    return bytes.subarray(0, got);
  }

  /** A file with one word in it, as Docker keeps chain IDs and its like. */
  word(path: string): string | undefined {
    return this.read(path, 4096)?.toString('utf8').trim();
  }

  /** A JSON document that is an object; undefined when it is not there. */
  json(path: string, limit = mostBytes): JsonObject | undefined {
    const bytes = this.read(path, limit);
    return bytes && parseJsonObject(path, bytes, limit);
  }

  /** Names in a directory, sorted; none when it is not there. */
  names(path: string): string[] {
    using directory = this.find(path, { directory: true });
    return directory ? readdirSync(directory.path).sort() : [];
  }

  #opened(fd: number): Opened {
    const close = () => this.#calls.close(fd);
    try {
      return { fd, stat: fstatSync(fd), path: `/proc/${process.pid}/fd/${fd}`, [Symbol.dispose]: close };
    } catch (error) {
      close();
      throw error;
    }
  }
}
