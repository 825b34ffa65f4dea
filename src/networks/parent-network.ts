import type { NetworkDefinition } from './definition.ts';
import { EndpointNetwork } from './endpoint-network.ts';
import { isRouted, needsGateway, type ParentRecord, parentSpec } from './parent-options.ts';
import type { ParentKind, ParentSpec } from './parent-spec.ts';

/** A network whose containers stand on a link of the host, beside the host: nothing of them passes its rules. */
export class ParentNetwork extends EndpointNetwork {
  readonly parent: ParentSpec;
  readonly interfacePrefix = 'eth';
  readonly #options: Readonly<Record<string, string>>;

  /** `options` are those that count; the definition has what was asked for. */
  constructor(
    definition: NetworkDefinition & { readonly parent: ParentRecord },
    options: Readonly<Record<string, string>> = definition.options,
  ) {
    const driver = definition.driver as ParentKind;
    const gateway = needsGateway(driver, { ...definition, options });
    super(definition, { ipv4: gateway, ipv6: gateway });
    this.#options = options;
    this.parent = parentSpec(driver, definition.parent, options);
  }

  override get driver(): ParentKind {
    return this.parent.kind;
  }

  /** The way out needs no gateway (ipvlan in its l3 modes). */
  override get isRouted(): boolean {
    return this.parent.kind === 'ipvlan' && isRouted(this.#options) && !this.definition.internal;
  }

  /** All containers have their parent's. */
  override get hasMacs(): boolean {
    return this.parent.kind === 'macvlan';
  }
}
