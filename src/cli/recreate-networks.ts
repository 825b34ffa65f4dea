import type { EndpointSettings } from '../protocol/container.ts';
import type { Original, Part } from './recreate.ts';
import type { Yaml } from './yaml.ts';

const predefined = new Set(['bridge', 'host', 'none', 'default']);

/** The network mode, the networks of a user's own with names and addresses in them, and name resolution. */
export const networkParts: readonly ((original: Original) => Part | readonly Part[] | undefined)[] = [
  networks,
  ({ container: { Config } }) =>
    Config.MacAddress
      ? { run: ['--mac-address', Config.MacAddress], compose: { mac_address: Config.MacAddress } }
      : undefined,
  ({ container: { HostConfig } }) =>
    (HostConfig.Links ?? []).map((link) => {
      // The engine says `/db:/web/alias`.
      const [from = '', to = ''] = link.split(':');
      const text = `${from.replace(/^\//, '')}:${to.split('/').at(-1)}`;
      return { run: ['--link', text], compose: { external_links: [text] } };
    }),
  ({ container: { HostConfig } }) =>
    HostConfig.Dns.map((server) => ({ run: ['--dns', server], compose: { dns: [server] } })),
  ({ container: { HostConfig } }) =>
    HostConfig.DnsOptions.map((option) => ({ run: ['--dns-option', option], compose: { dns_opt: [option] } })),
  ({ container: { HostConfig } }) =>
    HostConfig.DnsSearch.map((domain) => ({ run: ['--dns-search', domain], compose: { dns_search: [domain] } })),
  ({ container: { HostConfig } }) =>
    (HostConfig.ExtraHosts ?? []).map((entry) => ({ run: ['--add-host', entry], compose: { extra_hosts: [entry] } })),
];

function networks({ container }: Original): Part | readonly Part[] {
  const { NetworkMode: mode } = container.HostConfig;
  if (predefined.has(mode) || mode.startsWith('container:')) {
    const compose = { network_mode: mode === 'default' ? 'bridge' : mode };
    return mode === 'bridge' || mode === 'default' ? { compose } : { run: ['--network', mode], compose };
  }
  const joined = Object.entries(container.NetworkSettings.Networks);
  const settings = (own: EndpointSettings) => ({
    // Older versions of the API count the container's own ID among them.
    aliases: (own.Aliases ?? []).filter((alias) => alias !== container.Id.slice(0, 12)),
    ip: own.IPAMConfig?.IPv4Address,
    ip6: own.IPAMConfig?.IPv6Address,
  });
  return joined
    .sort(([a], [b]) => Number(b === mode) - Number(a === mode))
    .map(([name, own]) => {
      const { aliases, ip, ip6 } = settings(own);
      const words = [
        ...aliases.map((alias) => `alias=${alias}`),
        ...(ip ? [`ip=${ip}`] : []),
        ...(ip6 ? [`ip6=${ip6}`] : []),
      ];
      const compose: { [key: string]: Yaml } = {
        ...(aliases.length > 0 && { aliases }),
        ...(ip && { ipv4_address: ip }),
        ...(ip6 && { ipv6_address: ip6 }),
      };
      return {
        run: ['--network', words.length > 0 ? [`name=${name}`, ...words].join(',') : name],
        compose: { networks: { [name]: compose } },
        top: { networks: { [name]: { external: true } } },
      };
    });
}
