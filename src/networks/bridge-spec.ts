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
}

export interface BridgeFamily {
  /** `172.29.0.0/16` */
  readonly subnet: string;
  readonly prefixLength: number;
  /** The bridge's own address. */
  readonly gateway: string;
}
