import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLog } from '../../src/base/log.ts';
import type { NetworkRequest } from '../../src/networks/definition.ts';
import {
  defaultNetworksConfig,
  HostNetworks,
  type HostNetworksDeps,
  type NetworksConfig,
} from '../../src/networks/host-networks.ts';
import type { Endpoint, JoinRequest, PortRequest } from '../../src/networks/networks.ts';
import { SqliteDatabase } from '../../src/state/sqlite-database.ts';
import { check, libc } from '../../src/sys/libc.ts';

const CLONE_NEWNET = 0x40000000;

export interface Container {
  readonly id: string;
  readonly path: string;
  readonly endpoint: Endpoint;
}

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 });
}

export const newId = () => randomBytes(32).toString('hex');

export function port(container: number, host: number, more: Partial<PortRequest> = {}): PortRequest {
  return { port: container, protocol: 'tcp', hostAddress: '', first: host, last: host, ...more };
}

/** With a database of their own beside their other records; it is closed after them. */
export async function openNetworks(deps: Omit<HostNetworksDeps, 'database'>): Promise<HostNetworks> {
  mkdirSync(deps.root, { recursive: true });
  const database = await SqliteDatabase.open({ path: join(deps.root, 'engine.db') });
  const networks = await HostNetworks.open({ ...deps, database });
  const dispose = networks[Symbol.asyncDispose].bind(networks);
  networks[Symbol.asyncDispose] = async () => {
    await dispose();
    await database[Symbol.asyncDispose]();
  };
  return networks;
}

/**
 * A machine of the test's own: this process (its main thread, and what that starts) moves to a new network namespace, so
 * that bridge, rules and ports are nobody else's. A second namespace is a machine on the same LAN, with a route to the
 * containers' subnet as an attacker would set it.
 */
export class Lab implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'berth-networks-'));
  readonly lan = `berth-lan-${randomBytes(3).toString('hex')}`;
  readonly hostAddress = '10.99.0.1';
  readonly lanAddress = '10.99.0.2';
  readonly lines: string[] = [];
  readonly events: string[] = [];
  readonly #processes: ChildProcess[] = [];

  constructor() {
    check('unshare', 'CLONE_NEWNET', libc().func('int unshare(int)')(CLONE_NEWNET));
    run('ip', 'link', 'set', 'lo', 'up');
    run('ip', 'netns', 'add', this.lan);
    run('ip', 'link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.lan);
    run('ip', 'address', 'add', `${this.hostAddress}/24`, 'dev', 'lan0');
    run('ip', 'address', 'add', 'fd99::1/64', 'dev', 'lan0', 'nodad');
    run('ip', 'link', 'set', 'lan0', 'up');
    for (const command of [
      'link set lo up',
      `address add ${this.lanAddress}/24 dev eth0`,
      'address add fd99::2/64 dev eth0 nodad',
      'link set eth0 up',
      `route add 172.16.0.0/12 via ${this.hostAddress}`,
    ])
      run('ip', '-n', this.lan, ...command.split(' '));
  }

  /** An engine's networks. Those of one root are the same host's after a restart. */
  open(config: Partial<NetworksConfig> = {}, engine = ''): Promise<HostNetworks> {
    return openNetworks({
      root: join(this.root, `state${engine}`),
      runDir: join(this.root, `run${engine}`),
      config: { ...defaultNetworksConfig, helperLingerMs: 500, ...config },
      events: {
        emit: ({ action, actor }) => void this.events.push(`${action} ${actor.attributes.container?.slice(0, 6)}`),
        history: () => [],
        listen: () => ({ [Symbol.dispose]() {} }),
        listeners: 0,
      },
      log: createLog({ level: 'debug', format: 'text', write: (line) => this.lines.push(`${engine} ${line}`) }),
    });
  }

  async container(networks: HostNetworks, ports: readonly PortRequest[] = [], id = newId()): Promise<Container> {
    return this.joined(networks, ['bridge'], { ports, id });
  }

  /** In several networks; `endpoint` is that of the first. */
  async joined(
    networks: HostNetworks,
    joins: readonly (string | JoinRequest)[],
    {
      ports = [],
      id = newId(),
      dns = [],
    }: { ports?: readonly PortRequest[]; id?: string; dns?: readonly string[] } = {},
  ): Promise<Container & { readonly endpoints: readonly Endpoint[] }> {
    const requests = joins.map((join) => (typeof join === 'string' ? { network: join } : join));
    const { sandbox, endpoints } = await networks.open(id, { joins: requests, ports, dns });
    const [endpoint] = endpoints;
    if (!endpoint) throw new Error('no endpoint');
    return { id, path: sandbox.path, endpoint, endpoints };
  }

  /** Serves in a namespace: on TCP `from <client>` and then what it was sent; on UDP the same in one datagram. */
  async serve(container: Container, ...ports: number[]): Promise<ChildProcess> {
    const script = fileURLToPath(new URL('./networks-echo.ts', import.meta.url));
    const child = this.start('nsenter', [`--net=${container.path}`, process.execPath, script, ...ports.map(String)]);
    if (child.stdout) await once(child.stdout, 'data');
    return child;
  }

  start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } });
    this.#processes.push(child);
    return child;
  }

  get lanPath(): string {
    return `/run/netns/${this.lan}`;
  }

  /** What a client in a namespace ('' is the host) gets; '' when nothing answers in time. */
  ask(namespace: string, address: string, portNumber: number, { udp = false, bind = '' } = {}): string {
    const args = [
      ...(namespace === '' ? [] : ['nsenter', `--net=${namespace}`]),
      process.execPath,
      fileURLToPath(new URL('./networks-ask.ts', import.meta.url)),
      address,
      String(portNumber),
      udp ? 'udp' : 'tcp',
      bind,
    ];
    const [command = '', ...rest] = args;
    return spawnSync(command, rest, { encoding: 'utf8', timeout: 10_000 }).stdout;
  }

  /** What the name server of a container says: the code and the answers, `0 10.0.0.2`; '' when it does not answer. */
  resolve(container: { readonly path: string }, name: string, type = 'A', transport = 'udp'): string {
    const script = fileURLToPath(new URL('./networks-resolve.ts', import.meta.url));
    const args = [`--net=${container.path}`, process.execPath, script, name, type, transport];
    return spawnSync('nsenter', args, { encoding: 'utf8', timeout: 10_000 }).stdout;
  }

  /** A name server at an address of this machine; gives the names that it was asked for so far. */
  async nameServer(address: string, ...zone: readonly string[]): Promise<() => readonly string[]> {
    const script = fileURLToPath(new URL('./networks-resolve.ts', import.meta.url));
    const child = this.start(process.execPath, [script, 'serve', address, ...zone]);
    let said = '';
    child.stdout?.on('data', (data: Buffer) => {
      said += data;
    });
    await until(10_000, () => said.startsWith('serving\n'));
    return () => said.split('\n').slice(1, -1);
  }

  /** A network as the API would make it of `docker network create NAME`. */
  network(name: string, more: Partial<NetworkRequest> = {}): NetworkRequest {
    return {
      name,
      driver: 'bridge',
      internal: false,
      attachable: false,
      ipv4: true,
      ipv6: false,
      labels: {},
      options: {},
      ipam: { driver: 'default', options: undefined, configs: [] },
      ...more,
    };
  }

  /** A connection that stays: gives the number of answers so far, or -1 once it has ended. */
  talk(namespace: string, address: string, portNumber: number): () => number {
    const script = fileURLToPath(new URL('./networks-ask.ts', import.meta.url));
    const child = this.start('nsenter', [
      `--net=${namespace}`,
      process.execPath,
      script,
      address,
      String(portNumber),
      'talk',
    ]);
    let answers = 0;
    child.stdout?.on('data', (data: Buffer) => {
      answers += data.length;
    });
    return () => (child.exitCode === null ? answers : -1);
  }

  /** What is left in this namespace and below the root that only an engine makes. */
  leftovers(): string[] {
    const links = run('ip', '-o', 'link')
      .split('\n')
      .flatMap((line) => /^\d+: (bth\w+|berth0|bn-\w+|d[im]-\w+)/.exec(line)?.[1] ?? []);
    const mounts = readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.root));
    const rules = run('nft', 'list', 'tables').includes('berth') ? ['table berth'] : [];
    const accepts = run('iptables', '-S')
      .split('\n')
      .filter((line) => line.includes('berth-'));
    const processes = readdirSync('/proc').filter((pid) => {
      try {
        return (
          /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${this.root}/run/network.sock`)
        );
      } catch {
        return false;
      }
    });
    return [...links, ...mounts, ...rules, ...accepts, ...processes.map((pid) => `helper ${pid}`)];
  }

  async stopProcesses(): Promise<void> {
    for (const child of this.#processes.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopProcesses();
    run('ip', 'netns', 'del', this.lan);
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Waits until `condition` gives something true, for at most `ms`; gives that back. */
export async function until<T>(ms: number, condition: () => T | Promise<T>): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value || Date.now() > end) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
