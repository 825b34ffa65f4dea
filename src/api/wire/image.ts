import type { Image, ImageManifest } from '../../images/images.ts';
import { familiarName, familiarRepository, parseReference } from '../../oci/reference.ts';
import { unixSeconds, zeroTime } from '../../protocol/time.ts';
import type { ApiVersion } from '../../protocol/version.ts';

/** `docker.io/library/nginx:latest` as people type it. */
export function familiar(name: string): string {
  try {
    return familiarName(parseReference(name));
  } catch {
    return name;
  }
}

export function repositoryName(name: string): string {
  try {
    return familiarRepository(parseReference(name));
  } catch {
    return name;
  }
}

const repoTags = (image: Image) => image.names.map(familiar);
const repoDigests = (image: Image) => image.repoDigests.map(familiar);

/** A manifest of an image, and the containers that run it. */
export interface ListedManifest {
  readonly manifest: ImageManifest;
  readonly containers: readonly string[];
}

function manifestToWire({ manifest, containers }: ListedManifest) {
  const { descriptor, kind, available, platform, attests, content, unpacked, total } = manifest;
  const { os = '', architecture = '', variant } = platform ?? {};
  return {
    ID: descriptor.digest,
    Descriptor: descriptor,
    Available: available,
    Size: { Content: content, Total: total },
    Kind: kind,
    ...(kind === 'image' && {
      ImageData: {
        Platform: {
          architecture,
          os,
          ...(variant && { variant }),
          ...(platform?.['os.version'] && { 'os.version': platform['os.version'] }),
        },
        Size: { Unpacked: unpacked },
        Containers: containers.length > 0 ? containers : null,
      },
    }),
    ...(kind === 'attestation' && { AttestationData: { For: attests ?? '' } }),
  };
}

export interface ImageShape {
  readonly version: ApiVersion;
  /** Identifiers of the containers that were made from it. */
  readonly containers: readonly string[];
  /** Where they were asked for. */
  readonly manifests?: readonly ListedManifest[] | undefined;
  /** Bytes that other images have too, where it was asked for. */
  readonly shared?: number | undefined;
}

export function imageListItem(image: Image, { version, containers, manifests, shared = -1 }: ImageShape) {
  const labels = image.config.config?.Labels;
  return {
    Containers: version >= 1051 ? containers.length : -1,
    Created: image.created === '' ? 0 : unixSeconds(image.created),
    Id: image.id,
    Labels: labels && Object.keys(labels).length > 0 ? labels : null,
    ParentId: '',
    RepoDigests: repoDigests(image),
    RepoTags: repoTags(image),
    SharedSize: shared,
    Size: image.size,
    ...(version < 1044 && { VirtualSize: image.size }),
    ...(version >= 1048 && { Descriptor: image.descriptor }),
    ...(manifests && version >= 1047 && { Manifests: manifests.map(manifestToWire) }),
  };
}

/** The answer of `GET /images/{name}/json`. */
export function imageInspect(image: Image, { version, manifests }: ImageShape, driver: string) {
  const { config } = image;
  return {
    Id: image.id,
    RepoTags: repoTags(image),
    RepoDigests: repoDigests(image),
    Parent: '',
    Comment: config.comment ?? config.history?.at(-1)?.comment ?? '',
    Created: image.created,
    ...(version < 1045 && { Container: '', ContainerConfig: containerConfig({}, version) }),
    DockerVersion: config.docker_version ?? '',
    Author: config.author ?? '',
    Config: containerConfig(config.config ?? {}, version),
    Architecture: config.architecture,
    ...(config.variant && { Variant: config.variant }),
    Os: config.os,
    ...(config['os.version'] && { OsVersion: config['os.version'] }),
    Size: image.size,
    ...(version < 1044 && { VirtualSize: image.size }),
    GraphDriver: { Data: null, Name: driver },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: image.tagged ?? zeroTime },
    ...(version >= 1048 && { Descriptor: image.descriptor }),
    ...(manifests && version >= 1048 && { Manifests: manifests.map(manifestToWire) }),
  };
}

function containerConfig(defaults: NonNullable<Image['config']['config']>, version: ApiVersion) {
  const known = {
    ...(defaults.ExposedPorts && { ExposedPorts: defaults.ExposedPorts }),
    Env: defaults.Env ?? null,
    Cmd: defaults.Cmd ?? null,
    ...(defaults.Healthcheck && { Healthcheck: defaults.Healthcheck }),
    ...(defaults.ArgsEscaped && { ArgsEscaped: true }),
    Volumes: defaults.Volumes ?? null,
    WorkingDir: defaults.WorkingDir ?? '',
    Entrypoint: defaults.Entrypoint ?? null,
    OnBuild: defaults.OnBuild ?? null,
    Labels: defaults.Labels ?? null,
    ...(defaults.StopSignal && { StopSignal: defaults.StopSignal }),
    ...(defaults.Shell && { Shell: defaults.Shell }),
  };
  if (version >= 1050) return { User: defaults.User ?? '', ...known };
  return {
    Hostname: '',
    Domainname: '',
    User: defaults.User ?? '',
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Image: '',
    ...known,
  };
}
