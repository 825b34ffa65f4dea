import { constants } from 'node:os';
import { EngineError } from '../base/errors.ts';

const realTimeLeast = 34;
const realTimeMost = 64;

/** The number of `TERM`, `SIGTERM`, `15` or `SIGRTMIN+3`. Throws `invalid` in Docker's words. */
export function parseSignal(text: string): number {
  const number = /^\d{1,3}$/.test(text) ? Number(text) : named(text.toUpperCase().replace(/^SIG/, ''));
  if (number === undefined || number < 1 || number > realTimeMost)
    throw new EngineError('invalid', `Invalid signal: ${text}`);
  return number;
}

function named(name: string): number | undefined {
  const [, base, sign, offset = '0'] = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name) ?? [];
  if (base) {
    const from = base === 'MIN' ? realTimeLeast : realTimeMost;
    const number = from + (sign === '-' ? -1 : 1) * Number(offset);
    return number >= realTimeLeast && number <= realTimeMost ? number : undefined;
  }
  const key = `SIG${name}`;
  return Object.hasOwn(constants.signals, key) ? constants.signals[key as NodeJS.Signals] : undefined;
}
