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

/** What a terminal would obey or turn around (S28); JSON escapes the rest of it. */
const unprintable = /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd]/g;
const hidden = (letter: string) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** A name as text for people. */
export function nameText(name: string): string {
  const text = Buffer.from(name.slice(0, 200), 'latin1').toString('utf8');
  const quoted = JSON.stringify(text).slice(1, -1).replace(unprintable, hidden);
  return name.length > 200 ? `${quoted}…` : quoted;
}

export function invalidTar(reason: string): EngineError {
  return new EngineError('invalid', `invalid tar archive: ${reason}`);
}
