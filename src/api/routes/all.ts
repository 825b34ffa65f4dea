import type { Adoption } from '../../adopt/adoption.ts';
import type { Log } from '../../base/log.ts';
import type { Containers } from '../../containers/containers.ts';
import type { Events } from '../../events/bus.ts';
import type { Images } from '../../images/images.ts';
import type { Networks } from '../../networks/networks.ts';
import type { Registry } from '../../remotes/registry.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import type { Route } from '../router.ts';
import type { DiskReporter, SystemInfo, Versions } from '../system.ts';
import { adoptRoutes } from './adopt.ts';
import { containerListRoutes } from './container-list.ts';
import { containerRoutes } from './containers.ts';
import { eventRoutes } from './events.ts';
import { execRoutes } from './exec.ts';
import { fileRoutes } from './files.ts';
import { imageArchiveRoutes } from './image-archives.ts';
import { imageRegistryRoutes } from './image-registry.ts';
import { imageRoutes } from './images.ts';
import { networkRoutes } from './networks.ts';
import { pruneRoutes } from './prune.ts';
import { prunePlanRoutes } from './prune-plan.ts';
import { statsRoutes } from './stats.ts';
import { streamRoutes } from './streams.ts';
import { systemRoutes } from './system.ts';
import { unbuiltRoutes } from './unbuilt.ts';
import { volumeRoutes } from './volumes.ts';

/** The rooms of the engine that the API answers from. */
export interface EngineRooms {
  readonly adoption: Adoption;
  readonly containers: Containers;
  readonly images: Images;
  readonly networks: Networks;
  readonly volumes: Volumes;
  readonly events: Events;
  readonly system: SystemInfo;
  readonly disk: DiskReporter;
  readonly registry: Pick<Registry, 'login' | 'resolve' | 'openBlob' | 'search'>;
}

export interface RouteDeps extends EngineRooms {
  readonly versions: Versions;
  readonly log: Log;
  readonly common: readonly string[];
}

/** In this order: a name never hides a word (`/containers/json`), and what is not built comes where it is not in the way. */
export function routesOf(deps: RouteDeps): Route[] {
  return [
    ...systemRoutes(deps),
    ...containerListRoutes(deps),
    ...unbuiltRoutes(deps),
    ...pruneRoutes(deps),
    ...prunePlanRoutes(deps),
    ...containerRoutes(deps),
    ...statsRoutes(deps),
    ...streamRoutes(deps),
    ...execRoutes(deps),
    ...fileRoutes(deps),
    ...imageArchiveRoutes(deps),
    ...imageRegistryRoutes(deps),
    ...imageRoutes(deps),
    ...networkRoutes(deps),
    ...volumeRoutes(deps),
    ...eventRoutes(deps),
    ...adoptRoutes(deps),
  ];
}
