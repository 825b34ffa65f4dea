import { macOf } from './addresses.ts';
import type { BridgeFamily, BridgeSpec } from './bridge-spec.ts';
import { type BridgeOptions, keepsGateway, type NetworkDefinition, readBridgeOptions } from './definition.ts';
import { EndpointNetwork, type Range } from './endpoint-network.ts';

/** A network with a bridge of the host. */
export class BridgeNetwork extends EndpointNetwork {
  readonly options: BridgeOptions;
  readonly bridge: BridgeSpec;

  constructor(
    definition: NetworkDefinition,
    {
      mtu,
      isDefault = false,
      options: given = definition.options,
    }: {
      readonly mtu: number;
      readonly isDefault?: boolean;
      /** Those that count; the definition has what was asked for. */
      readonly options?: Readonly<Record<string, string>>;
    },
  ) {
    const options = readBridgeOptions(given);
    super(definition, keepsGateway(options));
    const { id, internal, bridge, ownsBridge } = definition;
    this.options = options;
    const [four] = this.ipv4;
    const [six] = this.ipv6;
    this.bridge = {
      name: bridge,
      mac: isDefault && four ? macOf(four.gateway) : macOfBridge(id),
      mtu: this.options.mtu || mtu,
      ipv4: four && familyOf(four, 'ipv4', options),
      ipv6: six && familyOf(six, 'ipv6', options),
      icc: this.options.icc,
      masquerade: this.options.masquerade,
      internal,
      owned: ownsBridge && !isDefault,
      trusted: options.trusted,
    };
  }

  override get interfacePrefix(): string {
    return this.options.interfacePrefix;
  }
}

function familyOf(
  { subnet, prefixLength, gateway }: Range<unknown>,
  family: 'ipv4' | 'ipv6',
  { modes, hostAddresses, inhibitIpv4 }: BridgeOptions,
): BridgeFamily {
  const mode = modes[family];
  const hasAddress = mode !== 'isolated' && !(family === 'ipv4' && inhibitIpv4);
  return { subnet, gateway, prefixLength, hasAddress, mode, hostAddress: hostAddresses[family] };
}

/** Its own and always the same: neighbours remember it. */
const macOfBridge = (id: string) => `02:${id.slice(0, 10).match(/../g)!.join(':')}`;
