import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, hostname, release, totalmem } from 'node:os';
import type { SystemFacts, SystemInfo } from '../api/system.ts';
import type { CdiRegistry } from '../runtime/cdi/registry.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Machine } from '../runtime/spec/input.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Config } from './config.ts';
import { ulimitsOf } from './container-defaults.ts';

export interface HostSystemDeps {
  readonly id: string;
  readonly config: Config;
  readonly machine: Machine;
  readonly runtime: Runtime;
  readonly snapshots: Snapshotter;
  readonly cdi: Pick<CdiRegistry, 'directories' | 'list'>;
  /** What `docker info` ends with; asked again at every info, because machines change. */
  readonly warnings: () => readonly string[];
  readonly bridgeSubnet: () => string | undefined;
}

/** What /info and /version tell of this engine and this machine. What cannot change is read once. */
export class HostSystem implements SystemInfo {
  readonly #deps: HostSystemDeps;
  #config: Config;
  readonly #os = operatingSystem();

  constructor(deps: HostSystemDeps) {
    this.#deps = deps;
    this.#config = deps.config;
  }

  /** What SIGHUP changed. */
  configure(config: Config): void {
    this.#config = config;
  }

  get createDefaults(): SystemInfo['createDefaults'] {
    const { runtime, machine } = this.#deps;
    const { defaultRuntime, defaultCgroupnsMode, defaultIpcMode, defaultShmSize, logDriver, logOptions } = this.#config;
    return {
      runtime: defaultRuntime || runtime.default,
      cgroupnsMode: defaultCgroupnsMode || (machine.cgroupVersion === 2 ? 'private' : 'host'),
      ipcMode: defaultIpcMode,
      shmSize: defaultShmSize,
      ulimits: ulimitsOf(this.#config),
      logDriver,
      logOptions,
    };
  }

  discoveredDevices(): Promise<readonly string[]> {
    return this.#deps.cdi.list();
  }

  facts(): SystemFacts {
    const { id, machine, runtime, snapshots, bridgeSubnet, warnings } = this.#deps;
    const config = this.#config;
    const has = (controller: string) => machine.controllers.has(controller);
    return {
      id,
      name: hostname(),
      dataRoot: config.root,
      // The names by which clients know the image store whose identities and fields these are (containerd's).
      storageDriver: 'overlayfs',
      storageStatus: [
        ['driver-type', 'io.containerd.snapshotter.v1'],
        ['Layers', snapshots.name === 'erofs' ? 'EROFS index over the plain tar' : 'unpacked directories'],
      ],
      kernelVersion: release(),
      operatingSystem: this.#os.name,
      osVersion: this.#os.version,
      cpus: availableParallelism(),
      memory: totalmem(),
      cgroupDriver: 'cgroupfs',
      cgroupVersion: machine.cgroupVersion === 2 ? '2' : '1',
      limits: {
        memory: has('memory'),
        swap: machine.swapLimit,
        cpuCfs: has('cpu'),
        cpuShares: has('cpu'),
        cpuset: has('cpuset'),
        pids: has('pids'),
        oomKillDisable: machine.cgroupVersion === 1 && has('memory'),
      },
      runtimes: runtime.list().map(({ name, path, version }) => ({ name, path, version })),
      defaultRuntime: config.defaultRuntime || runtime.default,
      securityOptions: [
        ...(machine.appArmor ? ['name=apparmor'] : []),
        ...(machine.seccomp ? ['name=seccomp,profile=builtin'] : []),
        ...(machine.selinux ? ['name=selinux'] : []),
        ...(config.usernsRemap ? ['name=userns'] : []),
        ...(existsSync('/proc/self/ns/cgroup') ? ['name=cgroupns'] : []),
      ],
      ipv4Forwarding: readText('/proc/sys/net/ipv4/ip_forward') === '1',
      logDriver: config.logDriver,
      insecureRegistries: config.insecureRegistries,
      mirrors: mirrorsOf(config),
      httpProxy: masked(config.httpProxy),
      httpsProxy: masked(config.httpsProxy),
      noProxy: config.noProxy,
      labels: config.labels,
      debug: config.debug,
      initBinary: config.init,
      deviceDirectories: config.cdiSpecDirs,
      firewall: 'nftables',
      addressPools: pools(config.defaultAddressPools, bridgeSubnet()),
      warnings: warnings(),
      openFiles: readdirSync('/proc/self/fd').length,
      layersSize: snapshots.layers().reduce((sum, layer) => sum + (snapshots.layerFacts(layer)?.size ?? 0), 0),
    };
  }
}

/** `registryMirrors` holds several URLs for a domain with spaces between. */
export function mirrorsOf({
  registryMirrors,
}: Pick<Config, 'registryMirrors'>): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(
    Object.entries(registryMirrors).map(([domain, urls]) => [domain, urls.split(/\s+/).filter(Boolean)]),
  );
}

/** A proxy's URL as Docker shows it: that there is a user, not who, and not the password. */
export function masked(proxy: string): string {
  return proxy.replace(/^([^/]*:\/\/)?[^/]*@/, '$1xxxxx:xxxxx@');
}

function pools(configured: readonly string[], subnet: string | undefined): SystemFacts['addressPools'] {
  if (configured.length > 0)
    return configured.map((text) => ({ base: text.split(':')[0]!, size: Number(text.split(':')[1]) }));
  return subnet ? [{ base: subnet, size: Number(subnet.split('/')[1]) }] : [];
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

function operatingSystem(): { readonly name: string; readonly version: string } {
  const fields = new Map(
    (readText('/etc/os-release') || readText('/usr/lib/os-release')).split('\n').map((line): [string, string] => {
      const [key, ...value] = line.split('=');
      return [key!, value.join('=').replace(/^"|"$/g, '')];
    }),
  );
  return { name: fields.get('PRETTY_NAME') ?? 'Linux', version: fields.get('VERSION_ID') ?? '' };
}
