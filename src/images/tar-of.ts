/** One entry of a tar that a test makes, hostile ones included: nothing is checked here. */
export interface TestEntry {
  readonly name: string;
  readonly content?: string | Uint8Array;
  /** `0` file, `1` hard link, `2` symbolic link, `5` folder, and so on. */
  readonly type?: string;
  readonly target?: string;
  readonly mode?: number;
}

/** A ustar archive with its end mark. */
export function tarOf(entries: readonly TestEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(entryBytes), Buffer.alloc(1024)]);
}

function entryBytes({ name, content = '', type = '0', target = '', mode = 0o644 }: TestEntry): Buffer[] {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  header.write('0000000\x000000000\0', 108);
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(target, 157, 100);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
}
