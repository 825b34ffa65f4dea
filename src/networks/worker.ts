import { parentPort, workerData } from 'node:worker_threads';
import { codeOf, messageOf } from '../base/errors.ts';
import { KernelState } from './kernel-state.ts';
import type { OperationName, Operations, WorkerAnswer, WorkerConfig, WorkerRequest } from './worker-protocol.ts';

/** The network worker: the one thread that speaks rtnetlink and nftables, and that enters network namespaces. */
const config: WorkerConfig = workerData;
const state = new KernelState(config);

const operations: { [N in OperationName]: (input: Operations[N]['in']) => Operations[N]['out'] } = {
  setup: ({ table, bridges }) => state.setup(table, bridges),
  addBridge: ({ bridge, changes }) => state.addBridge(bridge, changes),
  removeBridges: ({ names }) => state.sandboxes.removeBridges(names),
  addParent: ({ parent }) => {
    state.sandboxes.parents.probe(parent.kind);
    state.sandboxes.parents.ensure(parent);
  },
  removeParent: ({ name }) => state.sandboxes.parents.remove(name),
  create: (request) => state.create(request),
  plug: ({ path, wiring, routes }) => state.sandboxes.plug(path, wiring, routes),
  unplug: ({ path, link, routes }) => state.sandboxes.unplug(path, link, routes),
  resolver: ({ path }) => state.resolver(path),
  sysctls: ({ path, sysctls }) => state.sandboxes.setSysctls(path, sysctls),
  drop: ({ path, standing }) => state.sandboxes.drop(path, standing),
  rules: ({ script }) => state.rules(script),
  change: ({ changes }) => state.change(changes),
  forget: ({ address, ports }) => state.forget(address, ports),
  sweep: ({ paths, bridges }) => state.sweep(paths, bridges),
  changed: () => state.changed(),
  audit: (input) => state.audit(input),
  teardown: () => state.teardown(),
};

parentPort?.on('message', (request: WorkerRequest) => parentPort?.postMessage(answer(request)));

function answer<N extends OperationName>({ id, name, input }: WorkerRequest<N>): WorkerAnswer {
  try {
    return { id, output: operations[name](input) };
  } catch (error) {
    return { id, error: { message: messageOf(error), code: codeOf(error) } };
  }
}
