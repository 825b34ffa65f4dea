import { EngineError } from '../base/errors.ts';
import { formatSubnet, parseSubnet } from '../networks/addresses.ts';
import { readSize } from '../quotas/size.ts';
import { longestShutdown } from './machine-shutdown.ts';

/** What becomes of a key: a setting, how Berth always is, or nothing. */
export type Honoured = 'setting' | 'always' | 'no';

type Values = Record<string, unknown>;

/** A key of dockerd's configuration file, as of Docker 28.5. */
export interface DockerKey {
  readonly key: string;
  readonly form: keyof typeof forms;
  readonly honoured: Honoured;
  /** With `setting` what it does, with the others why it is no setting. */
  readonly about: string;
  /** Puts the settings that it means into `out`. Returns why a value is not honoured where the key else is. */
  readonly put?: (value: never, out: Values) => string | undefined;
}

/** What a value may be. */
export const forms = {
  text: (value: unknown) => typeof value === 'string',
  flag: (value: unknown) => typeof value === 'boolean',
  number: (value: unknown) => Number.isInteger(value),
  size: (value: unknown) =>
    Number.isInteger(value) || (typeof value === 'string' && /^\d+\s*[kmgt]?i?b?$/i.test(value)),
  list: (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
  pairs: (value: unknown) => isObject(value) && Object.values(value).every((one) => typeof one === 'string'),
  pools: (value: unknown) =>
    Array.isArray(value) &&
    value.every((one) => isObject(one) && typeof one['base'] === 'string' && Number.isInteger(one['size'])),
  object: (value: unknown) => isObject(value),
} as const;

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const to =
  (setting: string) =>
  (value: unknown, out: Values): undefined => {
    out[setting] = value;
  };

const sets = (key: string, form: DockerKey['form'], about: string, put: DockerKey['put']): DockerKey => ({
  key,
  form,
  honoured: 'setting',
  about,
  ...(put && { put }),
});
const always = (key: string, form: DockerKey['form'], about: string, put?: DockerKey['put']): DockerKey => ({
  key,
  form,
  honoured: 'always',
  about,
  ...(put && { put }),
});
const no = (key: string, form: DockerKey['form'], about: string): DockerKey => ({ key, form, honoured: 'no', about });

/** Berth's own folder in a place that is dockerd's: nothing there is touched. */
const ownPart = (path: string) => `${path.replace(/\/+$/, '')}/berth`;
const swarm = 'this engine is no swarm node';

/** Every key that dockerd 28.5 takes, in its order. `docs/daemon-json.md` is written from it. */
export const dockerKeys: readonly DockerKey[] = [
  no('allow-direct-routing', 'flag', 'addresses of containers are reached from outside as the routes say'),
  no('allow-nondistributable-artifacts', 'list', 'dockerd ignores it too'),
  no('api-cors-header', 'text', 'dockerd 28 refuses it; put a reverse proxy before the socket'),
  no('authorization-plugins', 'list', 'there are no plugins: who may use the socket may do everything'),
  sets('bip', 'text', 'bridgeSubnet and bridgeGateway', (value: string, out) => {
    const [address = '', length = ''] = value.split('/');
    try {
      out['bridgeSubnet'] = formatSubnet(parseSubnet(`${networkOf(address, Number(length))}/${length}`));
      out['bridgeGateway'] = address;
      return undefined;
    } catch {
      throw new EngineError('invalid', `invalid CIDR address: ${value}`);
    }
  }),
  no('bip6', 'text', 'the default bridge has no IPv6; networks that are created with --ipv6 have'),
  sets('bridge', 'text', 'bridge: the name of the default bridge', (value: string, out) => {
    if (value === 'none') return 'the default bridge is always there';
    if (value !== '' && value !== 'docker0') out['bridge'] = value;
    return undefined;
  }),
  no('bridge-accept-fwmark', 'text', 'a rule of your own in a chain before ours does it'),
  no('builder', 'object', 'images are not built by this engine'),
  sets('cdi-spec-dirs', 'list', 'cdiSpecDirs', to('cdiSpecDirs')),
  sets('cgroup-parent', 'text', 'cgroupParent', (value: string, out) => {
    if (/\.slice$/.test(value)) return 'slices of systemd are not made; cgroups are paths here';
    if (value !== '') out['cgroupParent'] = value.startsWith('/') ? value : `/${value}`;
    return undefined;
  }),
  no('cluster-store-opts', 'object', 'dockerd removed it in 23.0'),
  no('containerd', 'text', 'no containerd is used'),
  no('containerd-namespace', 'text', 'no containerd is used'),
  no('containerd-plugin-namespace', 'text', 'no containerd is used'),
  no('containerd-plugins-namespace', 'text', 'no containerd is used'),
  no('cpu-rt-period', 'number', 'real-time limits are those of each container'),
  no('cpu-rt-runtime', 'number', 'real-time limits are those of each container'),
  no('cri-containerd', 'flag', 'no containerd is used'),
  sets('data-root', 'text', "root: the folder berth in it, beside what is dockerd's", (value: string, out) => {
    out['root'] = ownPart(value);
    return undefined;
  }),
  sets('debug', 'flag', 'debug, and the log with it', (value: boolean, out) => {
    out['debug'] = value;
    if (value) out['logLevel'] = 'debug';
    return undefined;
  }),
  sets('default-address-pools', 'pools', 'defaultAddressPools', (value: { base: string; size: number }[], out) => {
    const six = value.filter(({ base }) => base.includes(':'));
    out['defaultAddressPools'] = value.filter((one) => !six.includes(one)).map(({ base, size }) => `${base}:${size}`);
    return six.length > 0 ? 'pools of IPv6 are chosen by the engine (RFC 4193)' : undefined;
  }),
  sets('default-cgroupns-mode', 'text', 'defaultCgroupnsMode', to('defaultCgroupnsMode')),
  no('default-gateway', 'text', 'containers of the default bridge leave by the bridge'),
  no('default-gateway-v6', 'text', 'the default bridge has no IPv6'),
  no('default-init', 'text', 'init-path names the program'),
  sets('default-ipc-mode', 'text', 'defaultIpcMode', to('defaultIpcMode')),
  sets('default-network-opts', 'object', 'defaultNetworkOptions', (value: Record<string, unknown>, out) => {
    const options: Record<string, string> = {};
    for (const [driver, given] of Object.entries(value)) {
      if (!isObject(given)) throw new EngineError('invalid', `default-network-opts: ${driver} has no options`);
      for (const [name, text] of Object.entries(given)) options[`${driver}:${name}`] = String(text);
    }
    out['defaultNetworkOptions'] = options;
    return undefined;
  }),
  sets('default-runtime', 'text', 'defaultRuntime', to('defaultRuntime')),
  sets('default-shm-size', 'size', 'defaultShmSize', (value: unknown, out) => {
    out['defaultShmSize'] = String(value).replace(/[\s]/g, '').replace(/ib?$/i, '');
    return undefined;
  }),
  sets('default-ulimits', 'object', 'defaultUlimits', (value: Record<string, unknown>, out) => {
    out['defaultUlimits'] = Object.fromEntries(
      Object.entries(value).map(([name, limit]) => {
        const { Name = name, Soft, Hard } = isObject(limit) ? limit : {};
        if (!Number.isInteger(Soft) || !Number.isInteger(Hard))
          throw new EngineError('invalid', `default-ulimits: ${name} has no whole numbers Soft and Hard`);
        return [String(Name), `${Soft}:${Hard}`];
      }),
    );
    return undefined;
  }),
  no('deprecated-key-path', 'text', 'dockerd ignores it too'),
  sets('dns', 'list', 'dns', to('dns')),
  sets('dns-opts', 'list', 'dnsOptions', to('dnsOptions')),
  sets('dns-search', 'list', 'dnsSearch', to('dnsSearch')),
  always('exec-opts', 'list', 'cgroups are made by the engine itself (cgroupfs)', (value: string[]) =>
    value.includes('native.cgroupdriver=systemd') ? 'cgroups are made by the engine itself (cgroupfs)' : undefined,
  ),
  sets('exec-root', 'text', 'runDir: the folder berth in it', (value: string, out) => {
    out['runDir'] = ownPart(value);
    return undefined;
  }),
  no('experimental', 'flag', 'nothing here is experimental'),
  always('features', 'object', "the image store is Berth's, with the identities of containerd's", (value) => {
    const others = Object.keys(value as object).filter((name) => name !== 'containerd-snapshotter');
    if (others.length > 0) return `${others.join(', ')}: no other feature is a switch`;
    return (value as Values)['containerd-snapshotter'] === false
      ? 'images have identities as containerd has them'
      : undefined;
  }),
  no('firewall-backend', 'text', "rules are nftables, in a table of Berth's own"),
  sets('fixed-cidr', 'text', 'bridgeRange', to('bridgeRange')),
  no('fixed-cidr-v6', 'text', 'the default bridge has no IPv6'),
  sets('group', 'text', 'group', to('group')),
  sets('host-gateway-ip', 'text', 'hostGateway', (value: string, out) => {
    if (value.includes(':')) return 'an address of IPv6';
    if (value !== '') out['hostGateway'] = value;
    return undefined;
  }),
  sets('host-gateway-ips', 'list', 'hostGateway', (value: string[], out) => {
    const four = value.find((address) => !address.includes(':'));
    if (four) out['hostGateway'] = four;
    return value.some((address) => address.includes(':')) ? 'the address of IPv6 in it' : undefined;
  }),
  sets('hosts', 'list', 'hosts; the socket of Berth is served beside them', to('hosts')),
  sets('http-proxy', 'text', 'httpProxy', to('httpProxy')),
  sets('https-proxy', 'text', 'httpsProxy', to('httpsProxy')),
  sets('icc', 'flag', 'bridgeIcc', to('bridgeIcc')),
  sets('init', 'flag', 'initAlways', to('initAlways')),
  sets('init-path', 'text', 'init', to('init')),
  sets('insecure-registries', 'list', 'insecureRegistries', to('insecureRegistries')),
  sets('ip', 'text', 'bridgeHostIp', to('bridgeHostIp')),
  always('ip-forward', 'flag', 'forwarding is switched on when a network needs it', offIsNot('forwarding is needed')),
  no('ip-forward-no-drop', 'flag', 'the policy of other chains is never changed'),
  sets('ip-masq', 'flag', 'bridgeMasquerade', to('bridgeMasquerade')),
  always('ip6tables', 'flag', "rules stand in one table of Berth's own", offIsNot('ports and networks need the rules')),
  always('iptables', 'flag', "rules stand in one table of Berth's own", offIsNot('ports and networks need the rules')),
  always('ipv6', 'flag', 'networks that are created with --ipv6 have it', (value: boolean) =>
    value ? 'the default bridge has no IPv6' : undefined,
  ),
  sets('labels', 'list', 'labels', to('labels')),
  always('live-restore', 'flag', 'containers never end because the engine does', offIsNot('it cannot be switched off')),
  sets('log-driver', 'text', 'logDriver', to('logDriver')),
  sets('log-format', 'text', 'logFormat', to('logFormat')),
  sets('log-level', 'text', 'logLevel; fatal is error', (value: string, out) => {
    out['logLevel'] = value === 'fatal' ? 'error' : value;
    return undefined;
  }),
  sets('log-opts', 'object', 'logOptions', (value: Record<string, unknown>, out) => {
    // As a number or a flag it would be refused by dockerd: "cannot unmarshal number into ... of type string".
    for (const [name, text] of Object.entries(value))
      if (typeof text !== 'string')
        throw new EngineError('invalid', `log-opts: ${name} is no text: write ${JSON.stringify(String(text))}`);
    out['logOptions'] = value;
    return undefined;
  }),
  sets('max-concurrent-downloads', 'number', 'maxDownloads; 0 is the usual number', atLeast('maxDownloads', 0)),
  sets('max-concurrent-uploads', 'number', 'maxUploads; 0 is the usual number', atLeast('maxUploads', 0)),
  sets('max-download-attempts', 'number', 'downloadAttempts', atLeast('downloadAttempts', 1)),
  no('metrics-addr', 'text', 'no metrics are served'),
  sets('mtu', 'number', 'mtu', (value: number, out) => {
    if (value !== 0) out['mtu'] = value;
    return undefined;
  }),
  no('network-control-plane-mtu', 'number', swarm),
  no('network-diagnostic-port', 'number', swarm),
  sets('no-new-privileges', 'flag', 'noNewPrivileges', to('noNewPrivileges')),
  sets('no-proxy', 'text', 'noProxy', to('noProxy')),
  no('node-generic-resources', 'list', swarm),
  sets('pidfile', 'text', 'pidFile', to('pidFile')),
  sets('proxies', 'object', 'httpProxy, httpsProxy and noProxy', (value: Record<string, unknown>, out) => {
    const names: Readonly<Record<string, string>> = {
      'http-proxy': 'httpProxy',
      'https-proxy': 'httpsProxy',
      'no-proxy': 'noProxy',
    };
    for (const [key, text] of Object.entries(value)) out[names[key]!] = text;
    return undefined;
  }),
  no('raw-logs', 'flag', 'the log has no colours'),
  sets('registry-mirrors', 'list', 'registryMirrors of docker.io', (value: string[], out) => {
    if (value.length > 0) out['registryMirrors'] = { 'docker.io': value.join(' ') };
    return undefined;
  }),
  no('resolv-conf', 'text', 'the resolver is /etc/resolv.conf; dns names others'),
  no('rootless', 'flag', 'the engine runs as root'),
  sets('runtimes', 'object', 'runtimes, by path', (value: Record<string, unknown>, out) => {
    const paths: Record<string, string> = {};
    const left: string[] = [];
    for (const [name, runtime] of Object.entries(value)) {
      const { path, runtimeArgs } = isObject(runtime) ? runtime : {};
      if (typeof path === 'string' && path !== '') paths[name] = path;
      else left.push(`${name} has no path (runtimeType is containerd's)`);
      if (Array.isArray(runtimeArgs) && runtimeArgs.length > 0) left.push(`the runtimeArgs of ${name}`);
    }
    out['runtimes'] = paths;
    return left.length > 0 ? left.join('; ') : undefined;
  }),
  sets('seccomp-profile', 'text', 'seccompProfile', to('seccompProfile')),
  always('selinux-enabled', 'flag', 'labels are given where the kernel has SELinux'),
  sets(
    'shutdown-timeout',
    'number',
    'shutdownTimeout, when the machine goes down; else no container is stopped',
    (value: number, out) => {
      if (value < 0 || value > longestShutdown)
        return `it is ${longestShutdown} s: the unit ends the engine after that`;
      out['shutdownTimeout'] = Math.max(1, value);
      return undefined;
    },
  ),
  always('storage-driver', 'text', "layers are kept in Berth's own way (snapshotter)", (value: string) =>
    ['', 'overlay2', 'overlayfs', 'overlay'].includes(value) ? undefined : "layers are kept in Berth's own way",
  ),
  sets(
    'storage-opts',
    'list',
    "containerSize of overlay2.size; layers are kept in Berth's own way",
    (value: string[], out) => {
      const left: string[] = [];
      for (const option of value) {
        const [name = '', text = ''] = option.split(/=(.*)/s);
        if (name.toLowerCase() === 'overlay2.size') out['containerSize'] = readSize(text.trim());
        else left.push(`${name}: layers are kept in Berth's own way`);
      }
      return left.length > 0 ? left.join('; ') : undefined;
    },
  ),
  no('swarm-default-advertise-addr', 'text', swarm),
  no('swarm-raft-election-tick', 'number', swarm),
  no('swarm-raft-heartbeat-tick', 'number', swarm),
  sets('tls', 'flag', 'tls', to('tls')),
  sets('tlscacert', 'text', 'tlsCaCert', to('tlsCaCert')),
  sets('tlscert', 'text', 'tlsCert', to('tlsCert')),
  sets('tlskey', 'text', 'tlsKey', to('tlsKey')),
  sets('tlsverify', 'flag', 'tlsVerify', to('tlsVerify')),
  always('userland-proxy', 'flag', 'no process for each port; one helper carries what the kernel cannot'),
  no('userland-proxy-path', 'text', 'there is no userland proxy'),
  sets('userns-remap', 'text', 'usernsRemap', to('usernsRemap')),
];

/** A number that dockerd refuses below `least`; of 0 it makes its usual one. */
function atLeast(setting: string, least: number) {
  const names: Readonly<Record<string, string>> = {
    maxDownloads: 'max concurrent downloads',
    maxUploads: 'max concurrent uploads',
    downloadAttempts: 'max download attempts',
  };
  return (value: number, out: Values): undefined => {
    if (value < least) throw new EngineError('invalid', `invalid ${names[setting]}: ${value}`);
    if (value > 0) out[setting] = Math.min(value, setting === 'downloadAttempts' ? 100 : 64);
  };
}

function offIsNot(why: string) {
  return (value: boolean) => (value ? undefined : why);
}

function networkOf(address: string, length: number): string {
  const parts = address.split('.').map(Number);
  if (parts.length !== 4 || !Number.isInteger(length) || length < 1 || length > 30) throw new Error('no address');
  const number = parts.reduce((sum, part) => sum * 256 + part, 0);
  const base = number - (number % 2 ** (32 - length));
  return [24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256).join('.');
}
