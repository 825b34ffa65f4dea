/** What the kernel is to know of a network whose containers stand on a link of the host: macvlan or ipvlan. */
export interface ParentSpec {
  readonly kind: ParentKind;
  /** The link that they stand on. */
  readonly parent: string;
  readonly mode: MacvlanMode | IpvlanMode;
  /** Of ipvlan alone. */
  readonly flag: IpvlanFlag;
  /** Undefined: the parent's own. */
  readonly mtu: number | undefined;
  /** What the parent is made of where it is not there; undefined: it is somebody else's, and stays. */
  readonly made: MadeParent | undefined;
}

export type ParentKind = 'macvlan' | 'ipvlan';
export type MacvlanMode = 'bridge' | 'private' | 'vepa' | 'passthru';
export type IpvlanMode = 'l2' | 'l3' | 'l3s';
export type IpvlanFlag = 'bridge' | 'private' | 'vepa';

/** A VLAN of another link, or a link that leads nowhere. */
export type MadeParent =
  | { readonly kind: 'vlan'; readonly of: string; readonly id: number }
  | { readonly kind: 'dummy' };

export const isParentKind = (driver: string): driver is ParentKind => driver === 'macvlan' || driver === 'ipvlan';
