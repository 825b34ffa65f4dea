import { macOf } from './addresses.ts';
import type { BridgeFamily, BridgeSpec } from './bridge-spec.ts';
import { type BridgeOptions, type NetworkDefinition, readBridgeOptions } from './definition.ts';
import { EndpointNetwork, type Range } from './endpoint-network.ts';

/** A network with a bridge of the host. */
export class BridgeNetwork extends EndpointNetwork {
  readonly options: BridgeOptions;
  readonly bridge: BridgeSpec;

  constructor(
    definition: NetworkDefinition,
    { mtu, isDefault = false }: { readonly mtu: number; readonly isDefault?: boolean },
  ) {
    super(definition);
    const { id, internal, bridge, ownsBridge } = definition;
    this.options = readBridgeOptions(definition.options);
    const [four] = this.ipv4;
    const [six] = this.ipv6;
    this.bridge = {
      name: bridge,
      mac: isDefault && four ? macOf(four.gateway) : macOfBridge(id),
      mtu: this.options.mtu || mtu,
      ipv4: four && familyOf(four),
      ipv6: six && familyOf(six),
      icc: this.options.icc,
      masquerade: this.options.masquerade,
      internal,
      owned: ownsBridge && !isDefault,
    };
  }

  override get interfacePrefix(): string {
    return this.options.interfacePrefix;
  }
}

const familyOf = ({ subnet, prefixLength, gateway }: Range<unknown>): BridgeFamily => ({
  subnet,
  gateway,
  prefixLength,
});

/** Its own and always the same: neighbours remember it. */
const macOfBridge = (id: string) => `02:${id.slice(0, 10).match(/../g)!.join(':')}`;
