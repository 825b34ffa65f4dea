import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { EngineError, messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { namedByOptions } from '../log-attributes.ts';
import { isForwarded } from '../log-config.ts';
import { type LogFile, openLog } from '../log-files.ts';
import { tagOf } from '../log-tag.ts';
import { walkLog } from '../log-walk.ts';
import type { ContainerRecord } from '../record.ts';
import { fieldName, journalSocket, openJournald } from './journald.ts';
import { LogLines } from './lines.ts';
import type { LogMessage, LogSink } from './message.ts';
import { openSyslog } from './syslog.ts';

/** Bytes that are sent at a time. */
const block = 64 * 1024;
/** Milliseconds between two tries of a server that is away; the longest. */
const firstPause = 250;
const longestPause = 10_000;
/** Milliseconds after which what was sent is written down: what a crash sends a second time. */
const saveEvery = 500;
/** Milliseconds that a removal waits for what was not sent yet. */
const removalPatience = 5_000;
/** Of a file that is known again by its beginning. */
const known = 256;

/** How far a log was sent. */
interface Sent {
  /** The file, also after it was packed. */
  readonly inode: string;
  /** Of its first bytes: an inode is given again. */
  readonly first: { readonly length: number; readonly crc: number };
  readonly offset: number;
}

export interface ForwardsDeps {
  readonly directory: (id: string) => string;
  readonly log: Log;
  /** Where journald listens. */
  readonly journal?: string;
}

/**
 * The drivers `syslog` and `journald`. A container's monitor writes its log to a file as ever; from there it is sent on, and
 * how far is written down: nothing is lost while the engine or the server is away, and after a crash the last moments are
 * sent again. What rotated out of existence before the server came back is lost.
 */
export class LogForwards {
  readonly #deps: ForwardsDeps;
  readonly #forwards = new Map<string, Forward>();
  /** Of containers that are starting. */
  readonly #opened = new Map<string, LogSink>();
  readonly #closing = new AbortController();

  constructor(deps: ForwardsDeps) {
    this.#deps = deps;
  }

  /**
   * Before a start: throws in Docker's words when nobody takes the log. Not before one by the restart policy: a service does
   * not stay down because its log server is away, which gets the lines later.
   */
  async prepare(container: ContainerRecord): Promise<void> {
    if (!isForwarded(container.hostConfig.LogConfig) || container.state.status === 'restarting') return;
    try {
      const sink = await this.#open(container);
      await this.abandon(container.id);
      this.#opened.set(container.id, sink);
    } catch (cause) {
      const { kind, hint } = cause instanceof EngineError ? cause : { kind: 'internal' as const, hint: undefined };
      throw new EngineError(kind, `failed to initialize logging driver: ${messageOf(cause)}`, {
        cause,
        ...(hint !== undefined && { hint }),
      });
    }
  }

  /** The start came to nothing. */
  async abandon(id: string): Promise<void> {
    const sink = this.#opened.get(id);
    this.#opened.delete(id);
    await sink?.[Symbol.asyncDispose]();
  }

  /** Sends what there is, and what comes until `ended`; undefined when it does not run. */
  begin(container: ContainerRecord, ended: Promise<unknown> | undefined): void {
    const { id, hostConfig } = container;
    if (!isForwarded(hostConfig.LogConfig) || this.#closing.signal.aborted) return;
    const sink = this.#opened.get(id);
    this.#opened.delete(id);
    const before = this.#forwards.get(id);
    if (before?.again(ended, sink)) return;
    const { log, directory } = this.#deps;
    const forward = new Forward({
      container,
      state: join(directory(id), 'sent.json'),
      log,
      open: () => this.#open(container),
      signal: this.#closing.signal,
    });
    forward.again(ended, sink);
    this.#forwards.set(id, forward);
    void forward.run().finally(() => {
      if (this.#forwards.get(id) === forward) this.#forwards.delete(id);
    });
  }

  /** Before a removal: until everything of a container that has ended was sent, or for a few seconds. */
  async drained({ id, name }: ContainerRecord, patience = removalPatience): Promise<void> {
    const forward = this.#forwards.get(id);
    if (!forward) return;
    const late = new AbortController();
    const inTime = await Promise.race([
      forward.finished.then(() => true),
      sleep(patience, false, { signal: late.signal }).catch(() => true),
    ]);
    late.abort();
    if (inTime) return;
    this.#deps.log.warn('the last lines of a removed container were not sent: its log server is away', { id, name });
    await forward.stop();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#forwards.values()].map(({ finished }) => finished));
    for (const id of [...this.#opened.keys()]) await this.abandon(id);
  }

  async #open(container: ContainerRecord): Promise<LogSink> {
    const { Type, Config } = container.hostConfig.LogConfig;
    const options = Config ?? {};
    const tag = tagOf(container, options['tag'] || '{{.ID}}');
    if (Type === 'syslog') return openSyslog(options, tag);
    const named = [...namedByOptions(container)].map(([key, value]): [string, string] => [fieldName(key), value]);
    const fields = {
      CONTAINER_ID: container.id.slice(0, 12),
      CONTAINER_ID_FULL: container.id,
      CONTAINER_NAME: container.name,
      CONTAINER_TAG: tag,
      IMAGE_NAME: container.config.Image,
      SYSLOG_IDENTIFIER: tag,
      ...Object.fromEntries(named.filter(([name]) => name !== '')),
    };
    return openJournald(fields, this.#deps.journal ?? journalSocket);
  }
}

interface ForwardDeps {
  readonly container: ContainerRecord;
  readonly state: string;
  readonly log: Log;
  readonly open: () => Promise<LogSink>;
  readonly signal: AbortSignal;
}

/** The log of one container on its way. */
class Forward {
  readonly #deps: ForwardDeps;
  readonly #stopping = new AbortController();
  readonly #signal: AbortSignal;
  readonly #finished = Promise.withResolvers<void>();
  #ended: Promise<unknown> | undefined;
  /** Asked for anew while it was finishing. */
  #more = false;
  #over = false;
  #sink: LogSink | undefined;
  #sent: Sent | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: ForwardDeps) {
    this.#deps = deps;
    this.#signal = AbortSignal.any([deps.signal, this.#stopping.signal]);
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** It goes on until `ended`. False when it is over. */
  again(ended: Promise<unknown> | undefined, sink: LogSink | undefined): boolean {
    if (this.#over) return false;
    this.#ended = ended;
    this.#more = true;
    if (sink) {
      void this.#sink?.[Symbol.asyncDispose]();
      this.#sink = sink;
    }
    return true;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.finished;
  }

  async run(): Promise<void> {
    const { container, log, state } = this.#deps;
    try {
      this.#sent = readSent(state);
      while (this.#more && !this.#signal.aborted) {
        this.#more = false;
        await this.#walk();
      }
    } catch (error) {
      log.error('the log of a container is not sent any more', { id: container.id, error: messageOf(error) });
    } finally {
      this.#over = true;
      clearTimeout(this.#timer);
      this.#save();
      if (this.#sink) await Promise.resolve(this.#sink[Symbol.asyncDispose]()).catch(() => {});
      this.#finished.resolve();
    }
  }

  async #walk(): Promise<void> {
    const { container } = this.#deps;
    const path = container.files.log;
    const lines = new LogLines();
    const start = await resume(path, this.#sent);
    const walk = walkLog(path, { start, signal: this.#signal, ended: this.#ended, block });
    for await (const { file, data, end } of walk) {
      if (data.length === 0) {
        lines.endOfFile();
        continue;
      }
      const messages = lines.feed(data);
      if (messages.length === 0) continue;
      if (!(await this.#deliver(messages))) return;
      await this.#note(file, end - lines.pending);
    }
  }

  /** False when it was stopped before the other side took them. */
  async #deliver(messages: readonly LogMessage[]): Promise<boolean> {
    const { container, log, open } = this.#deps;
    const { id, name } = container;
    for (let pause = firstPause, away = false; ; pause = Math.min(longestPause, pause * 2)) {
      try {
        this.#sink ??= await open();
        await this.#sink.send(messages);
        if (away) log.info('the log server of a container is there again', { id, name });
        return true;
      } catch (error) {
        if (!away)
          log.warn('the log of a container is kept until its server is there', { id, name, error: messageOf(error) });
        away = true;
      }
      await sleep(pause, undefined, { signal: this.#signal, ref: false }).catch(() => {});
      if (this.#signal.aborted) return false;
    }
  }

  async #note(file: LogFile, offset: number): Promise<void> {
    const inode = String(file.source?.inode ?? file.inode);
    const { first } = this.#sent?.inode === inode && this.#sent.offset <= offset ? this.#sent : { first: undefined };
    this.#sent = { inode, first: first ?? (await beginning(file, Math.min(known, offset))), offset };
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#save();
    }, saveEvery).unref();
  }

  #save(): void {
    if (!this.#sent) return;
    const { state } = this.#deps;
    try {
      writeFileSync(`${state}.new`, JSON.stringify(this.#sent), { mode: 0o600 });
      renameSync(`${state}.new`, state);
    } catch {
      // A full disk, or the container is gone: at worst it is sent again.
    }
  }
}

function readSent(path: string): Sent | undefined {
  try {
    const sent = JSON.parse(readFileSync(path, 'utf8')) as Sent;
    return typeof sent.inode === 'string' && Number.isSafeInteger(sent.offset) && sent.first ? sent : undefined;
  } catch {
    return undefined;
  }
}

/** Where to go on: all there is when the file that was sent last is not here any more. */
async function resume(path: string, sent: Sent | undefined): Promise<{ files: LogFile[]; position: number }> {
  const files = await openLog(path);
  if (!sent) return { files, position: 0 };
  for (const [at, file] of files.entries()) {
    if (String(file.source?.inode ?? file.inode) !== sent.inode) continue;
    const { crc } = await beginning(file, sent.first.length);
    if (crc !== sent.first.crc) continue;
    for (const before of files.splice(0, at)) await before[Symbol.asyncDispose]();
    return { files, position: Math.min(sent.offset, file.size) };
  }
  return { files, position: 0 };
}

async function beginning(file: LogFile, length: number): Promise<Sent['first']> {
  const bytes = Buffer.alloc(length);
  const got = await file.read(bytes, 0);
  return { length, crc: crc32(bytes.subarray(0, got)) };
}
