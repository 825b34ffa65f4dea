import { EngineError } from '../base/errors.ts';
import type { EndpointSettings } from '../protocol/container.ts';
import { checkSettings, joinRequest, namesIn } from './endpoints.ts';
import { withDefaults } from './engine-defaults.ts';
import { portRequests } from './ports.ts';
import { type ContainerRecord, isRunning } from './record.ts';
import { type Room, recordKind } from './room.ts';
import { updateNetworkFiles } from './write-network-files.ts';

export { namesIn };

const invalid = (message: string) => new EngineError('invalid', message);
const alone = 'container cannot be connected to multiple networks with one of the networks in private (none) mode';

/** Durable when it returns. A container that runs has the interface then; another one gets it at its next start. */
export async function connect(room: Room, name: string, network: string, settings: EndpointSettings): Promise<void> {
  const { id } = room.store.get(name);
  const { networks } = room.deps;
  await room.queue.run(id, async () => {
    const container = room.store.get(id);
    const { name: key } = networks.get(network);
    refuse(container, key);
    const live = room.live.has(id);
    // A second time is no mistake before a start: what was asked for first stays.
    if (!live && key in container.endpoints) return;
    checkSettings(key, settings);
    const wanted: ContainerRecord = { ...container, endpoints: { ...container.endpoints, [key]: settings } };
    const join = joinRequest(room, wanted, key);
    networks.check(join);
    if (!live) return save(room, wanted);
    const { config, hostConfig } = container;
    const attached = await networks.connect(id, join, {
      ports: portRequests(config, hostConfig),
      dns: withDefaults(hostConfig, room.deps.config.defaults).Dns,
    });
    const { id: NetworkID } = networks.get(network);
    await saveLive(room, container, {
      ...wanted,
      attached,
      endpoints: { ...wanted.endpoints, [key]: { ...settings, NetworkID } },
    });
  });
}

export async function disconnect(
  room: Room,
  name: string,
  network: string,
  { force }: { readonly force: boolean },
): Promise<void> {
  const { networks } = room.deps;
  const { name: key, id: networkId } = networks.get(network);
  if (force && !room.store.find(name)) throw new EngineError('not-found', `endpoint ${name} not found`);
  const { id } = room.store.get(name);
  await room.queue.run(id, async () => {
    const container = room.store.get(id);
    if (key === 'host' && 'host' in container.endpoints)
      throw invalid('container cannot be disconnected from host network or connected to host network');
    if (!(key in container.endpoints))
      // Docker's words differ by whether the container runs.
      throw new EngineError(
        'internal',
        `container ${id} is not connected to ${isRunning(container) ? '' : 'the '}network ${key}`,
      );
    const { [key]: _gone, ...endpoints } = container.endpoints;
    if (!container.attached.some((endpoint) => endpoint.networkId === networkId))
      return save(room, { ...container, endpoints });
    const attached = await networks.disconnect(id, networkId);
    await saveLive(room, container, { ...container, endpoints, attached });
  });
}

function refuse({ hostConfig, endpoints }: ContainerRecord, network: string): void {
  const shares = hostConfig.NetworkMode === 'host' || hostConfig.NetworkMode.startsWith('container:');
  if (shares)
    throw invalid(
      'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  if (network === 'host')
    throw invalid('cannot connect container to host network - container must be created in host network mode');
  if (network === 'none' || 'none' in endpoints) throw invalid(alone);
}

async function save(room: Room, { id, endpoints, attached }: ContainerRecord): Promise<void> {
  const record = room.update(id, { endpoints, attached }, { save: false });
  room.supersede(id);
  if (record) await room.deps.database.write([{ kind: recordKind, key: id, value: record }]);
}

/** The container sees its new addresses by name too: its files are written where they are. */
async function saveLive(room: Room, before: ContainerRecord, record: ContainerRecord): Promise<void> {
  updateNetworkFiles(room, before, record);
  await save(room, record);
}
