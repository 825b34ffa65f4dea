import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import type { Endpoint } from '../networks/networks.ts';
import { isPredefined } from './endpoints.ts';
import { withDefaults } from './engine-defaults.ts';
import { linkHosts } from './links.ts';
import {
  embeddedResolver,
  hostNetworkHostsFile,
  hostsFile,
  mergeResolver,
  parseResolvConf,
  resolvConf,
  withLinks,
} from './network-files.ts';
import type { ContainerRecord } from './record.ts';
import type { Room } from './room.ts';
import { rootOutside } from './user-namespaces.ts';

type NetworkFiles = Readonly<Record<'hosts' | 'hostname' | 'resolvConf', string | Buffer>>;
const names = ['hosts', 'hostname', 'resolvConf'] as const;

/** On a tmpfs: three small files, made anew at each start. */
export function writeNetworkFiles(room: Room, container: ContainerRecord): void {
  const content = render(room, container);
  const { owners } = container.own;
  const { uid, gid } = rootOutside(owners);
  for (const name of names) {
    writeForAll(container.files[name], content[name]);
    if (owners) chownSync(container.files[name], uid, gid);
  }
}

/** Its networks have changed while it runs. What the container wrote in these files itself stays. */
export function updateNetworkFiles(room: Room, before: ContainerRecord, after: ContainerRecord): void {
  const { hosts, resolvConf: resolver } = after.files;
  const [former, now] = [render(room, before), render(room, after)];
  const gone = new Set(linesOf(former.hosts));
  const wanted = linesOf(now.hosts);
  for (const line of wanted) gone.delete(line);
  const kept = linesOf(readOr(hosts)).filter((line) => !gone.has(line));
  const added = wanted.filter((line) => !kept.includes(line));
  writeForAll(hosts, `${[...kept, ...added].join('\n')}\n`);
  if (readOr(resolver) === former.resolvConf) writeForAll(resolver, now.resolvConf);
}

/** Those that it links to have other addresses now, or other names. Nothing where it has no files. */
export function writeLinks(room: Room, container: ContainerRecord): void {
  if (container.links) editHosts(container, (hosts) => withLinks(hosts, linkHosts(room.store, container)));
}

/** Changes /etc/hosts of a container that has one. */
export function editHosts({ files }: ContainerRecord, change: (hosts: string) => string): void {
  const before = readOr(files.hosts);
  const after = change(before);
  if (before !== '' && before !== after) writeForAll(files.hosts, after);
}

const linesOf = (text: string | Buffer) => text.toString().replace(/\n$/, '').split('\n');

function render(room: Room, container: ContainerRecord): NetworkFiles {
  const { config, hostConfig, attached } = container;
  const { NetworkMode: mode } = hostConfig;
  if (mode.startsWith('container:')) {
    // They share their names too.
    const { files } = room.store.get(mode.slice('container:'.length));
    const read = (name: (typeof names)[number]) => readFileSync(files[name]);
    return { hosts: read('hosts'), hostname: read('hostname'), resolvConf: read('resolvConf') };
  }
  const extraHosts = hostConfig.ExtraHosts ?? [];
  const gateway = extraHosts.length > 0 ? hostGateway(room, attached) : '';
  const { Hostname: hostname, Domainname: domainname } = config;
  const addresses = attached.flatMap(({ address, ipv6 }) => [address, ipv6?.address ?? '']).filter(Boolean);
  const host = mode === 'host' ? parseResolvConf(readOr('/etc/resolv.conf')) : room.deps.networks.hostResolver();
  const merged = mergeResolver(host, withDefaults(hostConfig, room.deps.config.defaults));
  const named = attached.some(({ network }) => !isPredefined(network));
  return {
    hosts:
      mode === 'host'
        ? hostNetworkHostsFile(readOr('/etc/hosts'), extraHosts, gateway)
        : hostsFile({
            extraHosts,
            hostGateway: gateway,
            links: linkHosts(room.store, container),
            own: { addresses, hostname, domainname },
          }),
    hostname: `${hostname}\n`,
    resolvConf: resolvConf(named ? embeddedResolver(merged) : merged),
  };
}

/** Whoever the container runs as reads it; the engine's umask would leave it to root. In place: it is mounted by its inode. */
function writeForAll(path: string, content: string | Buffer): void {
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
