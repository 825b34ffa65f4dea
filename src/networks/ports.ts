import { isIP } from 'node:net';
import { EngineError } from '../base/errors.ts';
import { PortRefused } from './network-helper.ts';
import type { PortRequest, PublishedPort } from './networks.ts';

export interface PortsDeps {
  /** The kernel's range for ports that nobody chose (ip_local_port_range). */
  readonly ephemeral: () => { readonly first: number; readonly last: number };
  readonly ipv6: () => boolean;
  /** Takes the ports from the host, all or none; throws `PortRefused`. */
  readonly hold: (ports: readonly PublishedPort[]) => Promise<void>;
  /** `nginx (pid 312)`, when it can be found out. */
  readonly ownerOf: (port: PublishedPort) => string | undefined;
}

interface Taken {
  readonly hostAddress: string;
  readonly containerId: string;
}

const wildcards = new Set(['0.0.0.0', '::']);

/** The host's ports that containers have: what is chosen, refused and given back. */
export class Ports {
  readonly #taken = new Map<string, Taken[]>();
  #cursor = 0;

  /** What the request gets. All or nothing: when it throws, nothing is taken. */
  async publish(
    containerId: string,
    address: string,
    requests: readonly PortRequest[],
    deps: PortsDeps,
  ): Promise<readonly PublishedPort[]> {
    for (const request of requests) validate(request);
    // Where the search for each request stands. A refusal by the host moves the one that was refused.
    const offsets = requests.map((request) => (request.first === 0 ? this.#cursor : 0));
    for (;;) {
      const chosen = this.#choose(containerId, requests, offsets, deps);
      const ports = chosen.flat();
      try {
        if (ports.length > 0) await deps.hold(ports);
        for (const [index, { first }] of requests.entries())
          if (first === 0) this.#cursor = Math.max(this.#cursor, (offsets[index] ?? 0) + 1);
        return ports;
      } catch (error) {
        this.release(containerId, ports);
        if (!(error instanceof PortRefused)) throw error;
        const at = chosen.findIndex((some) => some.some((port) => same(port, error.port)));
        const request = requests[at];
        if (!request) throw error;
        const count = rangeOf(request, deps).count;
        const offset = (offsets[at] ?? 0) + 1;
        const tried = request.first === 0 ? offset - this.#cursor : offset;
        if (error.code !== 'EADDRINUSE' || tried >= count) throw refused(error, address, deps.ownerOf(error.port));
        offsets[at] = offset;
      }
    }
  }

  claim(containerId: string, ports: readonly PublishedPort[]): void {
    for (const port of ports) {
      const key = keyOf(port.protocol, port.hostPort);
      this.#taken.set(key, [...(this.#taken.get(key) ?? []), { hostAddress: port.hostAddress, containerId }]);
    }
  }

  release(containerId: string, ports: readonly PublishedPort[]): void {
    for (const port of ports) {
      const key = keyOf(port.protocol, port.hostPort);
      const left = (this.#taken.get(key) ?? []).filter(
        (taken) => taken.containerId !== containerId || taken.hostAddress !== port.hostAddress,
      );
      if (left.length > 0) this.#taken.set(key, left);
      else this.#taken.delete(key);
    }
  }

  /** Claims a port for each request in turn; `offsets` is moved to where each was found. */
  #choose(
    containerId: string,
    requests: readonly PortRequest[],
    offsets: number[],
    deps: PortsDeps,
  ): PublishedPort[][] {
    const chosen: PublishedPort[][] = [];
    try {
      for (const [index, request] of requests.entries()) {
        const ports = this.#chooseOne(request, index, offsets, deps);
        this.claim(containerId, ports);
        chosen.push(ports);
      }
      return chosen;
    } catch (error) {
      this.release(containerId, chosen.flat());
      throw error;
    }
  }

  #chooseOne(request: PortRequest, index: number, offsets: number[], deps: PortsDeps): PublishedPort[] {
    const { first, count } = rangeOf(request, deps);
    const addresses = addressesOf(request.hostAddress, deps.ipv6());
    const start = offsets[index] ?? 0;
    // A port that nobody chose is searched in a circle from the last one given; a range from its beginning.
    const end = request.first === 0 ? start + count : count;
    let blocked: { readonly taken: Taken; readonly port: number } | undefined;
    for (let offset = start; offset < end; offset++) {
      const hostPort = first + (offset % count);
      const taken = this.#takenBy(request.protocol, hostPort, addresses);
      if (!taken) {
        offsets[index] = offset;
        return addresses.map((hostAddress) => ({
          port: request.port,
          protocol: request.protocol,
          hostAddress,
          hostPort,
        }));
      }
      blocked ??= { taken, port: hostPort };
    }
    throw alreadyAllocated(request, addresses, blocked);
  }

  #takenBy(protocol: string, hostPort: number, addresses: readonly string[]): Taken | undefined {
    return this.#taken
      .get(keyOf(protocol, hostPort))
      ?.find((taken) => addresses.some((address) => collide(address, taken.hostAddress)));
  }
}

const keyOf = (protocol: string, hostPort: number) => `${protocol} ${hostPort}`;

const same = (a: PublishedPort, b: PublishedPort) =>
  a.hostPort === b.hostPort && a.protocol === b.protocol && a.hostAddress === b.hostAddress && a.port === b.port;

function collide(a: string, b: string): boolean {
  if (a.includes(':') !== b.includes(':')) return false;
  return a === b || wildcards.has(a) || wildcards.has(b);
}

function addressesOf(hostAddress: string, ipv6: boolean): readonly string[] {
  if (hostAddress !== '') return [hostAddress];
  return ipv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
}

function rangeOf(request: PortRequest, deps: PortsDeps): { readonly first: number; readonly count: number } {
  const { first, last } =
    request.first === 0 ? deps.ephemeral() : { first: request.first, last: Math.max(request.first, request.last) };
  return { first, count: last - first + 1 };
}

function validate({ port, protocol, hostAddress, first, last }: PortRequest): void {
  const valid = (value: number) => Number.isInteger(value) && value >= 1 && value <= 65_535;
  if (!valid(port)) throw new EngineError('invalid', `invalid container port ${port}: 1 to 65535 is needed`);
  if (first !== 0 && (!valid(first) || (last !== 0 && !valid(last))))
    throw new EngineError('invalid', `invalid host port ${first}-${last}: 1 to 65535 is needed`);
  if (hostAddress !== '' && isIP(hostAddress) === 0)
    throw new EngineError(
      'invalid',
      `invalid host address ${hostAddress} for port ${port}/${protocol}: an IP address is needed`,
    );
}

const bracket = (address: string) => (address.includes(':') ? `[${address}]` : address);

function alreadyAllocated(
  request: PortRequest,
  addresses: readonly string[],
  blocked: { readonly taken: Taken; readonly port: number } | undefined,
): EngineError {
  const address = addresses[0] ?? '0.0.0.0';
  if (request.first !== 0 && request.last <= request.first) {
    const by = blocked ? ` (by container ${blocked.taken.containerId.slice(0, 12)})` : '';
    return new EngineError(
      'conflict',
      `Bind for ${bracket(address)}:${request.first} failed: port is already allocated${by}`,
      {
        hint: 'publish on another host port, or stop that container first',
        code: 'E_PORT_IN_USE',
      },
    );
  }
  const range = request.first === 0 ? 'ephemeral ports' : `ports ${request.first}-${request.last}`;
  return new EngineError('conflict', `Bind for ${bracket(address)} failed: all ${range} are allocated`, {
    hint: 'remove containers that publish ports, or publish on another range',
    code: 'E_PORT_IN_USE',
  });
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'cannot assign requested address',
  EACCES: 'permission denied',
};

function refused(error: PortRefused, address: string, owner: string | undefined): EngineError {
  const { port, code } = error;
  const where = `${bracket(port.hostAddress)}:${port.hostPort}:${address}:${port.port}/${port.protocol}`;
  const reason = reasons[code] ?? error.message;
  const by = code === 'EADDRINUSE' && owner ? ` (by ${owner})` : '';
  const hint =
    code === 'EADDRNOTAVAIL'
      ? `no interface of this host has ${port.hostAddress}: publish on an address that ip address lists`
      : `publish on another host port, or stop ${owner ?? 'the process that listens there'} first`;
  return new EngineError('conflict', `failed to bind host port for ${where}: ${reason}${by}`, {
    cause: error,
    hint,
    ...(code === 'EADDRINUSE' && { code: 'E_PORT_IN_USE' }),
  });
}
