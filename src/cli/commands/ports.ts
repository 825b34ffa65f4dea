import { networkInterfaces } from 'node:os';
import type { EngineClient } from '../../client/client.ts';
import { findPortOwner } from '../../networks/port-owner.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { inspectContainer } from '../container-info.ts';
import { engineConfig } from '../engine-config.ts';
import { ownName } from '../engine-names.ts';
import { firewallNotes } from '../port-firewalls.ts';
import type { Listed } from '../ps-words.ts';
import { type HostAddress, outerAddresses, type Reach, reachOf, reachText } from '../reach.ts';
import { paint, plainLine, printJson, table } from '../terminal.ts';

interface Row {
  readonly port: string;
  readonly protocol: string;
  readonly container: string;
  readonly inside: number;
  readonly addresses: readonly string[];
  /** Undefined of a container that does not run. */
  readonly reach: Reach | undefined;
  readonly text: string;
}

export const ports: Command = {
  usage: 'ports [OPTIONS] [CONTAINER...]',
  about:
    'Says who can reach each published port: this machine only, the local network or the internet and by which addresses,\nand what the firewall of this host makes of it. Of a container that does not run: who has its ports now.',
  options: { json: { about: 'as JSON' } },
  operands: { least: 0, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    const { bridge } = engineConfig(undefined);
    const host = outerAddresses(networkInterfaces(), bridge);
    const [rows, firewalls] = await Promise.all([
      withEngine((client) => rowsOf(client, parsed.operands, host)),
      firewallNotes(bridge),
    ]);
    if (parsed.flag('json')) printJson({ ports: rows, firewalls });
    else if (rows.length === 0) process.stdout.write('no port is published\n');
    else {
      process.stdout.write(
        table(
          ['PORT', 'CONTAINER', 'INSIDE', 'WHO CAN REACH IT'],
          rows.map(({ port, protocol, container, inside, text }) => [
            `${port}/${protocol}`,
            container,
            String(inside),
            text,
          ]),
        ),
      );
      if (rows.some(({ reach }) => reach && !reach.localOnly))
        process.stdout.write(
          `\n${firewalls.map(({ opinion, text }) => `${mark(opinion)}  ${plainLine(text)}\n`).join('')}`,
        );
    }
    return 0;
  },
};

const mark = (opinion: string) =>
  opinion === 'drops' ? paint('yellow', 'drops  ') : opinion === 'unknown' ? 'unknown' : 'open   ';

async function rowsOf(client: EngineClient, names: readonly string[], host: readonly HostAddress[]): Promise<Row[]> {
  const running = await client.json<readonly Listed[]>('GET', '/containers/json');
  const published = running.flatMap((one) => publishedBy(one, host));
  if (names.length === 0) return published;
  const rows: Row[] = [];
  for (const name of names) {
    const container = await inspectContainer(client, name);
    const title = container.Name.slice(1);
    const own = published.filter((row) => row.container === title);
    rows.push(...own);
    if (container.State.Status === 'running' || container.State.Status === 'paused') continue;
    for (const [spec, bindings] of Object.entries(container.HostConfig.PortBindings)) {
      const [inside = '', protocol = 'tcp'] = spec.split('/');
      for (const { HostIp, HostPort } of bindings ?? []) {
        const holder = HostPort === '' ? undefined : holderOf(published, protocol, HostPort);
        rows.push({
          port: HostPort || 'any',
          protocol,
          container: title,
          inside: Number(inside),
          addresses: [HostIp],
          reach: undefined,
          text: `nobody: it does not run${holder ? `; ${holder} has the port` : ''}`,
        });
      }
    }
  }
  return rows;
}

function holderOf(published: readonly Row[], protocol: string, port: string): string | undefined {
  const row = published.find((one) => one.port === port && one.protocol === protocol);
  if (row) return `container ${row.container}`;
  return protocol === 'tcp' || protocol === 'udp' ? findPortOwner({ protocol, hostPort: Number(port) }) : undefined;
}

/** A port on several addresses is one row. */
function publishedBy({ Names, Ports }: Listed, host: readonly HostAddress[]): Row[] {
  const groups = Map.groupBy(
    Ports.filter(({ PublicPort }) => PublicPort !== undefined),
    ({ PublicPort, PrivatePort, Type }) => `${PublicPort} ${PrivatePort} ${Type}`,
  );
  return [...groups.values()].map((group) => {
    const { PublicPort, PrivatePort, Type } = group[0]!;
    const addresses = group.map(({ IP = '' }) => IP);
    const reach = reachOf(addresses, host);
    return {
      port: String(PublicPort),
      protocol: Type,
      container: ownName(Names),
      inside: PrivatePort,
      addresses,
      reach,
      text: reachText(reach),
    };
  });
}
