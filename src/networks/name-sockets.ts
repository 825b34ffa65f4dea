import { Nftables } from '../sys/nftables.ts';
import type { Sockets } from '../sys/sockets.ts';

/** Where programs in a container ask for names, as Docker has it. */
export const nameServer = '127.0.0.11';

/**
 * Opens the sockets of a name server in the calling thread's network namespace. They are on ports of their own, and rules
 * lead there from port 53: a container may have a name server of its own there.
 */
export function openNameSockets(sockets: Sockets): { readonly udp: number; readonly tcp: number } {
  const udp = sockets.open('udp', nameServer);
  try {
    const tcp = sockets.open('tcp', nameServer);
    try {
      using nftables = new Nftables();
      nftables.run(rules(udp.port, tcp.port));
      return { udp: udp.fd, tcp: tcp.fd };
    } catch (error) {
      sockets.close(tcp.fd);
      throw error;
    }
  } catch (error) {
    sockets.close(udp.fd);
    throw error;
  }
}

const rules = (udp: number, tcp: number) => `table ip berth
delete table ip berth
table ip berth {
  chain names {
    type nat hook output priority -100; policy accept;
    ip daddr ${nameServer} udp dport 53 dnat to ${nameServer}:${udp}
    ip daddr ${nameServer} tcp dport 53 dnat to ${nameServer}:${tcp}
  }
}
`;
