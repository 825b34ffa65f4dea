import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Adoption } from '../adopt/adoption.ts';
import { EngineError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { EngineContainers } from '../containers/engine-containers.ts';
import { FileContentStore } from '../content/file-store.ts';
import { EventBus } from '../events/event-bus.ts';
import { ImageStore } from '../images/image-store.ts';
import type { ImageUser } from '../images/images.ts';
import { LayerApplier } from '../layers/apply.ts';
import { defaultNetworksConfig, HostNetworks } from '../networks/host-networks.ts';
import { hostPlatform } from '../oci/platform.ts';
import { DiskLimits } from '../quotas/disk-limits.ts';
import { HttpRegistry } from '../remotes/http-registry.ts';
import { buildMonitor } from '../runtime/build-monitor.ts';
import { CdiRegistry } from '../runtime/cdi/registry.ts';
import { OciRuntime } from '../runtime/oci-runtime.ts';
import { ensureAppArmorProfile } from '../runtime/spec/apparmor.ts';
import { readMachine } from '../runtime/spec/machine.ts';
import { makeFoundation } from '../snapshots/foundation.ts';
import { chooseSnapshotter } from '../snapshots/probe.ts';
import { SqliteDatabase } from '../state/sqlite-database.ts';
import { LocalVolumes } from '../volumes/local-volumes.ts';
import type { Config } from './config.ts';
import { containerDefaults } from './container-defaults.ts';
import type { DaemonJson } from './daemon-json.ts';
import { DataRoot } from './data-root.ts';
import { MachineHealth } from './machine-health.ts';
import { preparePlaces } from './places.ts';
import { reloadPlan } from './reload.ts';
import { HostSystem, mirrorsOf } from './system-facts.ts';
import { remapOf } from './userns-remap.ts';
import { versions } from './version.ts';

/**
 * Builds everything, floor by floor, by hand. Reading this is reading the architecture. What was opened is closed in
 * reverse, also when something in the middle fails; containers are never touched by it.
 */
export async function openEngine(config: Config, log: Log) {
  await using opened = new AsyncDisposableStack();
  const { root, runDir } = config;
  let live = config;
  await preparePlaces(config);
  // A second engine on this host has a bridge of its own, and so a table of its own.
  const table = config.bridge === 'berth0' ? 'berth' : `berth-${config.bridge}`;
  const platform = hostPlatform();
  const remap = remapOf(config.usernsRemap);
  const machine = readMachine();
  if (machine.appArmor) {
    // Without it every start says that the profile is missing; images and all else work.
    await ensureAppArmorProfile().catch((error: unknown) =>
      log.error('the AppArmor profile of containers could not be loaded', {
        error: messageOf(error),
        try: 'berth doctor',
      }),
    );
  }

  // The first start in a root compiles it, which takes as long as all the rest: beside it, and waited for below.
  const monitor = buildMonitor({ directory: join(root, 'monitor') });
  monitor.catch(() => {});
  const events = new EventBus({ failed: (error) => log.error('an event listener failed', { error }) });
  const database = opened.use(await SqliteDatabase.open({ path: join(root, 'engine.db') }));
  const id = await engineId(database);
  const content = new FileContentStore({ root: join(root, 'content'), log });
  const limits = new DiskLimits();
  const foundation = makeFoundation(join(root, 'snapshots', 'foundation'));
  if (config.containerSize > 0)
    limits.check(join(root, 'snapshots'), config.containerSize, 'limit the size of containers (containerSize)');
  const snapshots = opened.use(
    chooseSnapshotter({ root: join(root, 'snapshots'), foundation, log, limits, prefer: config.snapshotter }),
  );

  const registry = opened.use(
    new HttpRegistry({
      config: {
        insecure: config.insecureRegistries,
        mirrors: mirrorsOf(config),
        certificates: config.registryCertificates,
        proxies: { http: config.httpProxy, https: config.httpsProxy, none: config.noProxy },
      },
      log,
      userAgent: `berth/${versions.berth}`,
      timing: { stall: config.registryTimeout * 1000, attempts: config.downloadAttempts },
    }),
  );
  const volumes = opened.use(await LocalVolumes.open({ root: join(root, 'volumes'), database, events, log, limits }));
  const networks = opened.use(
    await HostNetworks.open({
      root: join(root, 'networks'),
      runDir: join(runDir, 'networks'),
      database,
      config: {
        ...defaultNetworksConfig,
        bridgeName: config.bridge,
        table,
        subnet: config.bridgeSubnet || undefined,
        mtu: config.mtu,
        gateway: config.bridgeGateway || undefined,
        range: config.bridgeRange || undefined,
        icc: config.bridgeIcc,
        masquerade: config.bridgeMasquerade,
        hostIp: config.bridgeHostIp,
        pools: config.defaultAddressPools,
        options: config.defaultNetworkOptions,
      },
      events,
      log,
    }),
  );
  const runtime = opened.use(
    await OciRuntime.open({
      root: join(runDir, 'runtime'),
      runtimes: Object.entries({ crun: 'crun', runc: 'runc', ...config.runtimes }).map(([name, path]) => ({
        name,
        path,
      })),
      default: config.defaultRuntime || undefined,
      monitor: await monitor,
      cgroupParent: config.cgroupParent,
      log,
    }),
  );

  const applier = opened.use(new LayerApplier({ snapshotter: snapshots, limits: { maxBytes: config.maxLayerSize } }));
  // Images are asked for by containers and ask containers who uses them: the one is built first and told later.
  const users = { of: (_: string): readonly ImageUser[] => [] };
  const transfers = { downloads: config.maxDownloads, uploads: config.maxUploads };
  const images = await ImageStore.open({
    limits: transfers,
    content,
    snapshots,
    applier,
    registry,
    database,
    events,
    users: { usersOf: (image) => users.of(image) },
    platform,
    log,
  });

  const cdi = new CdiRegistry({ directories: config.cdiSpecDirs, log });
  const containers = opened.use(
    await EngineContainers.open({
      root: join(root, 'containers'),
      runDir: join(runDir, 'containers'),
      database,
      events,
      images,
      snapshots,
      networks,
      volumes,
      runtime,
      machine,
      cdi,
      log,
      config: {
        init: existsSync(config.init) ? config.init : '',
        cgroupParent: config.cgroupParent,
        log: {
          type: config.logDriver,
          options: {
            'max-size': String(config.logMaxSize),
            'max-file': String(config.logMaxFiles),
            compress: String(config.logCompress),
          },
        },
        logCap: config.logCap,
        logKeepRemoved: config.logKeepRemoved,
        stopTimeout: config.stopTimeout,
        hostGateway: config.hostGateway || undefined,
        remap,
        defaults: containerDefaults(config),
        size: config.containerSize,
      },
    }),
  );
  users.of = (image) => containers.usersOf(image as Parameters<typeof containers.usersOf>[0]);
  volumes.askUsers(containers.volumeUsers);

  const adoption = await Adoption.open({
    ...{ root, database, content, images, snapshots, volumes, networks, containers, log },
  });

  const health = new MachineHealth({ dataRoot: root, bridge: config.bridge, table, machine, log });
  const system = new HostSystem({
    id,
    config,
    machine,
    runtime,
    snapshots,
    cdi,
    warnings: health.warnings,
    bridgeSubnet: () => networks.get('bridge').subnets[0]?.subnet,
  });

  // What a crash left of images that never came to be; nobody waits for it.
  const sweep = content
    .recover()
    .then(() => images.collect())
    .then(
      ({ bytes }) => bytes > 0 && log.info('removed what no image refers to', { bytes }),
      (error: unknown) => log.error('content could not be collected', { error: messageOf(error) }),
    );
  opened.defer(async () => {
    await sweep;
  });

  const closing = opened.move();
  return {
    adoption,
    events,
    content,
    images,
    volumes,
    networks,
    runtime,
    containers,
    registry,
    system,
    disk: new DataRoot({ root, containers, volumes, images }),
    /** What a running engine takes anew; throws `invalid`, and nothing has changed then. Emits Docker's event. */
    reload(next: Config, docker: DaemonJson | undefined) {
      const {
        config: wanted,
        later,
        attributes,
      } = reloadPlan(live, next, {
        docker,
        name: hostname(),
        runtime: runtime.default,
      });
      if (wanted.defaultRuntime && !runtime.list().some(({ name }) => name === wanted.defaultRuntime))
        throw new EngineError('invalid', `the default runtime ${wanted.defaultRuntime} does not exist`);
      registry.configure({ insecure: wanted.insecureRegistries, mirrors: mirrorsOf(wanted) });
      system.configure(wanted);
      Object.assign(transfers, { downloads: wanted.maxDownloads, uploads: wanted.maxUploads });
      live = wanted;
      events.emit({ type: 'daemon', action: 'reload', actor: { id, attributes } });
      return { config: wanted, later };
    },
    // Node raises the soft limit to the hard one when it starts.
    mostFiles: machine.hardLimits['RLIMIT_NOFILE'] ?? Number.POSITIVE_INFINITY,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** Made once for each data root; `docker info` shows it. */
async function engineId(database: SqliteDatabase): Promise<string> {
  const known = (await database.load('engine')).get('id');
  if (typeof known === 'string') return known;
  const id = randomUUID();
  await database.write([{ kind: 'engine', key: 'id', value: id }]);
  return id;
}
