import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';
import { table } from '../terminal.ts';

interface Listed {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly State: string;
  readonly Status: string;
  readonly Ports: readonly {
    readonly IP?: string;
    readonly PrivatePort: number;
    readonly PublicPort?: number;
    readonly Type: string;
  }[];
}

export const ps: Command = {
  usage: 'ps [OPTIONS]',
  about: 'Lists running containers: name, state, ports, image, id.',
  options: {
    all: { short: '-a', about: 'those that do not run too' },
    quiet: { short: '-q', about: 'only the ids' },
    json: { about: 'what the engine says, as JSON' },
    filter: {
      short: '-f',
      value: 'NAME=VALUE',
      many: true,
      about: 'only those that match: status, name, label, ancestor, exited ...',
    },
  },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const filters: Record<string, string[]> = {};
    for (const entry of parsed.values('filter')) {
      const at = entry.indexOf('=');
      const name = at < 0 ? entry : entry.slice(0, at);
      filters[name] = [...(filters[name] ?? []), at < 0 ? '' : entry.slice(at + 1)];
    }
    const listed = await withEngine((client) =>
      client.json<readonly Listed[]>('GET', '/containers/json', {
        query: { all: parsed.flag('all') ? 1 : 0, filters: JSON.stringify(filters) },
      }),
    );
    if (parsed.flag('json')) process.stdout.write(`${JSON.stringify(listed, null, 2)}\n`);
    else if (parsed.flag('quiet')) process.stdout.write(listed.map(({ Id }) => `${Id.slice(0, 12)}\n`).join(''));
    else {
      process.stdout.write(
        table(
          ['NAME', 'STATE', 'PORTS', 'IMAGE', 'ID'],
          listed.map(({ Names, State, Status, Ports, Image, Id }) => [
            Names[0]!.slice(1),
            stateText(State, Status),
            portsText(Ports),
            Image,
            Id.slice(0, 12),
          ]),
        ),
      );
    }
    return 0;
  },
};

function stateText(state: string, status: string): string {
  return state === 'running' || state === 'exited' || state === 'created'
    ? status
        .replace(/^Created$/, 'created')
        .replace(/^Up/, 'up')
        .replace(/^Exited/, 'exited')
    : `${state} ${status}`;
}

/** `:8080→80` is open to everyone, `8080→80 local` to this machine. IPv4 and IPv6 of one port are one. */
export function portsText(ports: Listed['Ports']): string {
  const texts = ports.map(({ IP, PrivatePort, PublicPort, Type }) => {
    const inside = Type === 'tcp' ? `${PrivatePort}` : `${PrivatePort}/${Type}`;
    if (PublicPort === undefined) return inside;
    if (IP === '0.0.0.0' || IP === '::' || IP === undefined) return `:${PublicPort}→${inside}`;
    return IP === '127.0.0.1' || IP === '::1' ? `${PublicPort}→${inside} local` : `${IP}:${PublicPort}→${inside}`;
  });
  return [...new Set(texts)].join(', ') || '-';
}
