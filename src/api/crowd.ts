import type { Socket } from 'node:net';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { codeOfError, errorHeader, textOfError } from './errors.ts';
import { jsonText } from './reply.ts';

export interface CrowdDeps {
  /** How many files the engine may have open. */
  readonly limit: number;
  readonly log: Log;
  /** Closes what is only kept for later. */
  readonly makeRoom: () => void;
}

/** How long a client that is to be turned away may take to say what it wants. */
const patience = 2_000;
const tellEvery = 60_000;

/**
 * Too many clients for the descriptors that the engine may have: some are kept back for its own work and for telling those
 * who come too late. Past the limit the kernel would cut them off without a word, and starts would fail half way.
 */
export class Crowd {
  readonly #deps: CrowdDeps;
  readonly #most: number;
  readonly #last: number;
  readonly #turnedAway = new WeakSet<Socket>();
  #told = Number.NEGATIVE_INFINITY;

  constructor(deps: CrowdDeps) {
    const reserve = Math.min(Math.floor(deps.limit / 4), 512);
    this.#deps = deps;
    this.#most = deps.limit - reserve;
    this.#last = deps.limit - Math.floor(reserve / 2);
  }

  arrive(socket: Socket): void {
    const descriptor = descriptorOf(socket);
    if (descriptor < this.#most) return;
    this.#tell();
    this.#deps.makeRoom();
    if (descriptor < this.#last) {
      // Its request is read first: a client that is still writing would not look at an answer.
      this.#turnedAway.add(socket);
      const late = setTimeout(() => socket.destroy(), patience).unref();
      socket.once('close', () => clearTimeout(late));
      return;
    }
    // Written and closed within these calls, so that the next one finds room.
    const refusal = this.refusal();
    const body = jsonText({ message: textOfError(refusal) });
    socket.write(
      `HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n${errorHeader}: ${codeOfError(refusal)}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
    socket.destroy();
  }

  turnsAway(socket: Socket): boolean {
    return this.#turnedAway.has(socket);
  }

  refusal(cause?: unknown): EngineError {
    return new EngineError(
      'unavailable',
      `the engine is busy: too many connections for the ${this.#deps.limit} files that it may have open`,
      {
        hint: 'again when some have ended, or raise the limit: LimitNOFILE in its unit, ulimit -Hn before it is started',
        ...(cause === undefined ? {} : { cause }),
      },
    );
  }

  #tell(): void {
    const now = performance.now();
    if (now - this.#told < tellEvery) return;
    this.#told = now;
    this.#deps.log.warn('connections are refused', { reason: messageOf(this.refusal()) });
  }
}

/** The lowest that was free, as the kernel gives them out: above it nothing is known, below it all is taken. */
function descriptorOf(socket: Socket): number {
  return (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle?.fd ?? -1;
}

/** The process or the machine has no descriptor left, somewhere down the causes. */
export function isOutOfFiles(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if (/^(EMFILE|ENFILE)$/.test(String((at as NodeJS.ErrnoException).code))) return true;
  return false;
}
