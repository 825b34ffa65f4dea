import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';

export interface Ends {
  readonly input: Readable;
  readonly output: Writable;
  /** Whether whoever started this process is still there. */
  readonly isWatched: () => boolean;
}

/** How often an input that has ended is reason to look whether anybody is left. */
const look = 2000;

/**
 * stdin and stdout of this process. sshd hands out pipes or one socket for both: a stream of our own on each descriptor, where
 * one ends without the other. Those of `process` share their end with it, and stdout of pipes blocks the process.
 */
export function ownEnds(): Ends {
  const parent = process.ppid;
  return {
    input: isSocketOrPipe(0) ? new Socket({ fd: 0, readable: true, writable: false }) : process.stdin,
    output: isSocketOrPipe(1) ? new Socket({ fd: 1, readable: false, writable: true }) : process.stdout,
    isWatched: () => process.ppid === parent,
  };
}

function isSocketOrPipe(fd: number): boolean {
  const facts = fstatSync(fd);
  return facts.isFIFO() || facts.isSocket();
}

/**
 * Carries bytes both ways. The end of the input half-closes the line, and what the engine says after it still comes out.
 * Resolves once the engine's last byte has been written, or when nobody reads any more; never waits for the input then.
 */
export function passOn(line: Duplex, { input, output, isWatched }: Ends): Promise<void> {
  return new Promise((resolve) => {
    let watch: NodeJS.Timeout | undefined;
    const done = () => {
      clearInterval(watch);
      line.destroy();
      resolve();
    };
    // EPIPE: the reader has gone, and with it the reason to go on.
    output.on('error', done);
    output.on('close', done);
    line.on('error', () => output.end(done));
    line.on('close', () => output.end(done));
    line.on('data', (chunk: Buffer) => {
      if (output.write(chunk)) return;
      line.pause();
      output.once('drain', () => line.resume());
    });
    line.once('end', () => output.end(done));

    // Of a session that broke, the input ends as if it had been closed; an attach that is quiet would stay for ever.
    const ended = () => {
      line.end();
      watch ??= setInterval(() => {
        if (!isWatched()) done();
      }, look);
    };
    input.on('error', ended);
    input.once('end', ended);
    input.on('data', (chunk: Buffer) => {
      if (line.writable && !line.write(chunk)) {
        input.pause();
        line.once('drain', () => input.resume());
      }
    });
  });
}
