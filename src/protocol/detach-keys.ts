import { EngineError } from '../base/errors.ts';

const names: Readonly<Record<string, number>> = {
  del: 127,
  'ctrl-@': 0,
  'ctrl-[': 27,
  'ctrl-\\': 28,
  'ctrl-]': 29,
  'ctrl-^': 30,
  'ctrl-_': 31,
};

/** `ctrl-p,ctrl-q` to the bytes that a terminal sends. '' is undefined: the default. */
export function parseDetachKeys(text: string): Buffer | undefined {
  if (text === '') return undefined;
  return Buffer.from(
    text.split(',').map((key) => {
      const code = names[key] ?? (/^ctrl-[a-z]$/.test(key) ? key.charCodeAt(5) - 96 : undefined);
      if (code !== undefined) return code;
      if (key.length === 1 && key.charCodeAt(0) < 128) return key.charCodeAt(0);
      throw new EngineError('invalid', `Invalid detach keys (${text}) provided: Unknown character: '${key}'`);
    }),
  );
}
