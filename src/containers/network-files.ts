import { isIP } from 'node:net';
import { EngineError } from '../base/errors.ts';

/** A container's /etc/hosts in Docker's form: the loopback names, --add-host, links, then its own addresses. */
export function hostsFile({
  extraHosts,
  hostGateway,
  links = [],
  own,
}: {
  readonly extraHosts: readonly string[];
  /** What `host-gateway` stands for. */
  readonly hostGateway: string;
  /** Lines of those that it links to. */
  readonly links?: readonly string[];
  readonly own: { readonly addresses: readonly string[]; readonly hostname: string; readonly domainname: string };
}): string {
  const lines = [...loopback, ...extraHosts.map((entry) => extraHost(entry, hostGateway)), ...links];
  // The whole name, and the first part of it, however it was split between the two flags.
  const full = own.domainname ? `${own.hostname}.${own.domainname}` : own.hostname;
  const [first] = full.split('.');
  for (const address of own.addresses) lines.push(`${address}\t${full}${first === full ? '' : ` ${first}`}`);
  return `${lines.join('\n')}\n`;
}

const loopback = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/**
 * The file with these lines of links in it. A line is a link's by the alias that it begins with: what stood there with
 * another address goes, what the container wrote itself stays.
 */
export function withLinks(hosts: string, links: readonly string[]): string {
  const left = new Map(links.map((line) => [aliasOf(line), line]));
  const lines = hosts
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => {
      const link = loopback.includes(line) ? undefined : left.get(aliasOf(line));
      if (link === undefined) return line;
      left.delete(aliasOf(line));
      return link;
    });
  return `${[...lines, ...left.values()].join('\n')}\n`;
}

/** The file without the line of a link. */
export function withoutLink(hosts: string, alias: string): string {
  const lines = hosts.split('\n').filter((line) => loopback.includes(line) || aliasOf(line) !== alias);
  return lines.join('\n');
}

const aliasOf = (line: string) => line.split(/\s+/)[1] ?? '';

/** The host's own file with what the user adds: a container in the host's network. */
export function hostNetworkHostsFile(host: string, extraHosts: readonly string[], hostGateway: string): string {
  if (extraHosts.length === 0) return host;
  const added = extraHosts.map((entry) => extraHost(entry, hostGateway)).join('\n');
  return `${host.endsWith('\n') || host === '' ? host : `${host}\n`}${added}\n`;
}

/** `name:address` or `name=address`, the address plain or in brackets, or `name:host-gateway`. */
export function extraHost(entry: string, hostGateway: string): string {
  const colon = entry.search(/[:=]/);
  const name = entry.slice(0, colon);
  const given = entry.slice(colon + 1);
  const address = given === 'host-gateway' ? hostGateway : given.replace(/^\[(.*)\]$/, '$1');
  if (colon < 1 || /\s/.test(name))
    throw new EngineError('invalid', `bad format for add-host: ${JSON.stringify(entry)}`);
  if (given === 'host-gateway' && address === '')
    throw new EngineError('invalid', 'unable to derive the IP value for host-gateway');
  if (isIP(address) === 0) throw new EngineError('invalid', `invalid IP address in add-host: ${JSON.stringify(given)}`);
  return `${address}\t${name}`;
}

export interface Resolver {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** What the user asked for with --dns* over what the host gives. `.` as only search domain means none. */
export function mergeResolver(
  host: Resolver,
  {
    Dns,
    DnsSearch,
    DnsOptions,
  }: { readonly Dns: readonly string[]; readonly DnsSearch: readonly string[]; readonly DnsOptions: readonly string[] },
): Resolver {
  const search = DnsSearch?.length ? DnsSearch : host.search;
  return {
    servers: Dns?.length ? Dns : host.servers,
    search: search.length === 1 && search[0] === '.' ? [] : search,
    options: DnsOptions?.length ? DnsOptions : host.options,
  };
}

/**
 * In a network with names the container asks the name server in its own namespace, which asks the others. A name without
 * a dot is tried as it is first: it is most likely a neighbour's.
 */
export function embeddedResolver({ search, options }: Resolver): Resolver {
  const ndots = options.some((option) => option.startsWith('ndots:')) ? [] : ['ndots:0'];
  return { servers: ['127.0.0.11'], search, options: [...options, ...ndots] };
}

export function resolvConf({ servers, search, options }: Resolver): string {
  const lines = [
    '# Written by Berth when the container starts.',
    ...servers.map((server) => `nameserver ${oneLine(server)}`),
    ...(search.length > 0 ? [`search ${search.map(oneLine).join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.map(oneLine).join(' ')}`] : []),
  ];
  return `${lines.join('\n')}\n`;
}

/** The host's resolv.conf, read. */
export function parseResolvConf(text: string): Resolver {
  const servers: string[] = [];
  let search: string[] = [];
  const options: string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...rest] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver' && rest[0]) servers.push(rest[0]);
    else if (word === 'search' || word === 'domain') search = rest;
    else if (word === 'options') options.push(...rest);
  }
  return { servers, search, options };
}

/** A line break in a value would be a line of its own in the file. */
function oneLine(value: string): string {
  if (/[\s\0]/.test(value)) throw new EngineError('invalid', `${JSON.stringify(value)} must be one word`);
  return value;
}
