import { EngineError } from '../base/errors.ts';
import type { IpvlanFlag, IpvlanMode, MacvlanMode, MadeParent, ParentKind, ParentSpec } from './parent-spec.ts';

/** What the record of a macvlan or ipvlan network keeps of its parent. */
export interface ParentRecord {
  readonly name: string;
  /** The link was made for networks, and goes with the last of them. */
  readonly owned: boolean;
}

/** Docker answers 500 to all of these. */
const refused = (message: string) => new EngineError('internal', message);

const macvlanModes: readonly string[] = ['bridge', 'private', 'vepa', 'passthru'] satisfies MacvlanMode[];
const ipvlanModes: readonly string[] = ['l2', 'l3', 'l3s'] satisfies IpvlanMode[];
const ipvlanFlags: readonly string[] = ['bridge', 'private', 'vepa'] satisfies IpvlanFlag[];

export interface ParentOptions {
  readonly mode: MacvlanMode | IpvlanMode;
  readonly flag: IpvlanFlag;
  readonly mtu: number | undefined;
  /** '' was not asked for. */
  readonly parent: string;
}

/** The options of `docker network create -d macvlan` and `-d ipvlan`; throws what Docker says of wrong ones. */
export function readParentOptions(kind: ParentKind, options: Readonly<Record<string, string>>): ParentOptions {
  const [modes, standard] = kind === 'macvlan' ? [macvlanModes, 'bridge'] : [ipvlanModes, 'l2'];
  const mode = options[`${kind}_mode`] || standard;
  if (!modes.includes(mode))
    throw refused(`requested ${kind} mode '${mode}' is not valid, '${standard}' mode is the ${kind} driver default`);
  const flag = (kind === 'ipvlan' && options['ipvlan_flag']) || 'bridge';
  if (!ipvlanFlags.includes(flag))
    throw refused(`requested ipvlan flag '${flag}' is not valid, 'bridge' is the ipvlan driver default`);
  const parent = options['parent'] ?? '';
  if (parent === 'lo') throw refused(`loopback interface is not a valid ${kind} parent link`);
  const mtu = Number(options['com.docker.network.driver.mtu'] ?? '0');
  if (!Number.isInteger(mtu) || (mtu !== 0 && (mtu < 68 || mtu > 65_535)))
    throw new EngineError('invalid', `invalid MTU ${options['com.docker.network.driver.mtu']}: 68 to 65535 is needed`);
  return { mode: mode as ParentOptions['mode'], flag: flag as IpvlanFlag, mtu: mtu || undefined, parent };
}

/** The others that stand on links of the host. */
export interface ParentNeighbour {
  readonly id: string;
  readonly driver?: string;
  readonly options?: Readonly<Record<string, string>>;
  readonly parent?: ParentRecord;
}

/** Which link a new network stands on, and whether it has to be made; throws where Docker refuses it. */
export function chooseParent(
  kind: ParentKind,
  id: string,
  { parent, mode }: ParentOptions,
  around: { readonly networks: readonly ParentNeighbour[]; readonly interfaces: () => readonly string[] },
): ParentRecord {
  const name = parent || dummyOf(kind, id);
  const beside = around.networks.filter((network) => network.driver === kind && network.parent?.name === name);
  for (const other of beside) {
    if (kind === 'ipvlan')
      throw refused(`network ${dummyOf(kind, other.id)} is already using parent interface ${name}`);
    if (mode === 'passthru')
      throw refused(`cannot use mode passthru, macvlan network ${other.id} is already using parent interface ${name}`);
    if (other.options?.['macvlan_mode'] === 'passthru')
      throw refused(`macvlan network ${other.id} is already using parent interface ${name} in mode passthru`);
  }
  if (parent === '') return { name, owned: true };
  if (around.interfaces().includes(name))
    return { name, owned: around.networks.some((other) => other.parent?.name === name && other.parent.owned) };
  const { of } = parseVlan(name);
  if (!around.interfaces().includes(of)) throw refused(`-o parent interface was not found on the host: ${of}`);
  return { name, owned: true };
}

/** The name of the link that leads nowhere: that of a network without a parent. */
const dummyOf = (kind: ParentKind, id: string) => `${kind === 'macvlan' ? 'dm' : 'di'}-${id.slice(0, 12)}`;

/** `eth0.20`: a link of the host, and a number of a VLAN (IEEE 802.1Q: 1 to 4094). */
function parseVlan(name: string): { readonly of: string; readonly id: number } {
  if (!name.includes('.')) throw refused(`invalid subinterface vlan name ${name}, example formatting is eth0.10`);
  const [of = '', number = '', ...more] = name.split('.');
  if (of === '' || more.length > 0)
    throw refused(`required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received ${name}`);
  if (!/^[+-]?\d+$/.test(number))
    throw refused(`unable to parse a valid vlan id from: ${number} (ex. eth0.10 for vlan 10)`);
  const id = Number(number);
  if (id < 1 || id > 4094) throw refused(`vlan id must be between 1-4094, received: ${id}`);
  if (name.length > 15) throw refused(`failed to create ${name} vlan link: numerical result out of range`);
  return { of, id };
}

/** The parent of a record as the kernel is to have it. */
export function parentSpec(
  kind: ParentKind,
  { name, owned }: ParentRecord,
  options: Readonly<Record<string, string>>,
): ParentSpec {
  const { mode, flag, mtu, parent } = readParentOptions(kind, options);
  let made: MadeParent | undefined;
  if (owned) made = parent === '' ? { kind: 'dummy' } : { kind: 'vlan', ...parseVlan(name) };
  return { kind, parent: name, mode, flag, mtu, made };
}

/** Where containers have no use for a gateway, none of the addresses is kept for one. */
export const needsGateway = (
  kind: ParentKind,
  { internal, options }: { readonly internal: boolean; readonly options: Readonly<Record<string, string>> },
) => !internal && !(kind === 'ipvlan' && isRouted(options));

/** In ipvlan's l3 modes the kernel routes, by no gateway. */
export const isRouted = (options: Readonly<Record<string, string>>) => /^l3s?$/.test(options['ipvlan_mode'] ?? '');
