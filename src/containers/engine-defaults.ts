import type { HostConfig } from '../protocol/container.ts';

/** What the engine is configured to give containers that do not say. Docker's inspect does not show it: it is looked at each start. */
export interface ContainerDefaults {
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly dns: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly init: boolean;
  readonly noNewPrivileges: boolean;
  /** `unconfined` or the text of a profile; undefined is the built-in one. */
  readonly seccomp: string | undefined;
}

/** The container's own word first, one by one for limits. */
export function withDefaults(hostConfig: HostConfig, defaults: ContainerDefaults | undefined): HostConfig {
  if (!defaults) return hostConfig;
  const { ulimits, dns, dnsOptions, dnsSearch, init, noNewPrivileges, seccomp } = defaults;
  const own = hostConfig.Ulimits ?? [];
  const options = hostConfig.SecurityOpt ?? [];
  const says = (name: string) => options.some((option) => new RegExp(`^${name}([=:]|$)`).test(option));
  const added = [
    ...(noNewPrivileges && !says('no-new-privileges') ? ['no-new-privileges'] : []),
    // A privileged container is not confined unless it says so itself.
    ...(seccomp !== undefined && !hostConfig.Privileged && !says('seccomp') ? [`seccomp=${seccomp}`] : []),
  ];
  return {
    ...hostConfig,
    ...(ulimits.length > 0 && {
      Ulimits: [...own, ...ulimits.filter(({ Name }) => !own.some((limit) => limit.Name === Name))],
    }),
    ...(hostConfig.Dns.length === 0 && { Dns: dns }),
    ...(hostConfig.DnsOptions.length === 0 && { DnsOptions: dnsOptions }),
    ...(hostConfig.DnsSearch.length === 0 && { DnsSearch: dnsSearch }),
    ...(hostConfig.Init === undefined || hostConfig.Init === null ? { ...(init && { Init: true }) } : {}),
    ...(added.length > 0 && { SecurityOpt: [...options, ...added] }),
  };
}
