import type { ClientRequest } from 'node:http';
import type { Readable } from 'node:stream';

/** What is sent as it is read; opened again for each attempt. */
export interface SentBody {
  readonly length: number;
  readonly open: () => Readable;
  /** Bytes of this attempt that the connection has taken. */
  readonly onSent?: (bytes: number) => void;
}

/** What was to be sent could not be read: no fault of the other side. */
export class SourceFailed extends Error {}

export function isSent(body: string | Uint8Array | SentBody | undefined): body is SentBody {
  return typeof body === 'object' && 'open' in body;
}

/**
 * Sends the body at the pace of the connection, and stops when the answer is here before its end. `moved` is told of
 * each piece that went. Tells whether all of it was sent; what fails ends the request.
 */
export async function sendBody(
  request: ClientRequest,
  { length, open, onSent }: SentBody,
  moved: () => void,
): Promise<boolean> {
  let answered = false;
  request.once('response', () => {
    answered = true;
  });
  const source = open();
  let sent = 0;
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      if (answered || request.destroyed) return false;
      const room = request.write(chunk);
      sent += chunk.length;
      if (!room) await drained(request);
      moved();
      onSent?.(sent);
    }
    if (sent !== length) throw new Error(`${sent} of ${length} bytes were there to be sent`);
    request.end();
    return true;
  } catch (cause) {
    request.destroy(new SourceFailed('the body could not be read', { cause }));
    return false;
  } finally {
    source.destroy();
  }
}

function drained(request: ClientRequest): Promise<void> {
  if (request.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      for (const event of ['drain', 'close', 'response', 'error']) request.off(event, done);
      resolve();
    };
    for (const event of ['drain', 'close', 'response', 'error']) request.once(event, done);
  });
}
