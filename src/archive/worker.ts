import { parentPort } from 'node:worker_threads';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { listChanges, packLayer } from './layer-tar.ts';
import { packPath, packRoot, statPath } from './pack.ts';
import type { Job, Reply, Request } from './protocol.ts';
import { unpackInto } from './unpack.ts';

/**
 * Does jobs on the files of containers, many beside each other: each waits, holding its descriptors and one piece, until
 * its next step is asked for. So a client that does not read costs no more than that.
 */
const port = parentPort;
if (!port) throw new Error('archive/worker runs as a worker thread');

const jobs = new Map<number, Generator<unknown, void, Buffer | undefined>>();

port.on('message', (request: Request) => {
  if (request.kind === 'begin') {
    jobs.set(request.id, stepsOf(request.job));
    return;
  }
  const reply = answer(request);
  const value = reply.kind === 'step' ? reply.value : undefined;
  port.postMessage(reply, Buffer.isBuffer(value) ? [value.buffer as ArrayBuffer] : []);
});

function answer(request: Exclude<Request, { kind: 'begin' }>): Reply {
  const { id } = request;
  const job = jobs.get(id);
  if (!job) return { kind: 'end', id };
  try {
    const step = request.kind === 'give-up' ? job.return() : job.next(request.bytes && bufferOf(request.bytes));
    if (!step.done) return { kind: 'step', id, value: step.value };
    jobs.delete(id);
    return { kind: 'end', id };
  } catch (error) {
    jobs.delete(id);
    const kind = error instanceof EngineError ? error.kind : 'internal';
    return { kind: 'failed', id, error: { kind, message: messageOf(error), code: codeOf(error) } };
  }
}

function stepsOf(job: Job): Generator<unknown, void, Buffer | undefined> {
  switch (job.kind) {
    case 'stat':
      return once(() => statPath(job.view, job.path));
    case 'pack':
      return packPath(job.view, job.path);
    case 'export':
      return packRoot(job.view);
    case 'unpack':
      return unpackInto(job.view, job.path, job.options);
    case 'changes':
      return listChanges(job.pair);
    case 'layer':
      return packLayer(job.pair);
  }
}

function* once<T>(make: () => T): Generator<T, void, unknown> {
  yield make();
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
