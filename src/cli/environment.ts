import { readFileSync } from 'node:fs';
import { messageOf } from '../base/errors.ts';
import { type Parsed, UsageError } from './command.ts';

/** What `--env-file` and `--env` say, files first. A bare name takes its value from this process, and is left out without one. */
export function environmentOf(parsed: Parsed, help: string): readonly string[] {
  return [
    ...parsed.values('env-file').flatMap((path) => linesOf(path, '--env-file', help)),
    ...parsed.values('env'),
  ].flatMap((entry) => {
    const name = entry.split('=')[0]!;
    if (name === '') throw new UsageError(`--env ${entry}: a variable needs a name`, help);
    if (entry.includes('=')) return [entry];
    return process.env[entry] === undefined ? [] : [`${entry}=${process.env[entry]}`];
  });
}

/** The lines of a file of `NAME=VALUE`, without comments and empty ones; spaces before a line count for nothing. */
export function linesOf(path: string, option: string, help: string): readonly string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`the file of ${option} cannot be read: ${messageOf(error)}`, help);
  }
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'));
  for (const line of lines) {
    const name = line.split('=')[0]!;
    if (name === '') throw new UsageError(`${option} ${path}: no variable name on line '${line}'`, help);
    if (/\s/.test(name)) throw new UsageError(`${option} ${path}: variable '${name}' contains whitespaces`, help);
  }
  return lines;
}
