import type { Duplex } from 'node:stream';
import { forward } from './hijack.ts';
import { type StreamReply, stream } from './reply.ts';
import type { ApiRequest } from './request.ts';

/**
 * An attached stream for a client that did not ask to upgrade: output until the connection closes, with neither length
 * nor chunks. Its stdin is the body of the request.
 */
export function takenReply(
  request: ApiRequest,
  attached: Duplex,
  { type, stdin }: { readonly type: string; readonly stdin: boolean },
): StreamReply {
  return {
    ...stream(type, async (out) => {
      const leave = () => attached.destroy();
      out.signal.addEventListener('abort', leave, { once: true });
      if (out.signal.aborted) leave();
      // The body of an exec start is not stdin, and is read by now.
      if (stdin && request.hasBody && !request.message.readableEnded) forward(request.message, attached);
      try {
        for await (const chunk of attached as AsyncIterable<Buffer>) await out.write(chunk);
      } finally {
        attached.destroy();
      }
    }),
    raw: true,
  };
}
