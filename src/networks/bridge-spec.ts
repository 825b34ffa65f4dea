import type { GatewayMode } from './gateway-modes.ts';

/** A bridge as the kernel is to have it. */
export interface BridgeSpec {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly ipv4: BridgeFamily | undefined;
  readonly ipv6: BridgeFamily | undefined;
  /** Containers on it reach each other. */
  readonly icc: boolean;
  /** What leaves it gets the host's address. */
  readonly masquerade: boolean;
  /** Nothing leaves it and nothing comes in. */
  readonly internal: boolean;
  /** Made by this engine, and removed by it. False: somebody made it before, and it stays. */
  readonly owned: boolean;
  /** Interfaces of the host from which containers are reached by their own addresses. */
  readonly trusted: readonly string[];
}

export interface BridgeFamily {
  /** `172.29.0.0/16` */
  readonly subnet: string;
  readonly prefixLength: number;
  /** '' where there is none. */
  readonly gateway: string;
  /** The gateway is the bridge's own address: else it is another machine's, or there is no way out. */
  readonly hasAddress: boolean;
  readonly mode: GatewayMode;
  /** What leaves has this address; '' is that of the interface that it leaves by. */
  readonly hostAddress: string;
}
