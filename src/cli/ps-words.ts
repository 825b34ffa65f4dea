import type { ContainerState } from './container-info.ts';
import { exitWord, signalName } from './words.ts';

/** What commands read of an item of `GET /containers/json`. */
export interface Listed {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly State: string;
  readonly Status: string;
  /** Since API 1.52. */
  readonly Health?: { readonly Status: string };
  readonly Ports: readonly {
    readonly IP?: string;
    readonly PrivatePort: number;
    readonly PublicPort?: number;
    readonly Type: string;
  }[];
}

/** How often the restart policy tried, of how often it may; 0: as often as it likes. */
export interface Tries {
  readonly count: number;
  readonly most: number;
}

/** Whether its end is one to be asked about: not a success, and not a stop or Ctrl-C. */
export function isFailure({ State, Status }: Pick<Listed, 'State' | 'Status'>, known?: ContainerState): boolean {
  if (known?.Error || known?.OOMKilled || State === 'dead') return true;
  const code = /^(?:Exited|Restarting) \((\d+)\)/.exec(Status)?.[1];
  return code !== undefined && !['0', '130', '143'].includes(code);
}

/** An item of `GET /berth/stopping`. */
export interface StoppingNow {
  readonly id: string;
  readonly signal: number;
  readonly elapsed: number;
  readonly seconds?: number;
  readonly program: string;
  readonly ignored: boolean;
}

/** `stopping 7 s/10 s (ignores SIGTERM: PID 1 is sh)`. */
export function stoppingText({ signal, elapsed, seconds, program, ignored }: StoppingNow): string {
  const passed = Math.floor(elapsed / 1000);
  if (seconds !== undefined && elapsed > (seconds + 1) * 1000)
    return `stuck in stop: not ended ${passed - seconds} s after SIGKILL`;
  const name = signalName(signal);
  const why = ignored && program !== '' ? ` (ignores ${name}: PID 1 is ${program})` : '';
  return `stopping ${passed} s${seconds === undefined ? '' : `/${seconds} s`}${why}`;
}

/** `up 3 minutes`, `exited (137: killed, out of memory) 3 minutes ago`. `known` is what inspect says of one that failed. */
export function stateText(
  { State, Status }: Pick<Listed, 'State' | 'Status'>,
  known?: ContainerState,
  tries?: Tries,
): string {
  if (known?.Error && (State === 'created' || State === 'exited')) return 'could not start';
  const text = Status.replace(/ \((?:healthy|unhealthy|health: starting)\)$/, '').replace(
    /^(Exited|Restarting) \((\d+)\)/,
    (_, word: string, code: string) => `${word} (${[code, reason(Number(code), known)].filter(Boolean).join(': ')})`,
  );
  const lower = (text.charAt(0).toLowerCase() + text.slice(1)).replace(/ (?:About|Less) /, (word) =>
    word.toLowerCase(),
  );
  if (State === 'restarting' && tries && tries.count > 0)
    return lower.replace(/^restarting/, `restarting ${tries.count}${tries.most > 0 ? `/${tries.most}` : ''}`);
  return State === 'paused' ? lower.replace(/ \(Paused\)$/, ', paused') : lower;
}

function reason(code: number, known: ContainerState | undefined): string {
  return [exitWord(code), known?.OOMKilled ? 'out of memory' : ''].filter(Boolean).join(', ');
}

/** '' without a health check. */
export function healthText({ Health, Status }: Pick<Listed, 'Health' | 'Status'>): string {
  const status = Health?.Status ?? /\((?:health: )?(healthy|unhealthy|starting)\)$/.exec(Status)?.[1] ?? 'none';
  return status === 'none' ? '' : status;
}

/** `:8080→80` is open to everyone, `8080→80 local` to this machine. IPv4 and IPv6 of one port are one. */
export function portsText(ports: Listed['Ports']): string {
  const texts = ports.map(({ IP, PrivatePort, PublicPort, Type }) => {
    const inside = Type === 'tcp' ? `${PrivatePort}` : `${PrivatePort}/${Type}`;
    if (PublicPort === undefined) return inside;
    if (IP === '0.0.0.0' || IP === '::' || IP === undefined) return `:${PublicPort}→${inside}`;
    return IP === '127.0.0.1' || IP === '::1' ? `${PublicPort}→${inside} local` : `${IP}:${PublicPort}→${inside}`;
  });
  return [...new Set(texts)].join(', ') || '-';
}
