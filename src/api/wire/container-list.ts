import type { Container } from '../../containers/containers.ts';
import { statusText } from '../../protocol/status-text.ts';
import { unixSeconds } from '../../protocol/time.ts';
import type { ApiVersion } from '../../protocol/version.ts';
import { manifestDescriptor } from './container-inspect.ts';
import { networksOf, portList } from './networking.ts';

/**
 * An item of `GET /containers/json` as text in three parts, because all but three of its fields stand still for as long as
 * the record does: what is before the image's name and behind its own names, what is between it and the status, and what is behind that.
 */
interface Fragments {
  readonly before: string;
  readonly between: string;
  readonly behind: string;
}

/** Makes list items, each only once for a record and a version. */
export class ContainerItems {
  readonly #byRecord = new WeakMap<Container, Map<ApiVersion, Fragments>>();

  /** `names` and `image` are what it and its image are called now. Without the closing brace, so that sizes can follow. */
  text(
    container: Container,
    { names, image }: { readonly names: readonly string[]; readonly image: string },
    version: ApiVersion,
    now: number,
  ): string {
    let versions = this.#byRecord.get(container);
    if (!versions) this.#byRecord.set(container, (versions = new Map()));
    let fragments = versions.get(version);
    if (!fragments) versions.set(version, (fragments = fragmentsOf(container, version)));
    const called = JSON.stringify(names.map((name) => `/${name}`));
    return `${fragments.before}${called},"Image":${JSON.stringify(image)}${fragments.between}${JSON.stringify(statusText(container.state, now))}${fragments.behind}`;
  }
}

function fragmentsOf(container: Container, version: ApiVersion): Fragments {
  const { hostConfig } = container;
  const annotations = hostConfig.Annotations;
  const start = JSON.stringify({ Id: container.id });
  const middle = JSON.stringify({
    ImageID: container.image,
    ...(version >= 1048 && { ImageManifestDescriptor: manifestDescriptor(container) }),
    Command: commandOf(container),
    Created: unixSeconds(container.created),
    Ports: portList(container),
    Labels: container.config.Labels,
    State: container.state.status,
  });
  const end = JSON.stringify({
    HostConfig: {
      NetworkMode: hostConfig.NetworkMode,
      ...(version >= 1046 && annotations && Object.keys(annotations).length > 0 && { Annotations: annotations }),
    },
    NetworkSettings: { Networks: networksOf(container, version) },
    Mounts: container.mounts,
  });
  return {
    before: `${start.slice(0, -1)},"Names":`,
    between: `,${middle.slice(1, -1)},"Status":`,
    behind: `,${end.slice(1, -1)}`,
  };
}

/** Words with a space in them stand in quotes, as `docker ps` shows them. */
export function commandOf({ path, args }: Container): string {
  return [path, ...args.map((arg) => (arg.includes(' ') ? `'${arg}'` : arg))].join(' ');
}
