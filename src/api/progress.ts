import { EngineError, messageOf } from '../base/errors.ts';
import type { Progress } from '../images/images.ts';
import { codeOfError, textOfError } from './errors.ts';
import { type Reply, stream } from './reply.ts';
import type { ApiRequest } from './request.ts';

/**
 * A progress stream. What fails before the first line is a status; what fails later is the last line. The work ends with
 * the client: nobody waits for it any more.
 */
export async function progressReply(
  request: ApiRequest,
  work: (signal: AbortSignal) => AsyncIterable<Progress>,
): Promise<Reply> {
  const controller = new AbortController();
  const gone = () => controller.abort(new EngineError('canceled', 'the client went away'));
  request.signal.addEventListener('abort', gone, { once: true });
  if (request.signal.aborted) gone();
  const lines = work(controller.signal)[Symbol.asyncIterator]();
  const first = await lines.next();
  return stream('application/json', async (out) => {
    out.signal.addEventListener('abort', gone, { once: true });
    if (out.signal.aborted) gone();
    try {
      for (let next = first; !next.done; next = await lines.next())
        await out.write(`${JSON.stringify(next.value)}\r\n`);
    } catch (error) {
      if (!out.signal.aborted)
        await out.write(
          `${JSON.stringify({ errorDetail: { message: textOfError(error) }, error: messageOf(error), errorCode: codeOfError(error) })}\r\n`,
        );
    } finally {
      await lines.return?.(undefined);
    }
  });
}
