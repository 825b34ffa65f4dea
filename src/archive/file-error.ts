import { codeOf, EngineError } from '../base/errors.ts';

const words: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  ELOOP: 'too many levels of symbolic links',
  EBUSY: 'device or resource busy',
  EROFS: 'read-only file system',
  ENAMETOOLONG: 'file name too long',
  EXDEV: 'invalid cross-device link',
};

/** A path of a container that cannot be used as was asked; `code` as the kernel would say it. */
export class FileError extends EngineError {
  readonly code: string;

  constructor(code: keyof typeof words & string, what: string, cause?: unknown) {
    super(code === 'ENOENT' ? 'not-found' : 'invalid', `${what}: ${words[code]}`, {
      cause,
      ...(code === 'ENOENT' && { code: 'E_NO_SUCH_FILE' }),
    });
    this.code = code;
  }
}

export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}
