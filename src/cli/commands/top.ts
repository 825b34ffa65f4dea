import { EngineError } from '../../base/errors.ts';
import { type Command, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { inspectContainer } from '../container-info.ts';
import { plain, printJson, table } from '../terminal.ts';

interface Top {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

export const top: Command = {
  usage: 'top [OPTIONS] CONTAINER [PS_OPTIONS...]',
  about: "Lists a container's processes, as ps sees them from this machine.",
  options: { json: { about: 'what the engine says, as JSON' } },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  passThrough: true,
  examples: ['berth top web', 'berth top web -o pid,rss,comm'],
  async run(parsed) {
    const [container, ...words] = parsed.operands;
    const found = await withEngine((client) =>
      client.json<Top>('GET', `/containers/${encodeURIComponent(container!)}/top`, {
        query: { ps_args: words.length > 0 ? words.join(' ') : undefined },
      }),
    );
    if (parsed.flag('json')) printJson(found);
    else process.stdout.write(table(found.Titles, found.Processes));
    return 0;
  },
};

export const port: Command = {
  usage: 'port [OPTIONS] CONTAINER [PORT[/PROTOCOL]]',
  about:
    "Prints a container's published ports, or where one of them is published. `berth ports` says who can reach them.",
  options: { json: { about: 'as JSON' } },
  operands: { least: 1, most: 2 },
  async run(parsed) {
    const [container, asked] = parsed.operands;
    const { Name, NetworkSettings } = await withEngine((client) => inspectContainer(client, container!));
    const wanted = asked === undefined ? undefined : asked.includes('/') ? asked : `${asked}/tcp`;
    if (wanted !== undefined && !/^\d+\/(?:tcp|udp|sctp)$/.test(wanted))
      throw new UsageError(`${asked}: expected PORT or PORT/PROTOCOL`, 'berth port --help');
    const found = Object.entries(NetworkSettings.Ports).flatMap(([inside, bindings]) =>
      wanted === undefined || wanted === inside ? (bindings ?? []).map((binding) => ({ inside, ...binding })) : [],
    );
    if (wanted !== undefined && found.length === 0)
      throw new EngineError('not-found', `No public port '${plain(asked!)}' published for ${plain(Name.slice(1))}`);
    const text = ({ HostIp, HostPort }: { HostIp: string; HostPort: string }) =>
      `${HostIp.includes(':') ? `[${HostIp}]` : HostIp}:${HostPort}`;
    if (parsed.flag('json')) printJson(found);
    else
      process.stdout.write(
        found.map((one) => `${wanted === undefined ? `${one.inside} -> ` : ''}${text(one)}\n`).join(''),
      );
    return 0;
  },
};
