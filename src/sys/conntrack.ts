import { attributes, type NetlinkRequest, type NetlinkSocket, nested, nl } from './netlink.ts';

/** linux/netfilter/nfnetlink_conntrack.h. */
const IPCTNL_MSG_CT_NEW = 0x0100;
const IPCTNL_MSG_CT_GET = 0x0101;
const IPCTNL_MSG_CT_DELETE = 0x0102;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const AF_INET = 2;

export interface Flow {
  readonly protocol: number;
  /** Where the first packet was sent to, before any translation. */
  readonly destination: string;
  readonly destinationPort: number;
  /** Where answers come from: the target of a translation, or the destination. */
  readonly answeredBy: string;
  /** The kernel's own form of the flow's tuple, which names it in a request. */
  readonly tuple: Buffer;
}

const family = () => Buffer.of(AF_INET, 0, 0, 0);

export const flowsRequest = (): NetlinkRequest => ({
  type: IPCTNL_MSG_CT_GET,
  flags: nl.NLM_F_DUMP,
  body: family(),
  subject: 'flows',
});

export const forgetRequest = ({ tuple, destination, destinationPort }: Flow): NetlinkRequest => ({
  type: IPCTNL_MSG_CT_DELETE,
  flags: 0,
  body: Buffer.concat([family(), nested(CTA_TUPLE_ORIG, tuple)]),
  subject: `flow to ${destination}:${destinationPort}`,
});

/** The IPv4 flows that conntrack follows in the socket's namespace. */
export function flows(socket: NetlinkSocket): Flow[] {
  return socket
    .request(flowsRequest())
    .flatMap(({ type, body }) => (type === IPCTNL_MSG_CT_NEW ? (parseFlow(body) ?? []) : []));
}

export function parseFlow(body: Buffer): Flow | undefined {
  const top = find(body.subarray(4));
  const original = top.get(CTA_TUPLE_ORIG);
  const reply = top.get(CTA_TUPLE_REPLY);
  if (!original || !reply) return undefined;
  const [address, protocol] = [find(original).get(CTA_TUPLE_IP), find(original).get(CTA_TUPLE_PROTO)];
  const answer = find(reply).get(CTA_TUPLE_IP);
  const destination = address && find(address).get(CTA_IP_V4_DST);
  const answeredBy = answer && find(answer).get(CTA_IP_V4_SRC);
  if (!protocol || !destination || !answeredBy) return undefined;
  return {
    protocol: find(protocol).get(CTA_PROTO_NUM)?.readUInt8() ?? 0,
    destination: [...destination].join('.'),
    destinationPort: find(protocol).get(CTA_PROTO_DST_PORT)?.readUInt16BE() ?? 0,
    answeredBy: [...answeredBy].join('.'),
    tuple: Buffer.from(original),
  };
}

const find = (bytes: Buffer) => new Map([...attributes(bytes)].map(({ type, value }) => [type, value]));
