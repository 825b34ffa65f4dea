import { AddressPool, macOf, parseBlock4, parseSubnet } from './addresses.ts';
import { AddressPool6, parseSubnet6 } from './addresses6.ts';
import type { BridgeSpec } from './bridge-spec.ts';
import { type BridgeOptions, type IpamConfig, isV4, type NetworkDefinition, readBridgeOptions } from './definition.ts';

/** A network with a bridge, and who has which of its addresses. */
export class BridgeNetwork {
  readonly definition: NetworkDefinition;
  readonly options: BridgeOptions;
  readonly bridge: BridgeSpec;
  readonly addresses: AddressPool | undefined;
  readonly addresses6: AddressPool6 | undefined;
  /** Containers that are in it or come into it: it is not removed while there are any. */
  readonly users = new Set<string>();
  /** Its bridge was asked for, and is to be kept. */
  made = true;

  constructor(
    definition: NetworkDefinition,
    { mtu, isDefault = false }: { readonly mtu: number; readonly isDefault?: boolean },
  ) {
    const { id, name, configs, ipv4, ipv6, internal, bridge, ownsBridge } = definition;
    this.definition = definition;
    this.options = readBridgeOptions(definition.options);
    const four = ipv4 ? configs.find(({ subnet }) => isV4(subnet)) : undefined;
    const six = ipv6 ? configs.find(({ subnet }) => !isV4(subnet)) : undefined;
    this.addresses =
      four &&
      new AddressPool(parseSubnet(four.subnet), {
        ...poolOptions(name, four),
        range: four.ipRange === undefined ? undefined : parseBlock4(four.ipRange),
      });
    this.addresses6 =
      six &&
      new AddressPool6(parseSubnet6(six.subnet)!, {
        ...poolOptions(name, six),
        range: six.ipRange === undefined ? undefined : parseSubnet6(six.ipRange),
      });
    this.bridge = {
      name: bridge,
      mac: isDefault && this.addresses ? macOf(this.addresses.gateway) : macOfBridge(id),
      mtu: this.options.mtu || mtu,
      ipv4: four && this.addresses && familyOf(four.subnet, this.addresses.gateway),
      ipv6: six && this.addresses6 && familyOf(six.subnet, this.addresses6.gateway),
      icc: this.options.icc,
      masquerade: this.options.masquerade,
      internal,
      owned: ownsBridge && !isDefault,
    };
  }

  /** Takes back what an endpoint had. */
  release({
    address,
    ipv6,
  }: {
    readonly address: string;
    readonly ipv6?: { readonly address: string } | undefined;
  }): void {
    this.addresses?.release(address);
    if (ipv6) this.addresses6?.release(ipv6.address);
  }
}

const poolOptions = (network: string, { gateway, auxiliaryAddresses = {} }: IpamConfig) => ({
  network,
  gateway,
  reserved: Object.values(auxiliaryAddresses),
});

const familyOf = (subnet: string, gateway: string) => ({ subnet, gateway, prefixLength: Number(subnet.split('/')[1]) });

/** Its own and always the same: neighbours remember it. */
const macOfBridge = (id: string) => `02:${id.slice(0, 10).match(/../g)!.join(':')}`;
