import { parentPort } from 'node:worker_threads';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { WorkerReply, WorkerRequest } from './worker-pool.ts';
import { type LayerJob, writeLayer } from './write-layer.ts';

/** One layer after the other, for `WorkerPool`. */
const port = parentPort;
if (!port) throw new Error('layers/worker runs as a worker thread');

port.on('message', ({ job, stop }: WorkerRequest) => {
  void run(job, new Int32Array(stop)).then((reply) => port.postMessage(reply));
});

async function run(job: LayerJob, stop: Int32Array): Promise<WorkerReply> {
  try {
    const facts = await writeLayer(job, {
      read: (bytes) => port?.postMessage({ kind: 'read', bytes } satisfies WorkerReply),
      check: () => {
        if (Atomics.load(stop, 0) !== 0) throw new EngineError('canceled', 'the layer was canceled');
      },
    });
    return { kind: 'done', facts };
  } catch (error) {
    return {
      kind: 'failed',
      error: {
        kind: error instanceof EngineError ? error.kind : 'internal',
        name: error instanceof Error ? error.name : 'Error',
        message: messageOf(error),
        hint: error instanceof EngineError ? error.hint : undefined,
        code: codeOf(error),
      },
    };
  }
}
