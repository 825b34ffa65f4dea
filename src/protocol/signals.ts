import { constants } from 'node:os';
import { EngineError } from '../base/errors.ts';

/** `SIGTERM`, `term`, `15`, `RTMIN+3` to a number. Throws `invalid`. */
export function parseSignal(text: string): number {
  const bad = new EngineError('invalid', `invalid signal: ${text}`);
  if (/^[0-9]+$/.test(text)) {
    const number = Number(text);
    if (number < 1 || number > 64) throw bad;
    return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realtime = /^RT(MIN|MAX)(?:([+-])([0-9]{1,2}))?$/.exec(name);
  if (realtime) {
    const step = Number(realtime[3] ?? 0) * (realtime[2] === '-' ? -1 : 1);
    const number = (realtime[1] === 'MIN' ? 34 : 64) + step;
    if (number < 34 || number > 64) throw bad;
    return number;
  }
  const numbers: Readonly<Record<string, number | undefined>> = constants.signals;
  const number = numbers[`SIG${name === 'CLD' ? 'CHLD' : name}`];
  if (number === undefined) throw bad;
  return number;
}
