import { AddressPool, parseBlock4, parseSubnet } from './addresses.ts';
import { AddressPool6, parseSubnet6 } from './addresses6.ts';
import { type IpamConfig, isV4, type NetworkDefinition } from './definition.ts';
import type { Endpoint } from './networks.ts';
import type { ParentKind } from './parent-spec.ts';

/** A subnet of a network, and who has which of its addresses. */
export interface Range<Pool> {
  readonly subnet: string;
  readonly prefixLength: number;
  /** '' where nobody is to have one. */
  readonly gateway: string;
  readonly pool: Pool;
}

/** A network that containers can be in. */
export abstract class EndpointNetwork {
  readonly definition: NetworkDefinition;
  readonly ipv4: readonly Range<AddressPool>[];
  readonly ipv6: readonly Range<AddressPool6>[];
  /** Containers that are in it or come into it: it is not removed while there are any. */
  readonly users = new Set<string>();
  /** What it is in the kernel was asked for, and is to be kept. */
  made = true;
  /** What a container's interfaces are called, before their number. */
  abstract readonly interfacePrefix: string;

  /** `gateway`: whether an address is kept for one that was not asked for. */
  constructor(
    definition: NetworkDefinition,
    gateway: { readonly ipv4: boolean; readonly ipv6: boolean } = { ipv4: true, ipv6: true },
  ) {
    this.definition = definition;
    const { name, configs } = definition;
    const options = (config: IpamConfig, standard: boolean) => ({
      network: name,
      gateway: config.gateway ?? (standard ? undefined : ''),
      reserved: Object.values(config.auxiliaryAddresses ?? {}),
    });
    this.ipv4 = configs
      .filter(({ subnet }) => definition.ipv4 && isV4(subnet))
      .map((config) => {
        const pool = new AddressPool(parseSubnet(config.subnet), {
          ...options(config, gateway.ipv4),
          range: config.ipRange === undefined ? undefined : parseBlock4(config.ipRange),
        });
        return rangeOf(config, pool);
      });
    this.ipv6 = configs
      .filter(({ subnet }) => definition.ipv6 && !isV4(subnet))
      .map((config) => {
        const pool = new AddressPool6(parseSubnet6(config.subnet)!, {
          ...options(config, gateway.ipv6),
          range: config.ipRange === undefined ? undefined : parseSubnet6(config.ipRange),
        });
        return rangeOf(config, pool);
      });
  }

  /** Undefined: a bridge. */
  get driver(): ParentKind | undefined {
    return undefined;
  }

  get isRouted(): boolean {
    return false;
  }

  get hasMacs(): boolean {
    return true;
  }

  /** What an endpoint has that was there before this engine. */
  claim({ address, ipv6 }: Pick<Endpoint, 'address' | 'ipv6'>): void {
    for (const { pool } of this.ipv4) pool.claim(address);
    if (ipv6) for (const { pool } of this.ipv6) pool.claim(ipv6.address);
  }

  /** Takes back what an endpoint had. */
  release({ address, ipv6 }: Pick<Endpoint, 'address' | 'ipv6'>): void {
    for (const { pool } of this.ipv4) pool.release(address);
    if (ipv6) for (const { pool } of this.ipv6) pool.release(ipv6.address);
  }
}

const rangeOf = <Pool extends { readonly gateway: string }>({ subnet }: IpamConfig, pool: Pool): Range<Pool> => ({
  subnet,
  prefixLength: Number(subnet.split('/')[1]),
  gateway: pool.gateway,
  pool,
});
