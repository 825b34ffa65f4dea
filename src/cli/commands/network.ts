import { EngineError } from '../../base/errors.ts';
import type { EngineClient } from '../../client/client.ts';
import { type Command, type Parsed, UsageError } from '../command.ts';
import { withAddressHolder } from '../conflicts.ts';
import { withEngine } from '../connect.ts';
import { formatOption, formatted } from '../format.ts';
import { networkView } from '../list-views.ts';
import { withNearName } from '../missing.ts';
import { filtersOf, pairsOf, splitOnce } from '../pairs.ts';
import { paint, plain, printFailure, printJson, table } from '../terminal.ts';

interface Listed {
  readonly Name: string;
  readonly Id: string;
  readonly Driver: string;
  readonly Internal: boolean;
  readonly IPAM: { readonly Config: readonly { readonly Subnet?: string }[] | null };
}

const many = Number.POSITIVE_INFINITY;
const at = (network: string) => `/networks/${encodeURIComponent(network)}`;

export const ls: Command = {
  usage: 'network ls [OPTIONS]',
  about: 'Lists networks.',
  options: {
    filter: {
      ...{ short: '-f', value: 'NAME=VALUE', many: true },
      about: 'only those that match: driver, id, label, name, scope, type, dangling',
    },
    quiet: { short: '-q', about: 'only the ids' },
    'no-trunc': { about: 'whole ids' },
    format: formatOption,
    json: { about: 'what the engine says, as JSON' },
  },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const filters = JSON.stringify(filtersOf(parsed.values('filter'), 'berth network ls --help'));
    const found = await withEngine((client) =>
      client.json<readonly Listed[]>('GET', '/networks', { query: { filters } }),
    );
    const format = parsed.value('format');
    const id = ({ Id }: Listed) => (parsed.flag('no-trunc') ? Id : Id.slice(0, 12));
    if (parsed.flag('json')) printJson(found);
    else if (parsed.flag('quiet')) process.stdout.write(found.map((one) => `${id(one)}\n`).join(''));
    else if (format !== undefined) {
      const views = found.map((one) => networkView(one, parsed.flag('no-trunc')));
      process.stdout.write(formatted(format, views));
    } else
      process.stdout.write(
        table(
          ['NETWORK', 'DRIVER', 'ADDRESSES', 'ID'],
          found.map((one) => [
            one.Name,
            `${one.Driver}${one.Internal ? ', internal' : ''}`,
            (one.IPAM.Config ?? []).flatMap(({ Subnet }) => Subnet ?? []).join(' ') || '-',
            id(one),
          ]),
        ),
      );
    return 0;
  },
};

export const create: Command = {
  usage: 'network create [OPTIONS] NETWORK',
  about: 'Makes a network. Containers in it find each other by name; without a subnet a free one is taken.',
  options: {
    driver: { short: '-d', value: 'NAME', about: 'bridge, macvlan, ipvlan (bridge)' },
    subnet: { value: 'ADDRESS/BITS', many: true, about: 'its addresses' },
    'ip-range': { value: 'ADDRESS/BITS', many: true, about: 'the part of them that containers get' },
    gateway: { value: 'ADDRESS', many: true, about: 'the address of the way out' },
    'aux-address': { value: 'NAME=ADDRESS', many: true, about: 'an address that no container gets' },
    internal: { about: 'without a way out' },
    ipv4: { about: 'with IPv4 addresses (true)' },
    ipv6: { about: 'with IPv6 addresses too' },
    label: { value: 'NAME=VALUE', many: true, about: 'a label' },
    opt: { short: '-o', value: 'NAME=VALUE', many: true, about: 'an option of the driver' },
    'ipam-driver': { value: 'NAME', about: 'who gives addresses out (default)' },
    'ipam-opt': { value: 'NAME=VALUE', many: true, about: 'an option of it' },
    attachable: { about: 'has no meaning on one host' },
    scope: { value: 'SCOPE', about: 'local' },
    'config-only': { about: 'refused: of clusters' },
    'config-from': { value: 'NETWORK', about: 'refused: of clusters' },
    ingress: { about: 'refused: of clusters' },
    json: { about: 'its id as JSON' },
  },
  operands: { least: 1, most: 1 },
  examples: ['berth network create backend', 'berth network create --internal --subnet 10.9.0.0/24 vault'],
  async run(parsed) {
    const body = networkBody(parsed);
    const made = await withEngine((client) =>
      client.json<{ Id: string; Warning?: string }>('POST', '/networks/create', { json: body }),
    );
    if (made.Warning) process.stderr.write(`${paint('yellow', 'warning:', process.stderr)} ${plain(made.Warning)}\n`);
    if (parsed.flag('json')) printJson({ id: made.Id, name: parsed.operands[0] });
    else process.stdout.write(`${made.Id}\n`);
    return 0;
  },
};

function networkBody(parsed: Parsed): Record<string, unknown> {
  const help = 'berth network create --help';
  const named = (option: string) => Object.fromEntries(pairsOf(parsed.values(option), `--${option}`, help));
  const subnets = parsed.values('subnet').map((Subnet): Record<string, unknown> => ({ Subnet }));
  const configs = subnets.length > 0 ? subnets : [{}];
  // As docker does: an address belongs to the subnet that it lies in; with one of a family there is no question.
  const place = (address: string, option: string) => {
    const six = address.includes(':');
    const fitting = subnets.filter(({ Subnet }) => String(Subnet).includes(':') === six);
    const found =
      fitting.length <= 1
        ? (fitting[0] ?? configs[0]!)
        : fitting.find((one) => contains(String(one['Subnet']), address));
    if (!found || (subnets.length === 0 && option !== 'gateway'))
      throw new UsageError(`--${option} ${address}: no --subnet that it lies in`, help);
    return found;
  };
  for (const range of parsed.values('ip-range')) place(range, 'ip-range')['IPRange'] = range;
  for (const gateway of parsed.values('gateway')) place(gateway, 'gateway')['Gateway'] = gateway;
  for (const [name, address] of pairsOf(parsed.values('aux-address'), '--aux-address', help)) {
    const config = place(address, 'aux-address');
    config['AuxiliaryAddresses'] = { ...(config['AuxiliaryAddresses'] as object | undefined), [name]: address };
  }
  const four = parsed.value('ipv4');
  return {
    Name: parsed.operands[0],
    Driver: parsed.value('driver') ?? 'bridge',
    Internal: parsed.flag('internal'),
    Attachable: parsed.flag('attachable'),
    Ingress: parsed.flag('ingress'),
    Scope: parsed.value('scope') ?? '',
    ConfigOnly: parsed.flag('config-only'),
    ...(parsed.value('config-from') && { ConfigFrom: { Network: parsed.value('config-from') } }),
    ...(four !== undefined && { EnableIPv4: parsed.flag('ipv4') }),
    EnableIPv6: parsed.flag('ipv6'),
    Labels: Object.fromEntries(parsed.values('label').map(splitOnce)),
    Options: named('opt'),
    IPAM: {
      Driver: parsed.value('ipam-driver') ?? 'default',
      Options: named('ipam-opt'),
      Config: configs.filter((config) => Object.keys(config).length > 0),
    },
  };
}

/** Whether the address, or the beginning of the range, lies in the subnet. The engine checks all else. */
function contains(subnet: string, address: string): boolean {
  const [base = '', bits = '0'] = subnet.split('/');
  const wanted = bitsOf(address.split('/')[0]!);
  const own = bitsOf(base);
  return wanted !== undefined && own !== undefined && wanted.slice(0, Number(bits)) === own.slice(0, Number(bits));
}

function bitsOf(address: string): string | undefined {
  const groups = (texts: readonly string[], base: number, width: number) =>
    texts
      .map((text) =>
        Number.parseInt(text || '0', base)
          .toString(2)
          .padStart(width, '0'),
      )
      .join('');
  if (!address.includes(':')) return groups(address.split('.'), 10, 8);
  const [head = '', tail] = address.split('::');
  const [left, right] = [head.split(':').filter(Boolean), (tail ?? '').split(':').filter(Boolean)];
  if (left.length + right.length > 8) return undefined;
  return groups([...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right], 16, 16);
}

export const connect: Command = {
  usage: 'network connect [OPTIONS] NETWORK CONTAINER',
  about: 'Puts a container into a network, at once when it runs.',
  options: {
    alias: { value: 'NAME', many: true, about: 'another name that it has there' },
    ip: { value: 'ADDRESS', about: 'its IPv4 address' },
    ip6: { value: 'ADDRESS', about: 'its IPv6 address' },
    link: { value: 'CONTAINER[:NAME]', many: true, about: 'another container by a name that only this one knows' },
    'link-local-ip': { value: 'ADDRESS', many: true, about: 'a link-local address' },
    'driver-opt': { value: 'NAME=VALUE', many: true, about: 'an option of the driver' },
    'gw-priority': { value: 'NUMBER', about: 'the network with the highest gives the way out' },
    json: { about: 'what was connected, as JSON' },
  },
  operands: { least: 2, most: 2 },
  async run(parsed) {
    const help = 'berth network connect --help';
    const [network, container] = parsed.operands;
    const priority = parsed.value('gw-priority');
    if (priority !== undefined && !/^-?\d{1,9}$/.test(priority))
      throw new UsageError(`--gw-priority ${priority}: expected a number`, help);
    const [four, six, link] = [parsed.value('ip'), parsed.value('ip6'), parsed.values('link-local-ip')];
    const options = Object.fromEntries(pairsOf(parsed.values('driver-opt'), '--driver-opt', help));
    const json = {
      Container: container,
      EndpointConfig: {
        Aliases: parsed.values('alias'),
        Links: parsed.values('link'),
        ...(Object.keys(options).length > 0 && { DriverOpts: options }),
        ...(priority !== undefined && { GwPriority: Number(priority) }),
        ...((four !== undefined || six !== undefined || link.length > 0) && {
          IPAMConfig: {
            ...(four !== undefined && { IPv4Address: four }),
            ...(six !== undefined && { IPv6Address: six }),
            ...(link.length > 0 && { LinkLocalIPs: link }),
          },
        }),
      },
    };
    const addresses = [four, six].filter((address) => address !== undefined);
    await withEngine((client) =>
      client.json('POST', `${at(network!)}/connect`, { json }).catch(async (error: unknown) => {
        throw await withAddressHolder(client, error, addresses);
      }),
    );
    if (parsed.flag('json')) printJson({ network, container });
    return 0;
  },
};

export const disconnect: Command = {
  usage: 'network disconnect [OPTIONS] NETWORK CONTAINER',
  about: 'Takes a container out of a network.',
  options: {
    force: { short: '-f', about: 'also one that is not there any more' },
    json: { about: 'what was disconnected, as JSON' },
  },
  operands: { least: 2, most: 2 },
  async run(parsed) {
    const [network, Container] = parsed.operands;
    const json = { Container, Force: parsed.flag('force') };
    await withEngine((client) => client.json('POST', `${at(network!)}/disconnect`, { json }));
    if (parsed.flag('json')) printJson({ network, container: Container });
    return 0;
  },
};

export const rm: Command = {
  usage: 'network rm [OPTIONS] NETWORK...',
  about: 'Removes networks.',
  options: {
    force: { short: '-f', about: 'one that is not there is no error' },
    json: { about: 'what became of each, as JSON' },
  },
  operands: { least: 1, most: many },
  async run(parsed) {
    const outcomes = new Map<string, 'gone' | 'missing' | 'failed'>();
    await withEngine(async (client) => {
      for (const name of parsed.operands) outcomes.set(name, await remove(client, name, parsed));
    });
    if (parsed.flag('json')) printJson([...outcomes].map(([network, outcome]) => ({ network, outcome })));
    return [...outcomes.values()].includes('failed') ? 1 : 0;
  },
};

/** Goes on after one that failed. */
async function remove(client: EngineClient, name: string, parsed: Parsed): Promise<'gone' | 'missing' | 'failed'> {
  try {
    await client.json('DELETE', at(name));
    if (!parsed.flag('json')) process.stdout.write(`${plain(name)}\n`);
    return 'gone';
  } catch (error) {
    const missing = error instanceof EngineError && error.kind === 'not-found';
    if (missing && parsed.flag('force')) return 'missing';
    if (parsed.operands.length === 1) throw error;
    printFailure(await withNearName(client, error), parsed.flag('json'));
    return 'failed';
  }
}
