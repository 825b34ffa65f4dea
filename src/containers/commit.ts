import type { FileJobs } from '../archive/file-jobs.ts';
import { changedConfig, mergedDefaults } from '../images/config-changes.ts';
import type { Digest } from '../oci/digest.ts';
import type { ImageDefaults } from '../oci/image-config.ts';
import { familiarName, formatReference, parseReference, withDefaultTag } from '../oci/reference.ts';
import type { ContainerConfig } from '../protocol/container.ts';
import { refuseRemoved } from './files.ts';
import { isRunning } from './record.ts';
import type { Room } from './room.ts';
import { pause, unpause } from './stop.ts';
import { shownOf } from './user-namespaces.ts';

export interface CommitRequest {
  readonly container: string;
  /** With tag; '' gives the image no name. */
  readonly name: string;
  readonly comment: string;
  readonly author: string;
  /** While its files are read; it goes on afterwards. */
  readonly pause: boolean;
  /** Dockerfile instructions. */
  readonly changes: readonly string[];
  /** Instead of the container's own, which fills what it leaves out. */
  readonly config: ImageDefaults | undefined;
  readonly signal: AbortSignal;
}

/** Makes an image of what the container wrote, over the image that it was made of. Durable when it returns. */
export async function commit(room: Room, jobs: FileJobs, request: CommitRequest): Promise<Digest> {
  const { deps } = room;
  const container = room.store.get(request.container);
  const { id } = container;
  refuseRemoved(room, container, 'commit');
  const reference = request.name === '' ? undefined : withDefaultTag(parseReference(request.name));
  const own = imageDefaults(container.config);
  const config = mergedDefaults(changedConfig(request.config ?? own, request.changes), own);

  await using undo = new AsyncDisposableStack();
  if (request.pause && isRunning(container) && container.state.status !== 'paused') {
    // It may end, or be paused by somebody else, at any moment: then there is nothing to be done about it.
    const paused = await pause(room, id, { forCommit: true }).then(
      () => true,
      () => false,
    );
    if (paused) undo.defer(() => unpause(room, id).catch(() => {}));
  }
  const snapshot = undo.use(await deps.snapshots.open(id, shownOf(container)));
  const layer = undo.use(jobs.layer({ upper: snapshot.upper, lower: snapshot.lower() }));
  const image = await deps.images.commit({
    base: container.imageManifest,
    config,
    layer: layer.pieces,
    createdBy: (container.config.Cmd ?? []).join(' '),
    comment: request.comment,
    author: request.author,
    name: reference && formatReference(reference),
    signal: request.signal,
  });
  room.emit(room.store.byId(id) ?? container, 'commit', {
    comment: request.comment,
    imageID: image,
    imageRef: reference ? familiarName(reference) : '',
  });
  return image;
}

/** Of a container's configuration what an image has too; what says nothing is left out. */
export function imageDefaults(config: Partial<ContainerConfig>): ImageDefaults {
  const { User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal, Healthcheck } = config;
  const { Shell, OnBuild, ArgsEscaped } = config;
  return Object.fromEntries(
    Object.entries({
      ...{ User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal, Healthcheck },
      ...{ Shell, OnBuild, ArgsEscaped },
    }).filter(([, value]) => value && (typeof value !== 'object' || Object.keys(value).length > 0)),
  );
}
