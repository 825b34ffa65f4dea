import { constants } from 'node:os';
import { humanDuration } from '../protocol/status-text.ts';

const signalWords: Readonly<Record<string, string>> = {
  SIGHUP: 'hung up',
  SIGINT: 'interrupted',
  SIGQUIT: 'quit',
  SIGILL: 'illegal instruction',
  SIGTRAP: 'trapped',
  SIGABRT: 'aborted itself',
  SIGBUS: 'bad memory access',
  SIGFPE: 'arithmetic error',
  SIGKILL: 'killed',
  SIGSEGV: 'invalid memory access',
  SIGPIPE: 'wrote to a closed pipe',
  SIGALRM: 'alarm clock',
  SIGTERM: 'terminated',
  SIGXCPU: 'processor time used up',
  SIGXFSZ: 'file too large',
  SIGSYS: 'forbidden system call',
};

/** `SIGKILL` for 9; a number without a name is `signal 40`. */
export function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([name, value]) => value === number && name !== 'SIGIOT');
  return found?.[0] ?? `signal ${number}`;
}

/** The signal in an exit code above 128; undefined where there is none. */
export function signalOf(code: number): number | undefined {
  return code > 128 && code <= 128 + 64 ? code - 128 : undefined;
}

/** What an exit code says, in a word or two: for a list. '' where it says nothing but a failure of the program's own. */
export function exitWord(code: number): string {
  const signal = signalOf(code);
  if (signal !== undefined) return signalWords[signalName(signal)] ?? signalName(signal);
  if (code === 126) return 'cannot be executed';
  return code === 127 ? 'command not found' : '';
}

/** The same as a sentence. */
export function exitMeaning(code: number): string {
  const signal = signalOf(code);
  if (signal !== undefined) {
    const word = signalWords[signalName(signal)];
    return `128 + ${signal}, ended by ${signalName(signal)}${word ? ` (${word})` : ''}`;
  }
  switch (code) {
    case 0:
      return 'success';
    case 125:
      return 'by convention: the engine could not run it';
    case 126:
      return 'by convention: the command was found but cannot be executed';
    case 127:
      return 'by convention: the command was not found';
    case 128:
      return 'by convention: it could not be started';
    case 255:
      return 'the program said -1, or the process that watched over it was lost';
    default:
      return 'the program says that it failed; what the number means is its own';
  }
}

/** `3 seconds`, `about a minute`. */
export function span(milliseconds: number): string {
  const text = humanDuration(Math.max(0, milliseconds));
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** `2026-11-25 02:40:11`, by this machine's clock on the wall. */
export function clock(milliseconds: number): string {
  const at = new Date(milliseconds - new Date(milliseconds).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 19).replace('T', ' ');
}

/** Of the API's times; undefined for one that never was. */
export function moment(time: string): number | undefined {
  const at = Date.parse(time);
  return Number.isNaN(at) || time.startsWith('0001-') ? undefined : at;
}

/** `1 time`, `3 times`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
