import { constants, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { removeDirectory } from '../base/remove-directory.ts';
import type { Container } from './containers.ts';
import { detailsOf } from './logs.ts';

/** What is known of a container that is gone, as long as its log is kept. */
export interface RemovedContainer {
  readonly id: string;
  readonly name: string;
  /** As it was asked for. */
  readonly image: string;
  readonly created: string;
  /** ISO 8601. */
  readonly removed: string;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** Its log is one stream, as a terminal has it. */
  readonly tty: boolean;
  /** What its log options say of each line. */
  readonly details: string;
}

export interface RemovedLogsDeps {
  /** On the file system of the containers' own folders; each log is a folder in it. */
  readonly root: string;
  /** The folder of a container. */
  readonly directoryOf: (id: string) => string;
  /** Seconds that a log is kept; 0 keeps none. */
  readonly keep: number;
  readonly log: Log;
}

const factsName = 'removed.json';
/** Whoever runs a job a second is not kept from opening this folder. */
const mostKept = 1000;
const idForm = /^[0-9a-f]{64}$/;

/**
 * Logs outlive their containers for a while. What is written beside a log says that it is kept; the folder then moves as it
 * is. A crash in between is made good by the sweep of the next engine, which finds the one or the other.
 */
export class RemovedLogs {
  readonly #deps: RemovedLogsDeps;
  /** Noted, and not swept yet: their logs are where they were. */
  readonly #noted = new Map<string, RemovedContainer>();

  constructor(deps: RemovedLogsDeps) {
    this.#deps = deps;
  }

  /** Before it is swept: that its log is to be kept. Of one that wrote nothing nothing is. */
  note(container: Container): void {
    const { keep, directoryOf, log } = this.#deps;
    const { id, name, created, state, config, files } = container;
    if (keep === 0 || files.log === '') return;
    const size = statSync(files.log, { throwIfNoEntry: false })?.size ?? 0;
    if (size === 0 && !existsSync(`${files.log}.1`) && !existsSync(`${files.log}.1.gz`)) return;
    const { exitCode, oomKilled, startedAt, finishedAt } = state;
    const facts: RemovedContainer = {
      ...{ id, name, image: config.Image, created, removed: new Date().toISOString() },
      ...{ exitCode, oomKilled, startedAt, finishedAt },
      tty: config.Tty,
      details: detailsOf(container),
    };
    try {
      writeFileSync(join(directoryOf(id), factsName), JSON.stringify(facts), { mode: 0o600 });
      this.#noted.set(id, facts);
    } catch (error) {
      log.warn('the log of a removed container is not kept', { container: id, error: messageOf(error) });
    }
  }

  /** Takes the folder of a container that was noted. False when there is nothing to keep. Safe to repeat. */
  async take(id: string): Promise<boolean> {
    const { root, directoryOf } = this.#deps;
    const from = directoryOf(id);
    if (!existsSync(join(from, factsName))) return false;
    await mkdir(root, { recursive: true, mode: 0o700 });
    await rename(from, join(root, id));
    this.#noted.delete(id);
    return true;
  }

  /** The one that was removed last is first. */
  list(): readonly RemovedContainer[] {
    return [...new Set([...this.#noted.keys(), ...this.#ids()])]
      .flatMap((id) => this.#facts(id) ?? [])
      .toSorted((a, b) => (a.removed < b.removed ? 1 : -1));
  }

  /** Throws `not-found`. */
  get(id: string): RemovedContainer {
    const facts = idForm.test(id) ? this.#facts(id) : undefined;
    if (!facts) throw new EngineError('not-found', `no log of a removed container ${id} is kept`);
    return facts;
  }

  /** The log of such a container, where it stays readable while its folder is moved. Throws `not-found`. */
  async open(id: string): Promise<{ readonly path: string } & AsyncDisposable> {
    const kept = join(this.#deps.root, id);
    // It may be moved between two looks.
    for (const directory of [kept, this.#deps.directoryOf(id), kept]) {
      const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY).catch((error: unknown) => {
        if (codeOf(error) !== 'ENOENT') throw error;
      });
      if (handle)
        return {
          path: `/proc/self/fd/${handle.fd}/${id}-json.log`,
          [Symbol.asyncDispose]: () => handle.close(),
        };
    }
    throw new EngineError('not-found', `no log of a removed container ${id} is kept`);
  }

  /** Bytes of each, the one that was removed first before the others. */
  sizes(): readonly { readonly id: string; readonly bytes: number }[] {
    return this.#byAge().map(({ id }) => {
      const directory = join(this.#deps.root, id);
      const bytes = readdirSync(directory).reduce(
        (sum, name) => sum + (statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0),
        0,
      );
      return { id, bytes };
    });
  }

  async drop(id: string): Promise<void> {
    await removeDirectory(join(this.#deps.root, id));
  }

  /** Those that were kept long enough go, what says nothing of itself, and the oldest when there are very many. */
  async purge(now = Date.now()): Promise<void> {
    const all = this.#byAge();
    for (const [at, { id, removed }] of all.entries()) {
      // A clock that was set back keeps nothing for ever.
      const late = !(Math.abs(now - removed) <= this.#deps.keep * 1000);
      if (late || all.length - at > mostKept) await this.drop(id);
    }
  }

  /** By the file that says it: no thousands of them are read each minute. NaN where there is none. */
  #byAge(): readonly { readonly id: string; readonly removed: number }[] {
    return this.#ids()
      .map((id) => ({
        id,
        removed: statSync(join(this.#deps.root, id, factsName), { throwIfNoEntry: false })?.mtimeMs ?? Number.NaN,
      }))
      .toSorted((a, b) => (a.removed || 0) - (b.removed || 0));
  }

  #ids(): readonly string[] {
    const { root } = this.#deps;
    return existsSync(root) ? readdirSync(root).filter((name) => idForm.test(name)) : [];
  }

  #facts(id: string): RemovedContainer | undefined {
    const noted = this.#noted.get(id);
    if (noted) return noted;
    try {
      return JSON.parse(readFileSync(join(this.#deps.root, id, factsName), 'utf8')) as RemovedContainer;
    } catch {
      return undefined;
    }
  }
}
