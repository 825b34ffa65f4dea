import { attribute, linkHeader, linkKind, mac, type NetlinkRequest, nl, text, uint32 } from './netlink.ts';

const IFLA_LINK = 5;
/** linux/if_link.h: IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE and _FLAGS, IFLA_VLAN_ID. */
const IFLA_MACVLAN_MODE = 1;
const IFLA_IPVLAN_MODE = 1;
const IFLA_IPVLAN_FLAGS = 2;
const IFLA_VLAN_ID = 1;

const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const;
const ipvlanFlags = { bridge: 0, private: 1, vepa: 2 } as const;

/** A link that stands on another one, made in a namespace in one step. */
export interface UpperLink {
  readonly kind: 'macvlan' | 'ipvlan';
  readonly name: string;
  /** The index of the link that it stands on. */
  readonly lower: number;
  readonly mode: keyof typeof macvlanModes | keyof typeof ipvlanModes;
  readonly flag: keyof typeof ipvlanFlags;
  /** Undefined: the lower one's. */
  readonly mtu: number | undefined;
  /** '' is the kernel's choice, and the only one for ipvlan. */
  readonly mac: string;
  /** A descriptor. */
  readonly namespace: number;
}

/** The messages of rtnetlink(7) for links that stand on others, and those that they stand on. */
export const parentRequests = {
  addUpper: ({ kind, name, lower, mode, flag, mtu, mac: address, namespace }: UpperLink): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: nl.NLM_F_CREATE | nl.NLM_F_EXCL,
    body: Buffer.concat([
      linkHeader(),
      text(nl.IFLA_IFNAME, name),
      uint32(IFLA_LINK, lower),
      ...(address === '' ? [] : [attribute(nl.IFLA_ADDRESS, mac(address))]),
      ...(mtu === undefined ? [] : [uint32(nl.IFLA_MTU, mtu)]),
      uint32(nl.IFLA_NET_NS_FD, namespace),
      kind === 'macvlan'
        ? linkKind(kind, uint32(IFLA_MACVLAN_MODE, macvlanModes[mode as keyof typeof macvlanModes]))
        : linkKind(
            kind,
            uint16(IFLA_IPVLAN_MODE, ipvlanModes[mode as keyof typeof ipvlanModes]),
            uint16(IFLA_IPVLAN_FLAGS, ipvlanFlags[flag]),
          ),
    ]),
    subject: `${kind} ${name}`,
  }),

  addVlan: (name: string, options: { readonly lower: number; readonly id: number }): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: nl.NLM_F_CREATE | nl.NLM_F_EXCL,
    body: Buffer.concat([
      linkHeader({ flags: nl.IFF_UP, change: nl.IFF_UP }),
      text(nl.IFLA_IFNAME, name),
      uint32(IFLA_LINK, options.lower),
      linkKind('vlan', uint16(IFLA_VLAN_ID, options.id)),
    ]),
    subject: `vlan ${name}`,
  }),

  addDummy: (name: string): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: nl.NLM_F_CREATE | nl.NLM_F_EXCL,
    body: Buffer.concat([
      linkHeader({ flags: nl.IFF_UP, change: nl.IFF_UP }),
      text(nl.IFLA_IFNAME, name),
      linkKind('dummy'),
    ]),
    subject: `dummy ${name}`,
  }),

  /** Refused always: EOPNOTSUPP where the kernel has no such links and no module for them, and else since no lower one is named. */
  probe: (kind: 'macvlan' | 'ipvlan'): NetlinkRequest => ({
    type: nl.RTM_NEWLINK,
    flags: nl.NLM_F_CREATE | nl.NLM_F_EXCL,
    body: Buffer.concat([linkHeader(), linkKind(kind)]),
    subject: kind,
  }),
};

function uint16(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return attribute(type, bytes);
}
