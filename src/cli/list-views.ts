import { humanDuration } from '../protocol/status-text.ts';
import { humanBytes } from './terminal.ts';

/** Items of lists with the fields that docker's `--format` has for them. */

interface Port {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: string;
}

export interface ListedContainer {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly Command: string;
  readonly Created: number;
  readonly State: string;
  readonly Status: string;
  readonly Ports: readonly Port[];
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly Mounts?: readonly { readonly Type: string; readonly Name?: string; readonly Source: string }[];
  readonly NetworkSettings?: { readonly Networks: Readonly<Record<string, unknown>> | null };
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
}

const ago = (seconds: number) => `${humanDuration(Date.now() - seconds * 1000)} ago`;

/** Docker's `2026-11-25 02:52:51 +0000 UTC`. */
const moment = (seconds: number) =>
  `${new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;

const pairs = (map: Readonly<Record<string, string>> | null) =>
  Object.entries(map ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .join(',');

export function containerView(one: ListedContainer, whole: boolean): Readonly<Record<string, unknown>> {
  const mounts = one.Mounts ?? [];
  return {
    ID: whole ? one.Id : one.Id.slice(0, 12),
    Names: one.Names.map((name) => name.replace(/^\//, '')).join(','),
    Image: one.Image,
    Command: JSON.stringify(one.Command),
    CreatedAt: moment(one.Created),
    RunningFor: ago(one.Created),
    State: one.State,
    Status: one.Status,
    Ports: one.Ports.map(({ IP, PrivatePort, PublicPort, Type }) =>
      PublicPort === undefined
        ? `${PrivatePort}/${Type}`
        : `${IP?.includes(':') ? `[${IP}]` : IP}:${PublicPort}->${PrivatePort}/${Type}`,
    ).join(', '),
    Labels: pairs(one.Labels),
    Mounts: mounts.map(({ Name, Source }) => Name || Source).join(','),
    LocalVolumes: String(mounts.filter(({ Type }) => Type === 'volume').length),
    Networks: Object.keys(one.NetworkSettings?.Networks ?? {}).join(','),
    Size: one.SizeRw === undefined ? '0B' : sizesText(one),
  };
}

/** `12 kB (virtual 4.2 MB)`. */
export function sizesText({ SizeRw = 0, SizeRootFs = 0 }: Pick<ListedContainer, 'SizeRw' | 'SizeRootFs'>): string {
  return `${humanBytes(SizeRw)} (virtual ${humanBytes(SizeRootFs)})`;
}

export interface ListedImage {
  readonly Id: string;
  readonly RepoTags: readonly string[] | null;
  readonly RepoDigests: readonly string[] | null;
  readonly Created: number;
  readonly Size: number;
  readonly Containers: number;
}

/** One for each of its names. */
export function imageViews(one: ListedImage, whole: boolean): readonly Readonly<Record<string, unknown>>[] {
  const names = one.RepoTags?.length ? one.RepoTags : ['<none>:<none>'];
  return names.map((name) => {
    const colon = name.lastIndexOf(':');
    const repository = name.slice(0, colon);
    const digest = one.RepoDigests?.find((text) => text.startsWith(`${repository}@`));
    return {
      ID: whole ? one.Id : one.Id.replace(/^sha256:/, '').slice(0, 12),
      Repository: repository,
      Tag: name.slice(colon + 1),
      Digest: digest?.slice(digest.indexOf('@') + 1) ?? '<none>',
      CreatedSince: ago(one.Created),
      CreatedAt: moment(one.Created),
      Size: humanBytes(one.Size),
      Containers: one.Containers < 0 ? 'N/A' : String(one.Containers),
    };
  });
}

export function volumeView(one: {
  readonly Name: string;
  readonly Driver: string;
  readonly Scope?: string;
  readonly Mountpoint?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
}): Readonly<Record<string, unknown>> {
  const { Name, Driver, Scope = 'local', Mountpoint = '', Labels = null } = one;
  return { Name, Driver, Scope, Mountpoint, Labels: pairs(Labels) };
}

export function networkView(
  one: {
    readonly Id: string;
    readonly Name: string;
    readonly Driver: string;
    readonly Internal: boolean;
    readonly Scope?: string;
    readonly Created?: string;
    readonly EnableIPv6?: boolean;
    readonly Labels?: Readonly<Record<string, string>> | null;
  },
  whole: boolean,
): Readonly<Record<string, unknown>> {
  return {
    ID: whole ? one.Id : one.Id.slice(0, 12),
    Name: one.Name,
    Driver: one.Driver,
    Scope: one.Scope ?? 'local',
    IPv6: one.EnableIPv6 ?? false,
    Internal: one.Internal,
    CreatedAt: one.Created ?? '',
    Labels: pairs(one.Labels ?? null),
  };
}

export function historyView(one: {
  readonly Id: string;
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Size: number;
  readonly Comment: string;
}): Readonly<Record<string, unknown>> {
  const { Id, Created, CreatedBy, Size, Comment } = one;
  const ID = Id.startsWith('sha256:') ? Id.slice(7, 19) : Id;
  return { ID, CreatedAt: moment(Created), CreatedSince: ago(Created), CreatedBy, Size: humanBytes(Size), Comment };
}
