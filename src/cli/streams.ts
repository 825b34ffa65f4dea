import type { Duplex } from 'node:stream';
import type { EngineClient } from '../client/client.ts';
import { DetachScanner, defaultDetachKeys } from '../containers/detach-keys.ts';
import { parseDetachKeys } from '../protocol/detach-keys.ts';
import { FrameReader } from '../protocol/frames.ts';

/** Writes frames to stdout and stderr as they come. Waits for nothing: the terminal is faster than any container. */
export function frameWriter(): (chunk: Buffer) => void {
  const reader = new FrameReader((type, payload) => (type === 2 ? process.stderr : process.stdout).write(payload));
  return (chunk) => reader.push(chunk);
}

export interface Session {
  readonly client: EngineClient;
  readonly stream: Duplex;
  readonly multiplexed: boolean;
  readonly stdin: boolean;
  readonly tty: boolean;
  /** Where the terminal's size goes: `/containers/x/resize`. */
  readonly resizePath: string;
  /** Keys that end this and not the process, as `ctrl-p,ctrl-q`; undefined is these. */
  readonly detachKeys?: string | undefined;
}

/**
 * Connects this terminal with a process in a container until its output has ended: keys go in as they are, the size
 * follows, and the terminal is given back as it was. Whether it was left by the detach keys.
 */
export async function converse(session: Session): Promise<boolean> {
  const { client, stream, multiplexed, stdin, tty, resizePath } = session;
  const write = multiplexed ? frameWriter() : (chunk: Buffer) => process.stdout.write(chunk);
  const resize = () => {
    const { rows, columns } = process.stdout;
    if (rows && columns) void client.json('POST', resizePath, { query: { h: rows, w: columns } }).catch(() => {});
  };
  const raw = tty && stdin && process.stdin.isTTY;
  if (raw) process.stdin.setRawMode(true);
  if (tty && process.stdout.isTTY) {
    resize();
    process.stdout.on('resize', resize);
  }
  let detached = false;
  // The engine looks for them too, and ends the stream: only here is it known why.
  const keys = new DetachScanner(parseDetachKeys(session.detachKeys ?? '') ?? defaultDetachKeys);
  const watch = (chunk: Buffer) => {
    detached ||= keys.scan(chunk).detached;
  };
  if (stdin) {
    if (tty) process.stdin.on('data', watch);
    process.stdin.pipe(stream);
  }
  try {
    for await (const chunk of stream) write(chunk as Buffer);
  } finally {
    process.stdout.off('resize', resize);
    if (stdin) {
      process.stdin.off('data', watch);
      process.stdin.unpipe(stream);
      process.stdin.pause();
    }
    if (raw) process.stdin.setRawMode(false);
  }
  return detached;
}
