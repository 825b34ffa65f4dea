import { type Parsed, UsageError } from './command.ts';
import { splitOnce } from './pairs.ts';
import { commaSeparated, wholeNumber } from './values.ts';

export interface NetworkFields {
  readonly NetworkMode: string;
  readonly EndpointsConfig: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** `--network`, several times or as `name=NET,alias=WEB,ip=10.0.0.5`, and the flags that speak of the first one. */
export function networkFields(parsed: Parsed, help: string): NetworkFields {
  const texts = parsed.values('network');
  const attachments = (texts.length > 0 ? texts : ['bridge']).map((text) => attachmentOf(text, help));
  const [first] = attachments;
  const own: Record<string, unknown> = first!.settings;
  const add = (key: string, values: readonly string[]) => {
    if (values.length > 0) own[key] = [...((own[key] as readonly string[] | undefined) ?? []), ...values];
  };
  add('Aliases', parsed.values('network-alias'));
  add('Links', parsed.values('link'));
  const addresses = {
    ...(parsed.value('ip') !== undefined && { IPv4Address: parsed.value('ip') }),
    ...(parsed.value('ip6') !== undefined && { IPv6Address: parsed.value('ip6') }),
    ...(parsed.values('link-local-ip').length > 0 && { LinkLocalIPs: parsed.values('link-local-ip') }),
  };
  if (Object.keys(addresses).length > 0)
    own['IPAMConfig'] = { ...(own['IPAMConfig'] as object | undefined), ...addresses };
  const mac = parsed.value('mac-address');
  if (mac !== undefined) own['MacAddress'] = mac;
  // Links of the default bridge are the host configuration's.
  if (first!.name === 'bridge' || first!.name === 'default') delete own['Links'];
  const names = attachments.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`network ${twice} is named twice`, help);
  return {
    NetworkMode: first!.name,
    EndpointsConfig: Object.fromEntries(
      attachments
        .filter(({ settings }, index) => index > 0 || Object.keys(settings).length > 0)
        .map(({ name, settings }) => [name, settings]),
    ),
  };
}

interface Attachment {
  readonly name: string;
  readonly settings: Record<string, unknown>;
}

function attachmentOf(text: string, help: string): Attachment {
  if (!/^[a-z0-9-]+=/i.test(text)) return { name: text, settings: {} };
  let name = '';
  const settings: Record<string, unknown> = {};
  const ipam: Record<string, unknown> = {};
  const push = (into: Record<string, unknown>, key: string, value: string) => {
    into[key] = [...((into[key] as readonly string[] | undefined) ?? []), value];
  };
  for (const field of commaSeparated(text)) {
    const [key, value] = splitOnce(field);
    if (key === 'name') name = value;
    else if (key === 'alias') push(settings, 'Aliases', value);
    else if (key === 'ip') ipam['IPv4Address'] = value;
    else if (key === 'ip6') ipam['IPv6Address'] = value;
    else if (key === 'link-local-ip') push(ipam, 'LinkLocalIPs', value);
    else if (key === 'mac-address') settings['MacAddress'] = value;
    else if (key === 'driver-opt') {
      const [option, set] = splitOnce(value);
      settings['DriverOpts'] = { ...(settings['DriverOpts'] as object | undefined), [option]: set };
    } else if (key === 'gw-priority') settings['GwPriority'] = wholeNumber(value, 'gw-priority', help);
    else throw new UsageError(`--network ${text}: invalid field key ${key}`, help);
  }
  if (name === '') throw new UsageError(`--network ${text}: network name/id is not specified`, help);
  if (Object.keys(ipam).length > 0) settings['IPAMConfig'] = ipam;
  return { name, settings };
}
