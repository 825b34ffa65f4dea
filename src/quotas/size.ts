import { EngineError } from '../base/errors.ts';

const units = 'kmgtp';

/** Bytes of a size as people write it to Docker: `100m`, `1.5g`, `10 GiB`. Throws `invalid` in Docker's words. */
export function readSize(text: string): number {
  const bad = (why: string) => new EngineError('invalid', why);
  const end = text.search(/[\d. ][^\d. ]*$/);
  if (end < 0) throw bad(`invalid size: '${text}'`);
  const number = text.slice(0, text[end] === ' ' ? end : end + 1);
  const suffix = text.slice(end + 1);
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(number))
    throw bad(`strconv.ParseFloat: parsing ${JSON.stringify(number)}: invalid syntax`);
  const value = Number(number);
  if (value < 0) throw bad(`invalid size: '${text}'`);
  const lower = suffix.toLowerCase();
  if (lower === '' || lower === 'b') return whole(value, text);
  if (!/^[kmgtp](i?b)?$/.test(lower)) throw bad(`invalid suffix: '${lower}'`);
  return whole(value * 1024 ** (units.indexOf(lower[0]!) + 1), text);
}

function whole(bytes: number, text: string): number {
  if (bytes > Number.MAX_SAFE_INTEGER)
    throw new EngineError('invalid', `invalid size: '${text}' is more than any disk has`);
  return Math.floor(bytes);
}
