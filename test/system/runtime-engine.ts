/**
 * An engine to be killed: starts the containers of its second argument (requests in JSON) with the runtime of its first
 * (OciRuntimeDeps without the log), says each id as it runs, and stays.
 */
import { silentLog } from '../../src/base/log.ts';
import { OciRuntime } from '../../src/runtime/oci-runtime.ts';
import type { TaskRequest } from '../../src/runtime/runtime.ts';

const deps = JSON.parse(process.argv[2]!);
const requests = JSON.parse(process.argv[3]!) as TaskRequest[];
const runtime = await OciRuntime.open({ ...deps, log: silentLog });
process.stdout.write('open\n');
for (const request of requests) {
  const task = await runtime.start(request);
  process.stdout.write(`${JSON.stringify({ id: request.id, pid: task.pid, startedAt: task.startedAt })}\n`);
}
setInterval(() => {}, 1000);
