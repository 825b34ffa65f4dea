import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import type { Endpoint } from '../networks/networks.ts';
import { isPredefined } from './endpoints.ts';
import {
  embeddedResolver,
  hostNetworkHostsFile,
  hostsFile,
  mergeResolver,
  parseResolvConf,
  resolvConf,
} from './network-files.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';

/** On a tmpfs: three small files, made at each start, and again in the same place when its networks change. */
export function writeNetworkFiles(room: Room, container: ContainerRecord): void {
  const { config, hostConfig, files, attached } = container;
  const { NetworkMode: mode } = hostConfig;
  if (mode.startsWith('container:')) {
    // They share their names too.
    const other = room.store.get(mode.slice('container:'.length));
    for (const file of ['hosts', 'hostname', 'resolvConf'] as const)
      writeReadable(files[file], readFileSync(other.files[file]));
    return;
  }
  const extraHosts = hostConfig.ExtraHosts ?? [];
  const gateway = extraHosts.length > 0 ? hostGateway(room, attached) : '';
  const { Hostname: hostname, Domainname: domainname } = config;
  if (mode === 'host') {
    writeReadable(files.hosts, hostNetworkHostsFile(readOr('/etc/hosts'), extraHosts, gateway));
  } else {
    const addresses = attached.flatMap(({ address, ipv6 }) => [address, ipv6?.address ?? '']).filter(Boolean);
    const own = { addresses, hostname, domainname };
    writeReadable(files.hosts, hostsFile({ extraHosts, hostGateway: gateway, own }));
  }
  writeReadable(files.hostname, `${hostname}\n`);
  const host = mode === 'host' ? parseResolvConf(readOr('/etc/resolv.conf')) : room.deps.networks.hostResolver();
  const merged = mergeResolver(host, hostConfig);
  const named = attached.some(({ network }) => !isPredefined(network));
  writeReadable(files.resolvConf, resolvConf(named ? embeddedResolver(merged) : merged));
}

/** By every user of the container: the umask is the engine's. */
function writeReadable(path: string, content: string | Buffer): void {
  writeFileSync(path, content);
  chmodSync(path, 0o644);
}

function hostGateway({ deps }: Room, attached: readonly Endpoint[]): string {
  const own = attached.find(({ network }) => network === 'bridge')?.gateway;
  return deps.config.hostGateway || own || deps.networks.get('bridge').subnets[0]?.gateway || '';
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
