import { type ErrorCode, errorCodeOf } from '../base/error-codes.ts';
import { messageOf } from '../base/errors.ts';

/** Sequences that begin with ESC, or with its short form of one byte: CSI; OSC, DCS and their like with their text; all others. */
const sequences =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c\n]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g;

/** Control characters but newline and tab, and the marks that make a terminal show letters in another order. */
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** What came from containers, images and registries is text, never a command to the terminal (S28). */
export function plain(text: string): string {
  return text.replace(sequences, '').replace(controls, '');
}

/** The same for what stands on one line. */
export function plainLine(text: string): string {
  return plain(text.replace(/[\n\t]+/g, ' '));
}

/** A sequence that has begun and not ended yet. */
const unfinished =
  /(?:\u001b(?:\[[0-?]*[ -/]*|[\]PX^_][^\u0007\u001b\n]*\u001b?|[ -/]*)|[\u009b\u009d][^\u0007\u009c\n@-~]*)$/;
const longestUnfinished = 4096;

/**
 * Output of a container as it comes, in pieces that end anywhere, made plain. With `colours` those sequences that only set
 * colours stay.
 */
export class PlainOutput {
  readonly #colours: boolean;
  readonly #decoder = new TextDecoder();
  #held = '';

  constructor({ colours }: { readonly colours: boolean }) {
    this.#colours = colours;
  }

  push(chunk: Uint8Array): string {
    const text = this.#held + this.#decoder.decode(chunk, { stream: true });
    const at = text.search(unfinished);
    const whole = at < 0 || text.length - at > longestUnfinished ? text : text.slice(0, at);
    this.#held = text.slice(whole.length);
    return this.#plain(whole);
  }

  end(): string {
    return this.#plain(this.#held + this.#decoder.decode());
  }

  #plain(text: string): string {
    if (!this.#colours) return plain(text);
    return text
      .split(/(\u001b\[[\d;:]*m)/)
      .map((part, index) => (index % 2 === 1 ? part : plain(part)))
      .join('');
  }
}

/** NO_COLOR is honoured, and nothing is coloured that is not read on a terminal. */
export function coloured(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

const codes = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33', cyan: '36' } as const;

export function paint(colour: keyof typeof codes, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return coloured(stream) ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text;
}

/** `berth: what could not be done` and, below it, the next command to try. */
export function printError(message: string, hint?: string, code?: ErrorCode): void {
  process.stderr.write(`${paint('red', 'berth:', process.stderr)} ${plain(message)}\n`);
  if (hint) process.stderr.write(`  try: ${plain(hint)}\n`);
  if (code) process.stderr.write(`  code: ${code}\n`);
}

/** The same for `--json`: on stderr, so that what is on stdout stays what was asked for. */
export function printErrorJson(message: string, hint: string | undefined, code: ErrorCode): void {
  process.stderr.write(`${jsonText({ error: message, code, ...(hint && { try: hint }) })}\n`);
}

/** Whatever was thrown, for people or as JSON. The engine's own advice comes at the end of its message. */
export function printFailure(thrown: unknown, json: boolean): void {
  // Not by class: the bundles of the larger commands have classes of their own.
  const { hint } = (thrown ?? {}) as { hint?: unknown };
  const [message = '', advice] = messageOf(thrown).split(/\n\s*try: /);
  (json ? printErrorJson : printError)(message, typeof hint === 'string' ? hint : advice, errorCodeOf(thrown));
}

/** JSON in which no letter is a command to a terminal: it escapes the control characters below space by itself, these not. */
export function jsonText(value: unknown, indent = 0): string {
  return JSON.stringify(value, null, indent).replace(
    controls,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** What `--json` gives. */
export function printJson(value: unknown): void {
  process.stdout.write(`${jsonText(value, 2)}\n`);
}

/** Columns as wide as their widest cell; the last one is not padded. Nothing is cut: pipes and people both want it all. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map(plainLine));
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]! + 3))).join('');
  return `${all.map((row, index) => (index === 0 ? paint('bold', line(row)) : line(row))).join('\n')}\n`;
}

/** `1.2 GB`, in powers of 1,000. */
export function humanBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `512 MiB`: memory is asked for in powers of 1,024. */
export function humanMemory(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const unit = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** unit;
  return `${Number.isInteger(value) || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
