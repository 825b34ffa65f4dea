import { EngineError, type ErrorKind, messageOf } from '../base/errors.ts';
import type { Resources } from '../oci/runtime-spec.ts';
import type { HostConfig } from '../protocol/container.ts';
import type { ResourceUpdate, UpdateRequest } from '../protocol/update-request.ts';
import { checkHostConfig } from '../runtime/spec/check.ts';
import { resourcesOf } from '../runtime/spec/resources.ts';
import { checkRestartPolicy } from './create.ts';
import { type Room, recordKind } from './room.ts';

/**
 * `docker update`: limits and the restart policy, of what runs at once, of what does not at its next start. All of it is
 * recorded and done, or nothing is. Returns Docker's warnings.
 */
export async function update(room: Room, name: string, request: UpdateRequest): Promise<readonly string[]> {
  const { id } = room.store.get(name);
  const { restartPolicy } = request;
  if (restartPolicy) checkRestartPolicy({ RestartPolicy: restartPolicy, AutoRemove: false });
  return room.queue.run(id, async () => {
    const before = room.store.get(id);
    const asked = { ...before.hostConfig, ...request.resources, ...request.ignored };
    const { hostConfig: checked, warnings } = checkHostConfig(asked, room.deps.machine, { update: true });
    const change = Object.fromEntries(
      Object.keys(request.resources).map((key) => [key, checked[key as keyof ResourceUpdate]]),
    ) as unknown as ResourceUpdate;
    const why =
      room.removing.has(id) || before.state.status === 'dead'
        ? 'container is marked for removal and cannot be "update"'
        : conflictOf(before.hostConfig, change, restartPolicy);
    if (why) throw cannot(id, 'conflict', why);

    const hostConfig = {
      ...before.hostConfig,
      ...given(change),
      ...(restartPolicy && { RestartPolicy: restartPolicy }),
    };
    room.supersede(id);
    await room.deps.database.write([{ kind: recordKind, key: id, value: { ...before, hostConfig } }]);
    const live = room.live.get(id);
    const resources = changedResources(before.hostConfig, change);
    if (live && Object.keys(resources).length > 0)
      try {
        await room.deps.runtime.update(live.task, resources);
      } catch (cause) {
        // What is in memory is what was before.
        const now = room.store.byId(id);
        if (now) room.save(now);
        // A container that ended meanwhile starts with the old limits, and the client is told.
        throw cannot(id, cause instanceof EngineError ? cause.kind : 'internal', messageOf(cause), cause);
      }
    const after = room.update(id, { hostConfig });
    if (after) room.emit(after, 'update');
    return warnings;
  });
}

const cannot = (id: string, kind: ErrorKind, why: string, cause?: unknown) =>
  new EngineError(kind, `Cannot update container ${id}: ${why}`, { cause });

/** What was named: a limit of processes of 0 is no limit, any other 0 says nothing. */
function given(change: ResourceUpdate): Partial<HostConfig> {
  return Object.fromEntries(
    Object.entries(change).filter(([key, value]) =>
      key === 'PidsLimit' ? value !== null : value !== 0 && value !== '',
    ),
  );
}

/** What cannot go together with what it has, in Docker's words. */
function conflictOf(
  have: HostConfig,
  change: ResourceUpdate,
  restartPolicy: UpdateRequest['restartPolicy'],
): string | undefined {
  const blocked = (what: string, by: string) =>
    `Conflicting options: ${what} cannot be updated as ${by} has already been set`;
  if (change.NanoCpus > 0 && have.CpuPeriod > 0) return blocked('Nano CPUs', 'CPU Period');
  if (change.NanoCpus > 0 && have.CpuQuota > 0) return blocked('Nano CPUs', 'CPU Quota');
  if (change.CpuPeriod > 0 && have.NanoCpus > 0) return blocked('CPU Period', 'NanoCPUs');
  if (change.CpuQuota > 0 && have.NanoCpus > 0) return blocked('CPU Quota', 'NanoCPUs');
  if (change.Memory > have.MemorySwap && change.MemorySwap === 0 && change.Memory !== 0)
    return 'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time';
  if (restartPolicy && restartPolicy.Name !== 'no' && have.AutoRemove)
    return 'Restart policy cannot be updated because AutoRemove is enabled for the container';
  return undefined;
}

/** Only what changes, so that the runtime leaves all else alone. */
function changedResources(have: HostConfig, change: ResourceUpdate): Resources {
  const blank = {
    ...have,
    MemorySwappiness: null,
    OomKillDisable: null,
    BlkioWeightDevice: [],
    BlkioDeviceReadBps: [],
    BlkioDeviceWriteBps: [],
    BlkioDeviceReadIOps: [],
    BlkioDeviceWriteIOps: [],
  };
  const resources = resourcesOf({ ...blank, ...change }, {});
  // At a start no limit is what there is; here it takes a word.
  return {
    ...resources,
    ...(change.MemorySwap === -1 && { memory: { ...resources.memory, swap: -1 } }),
    ...(change.PidsLimit === 0 && { pids: { limit: -1 } }),
  };
}
