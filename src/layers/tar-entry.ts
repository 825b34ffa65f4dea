import { EngineError } from '../base/errors.ts';

export type TarEntryType = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

/**
 * One entry of a tar stream. Names are bytes, not text: here each character of a string is one byte (latin1), so that
 * names in any encoding come through unchanged. `nameText` makes them readable.
 */
export interface TarEntry {
  readonly type: TarEntryType;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of the file when it is read: for a sparse file with its holes. */
  readonly size: number;
  /** Seconds, and nanoseconds 0..999,999,999 to be added. */
  readonly mtime: number;
  readonly mtimeNsec: number;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: ReadonlyMap<string, Buffer> | undefined;
  /** Where its data begins, counted from the first byte of the archive; a multiple of 512. */
  readonly dataOffset: number;
  /** Bytes of data in the archive. */
  readonly storedSize: number;
  /** The parts of a sparse file that are in the archive, one after the other from `dataOffset`. */
  readonly sparse: readonly SparsePart[] | undefined;
}

export interface SparsePart {
  readonly offset: number;
  readonly length: number;
}
/** A name as text for people. */
export function nameText(name: string): string {
  const text = Buffer.from(name.length > 200 ? `${name.slice(0, 200)}…` : name, 'latin1').toString('utf8');
  return JSON.stringify(text).slice(1, -1);
}

export function invalidTar(reason: string): EngineError {
  return new EngineError('invalid', `invalid tar archive: ${reason}`);
}
