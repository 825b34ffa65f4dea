import { constants } from 'node:fs';
import { copyFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { basename } from 'node:path/posix';
import type { Container, Containers } from '../containers/containers.ts';
import type { Digest } from '../oci/digest.ts';
import { digestOf } from '../oci/digest.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { ForeignRoot } from './foreign-root.ts';
import type { ObservedContainer } from './observed.ts';
import { takeWritable } from './take-writable.ts';
import { treePrint } from './tree-print.ts';

export interface TakeContainerDeps {
  readonly root: ForeignRoot;
  readonly snapshots: Snapshotter;
  readonly containers: Containers;
}

export interface TakeContainerOptions {
  /** What its image is called here. */
  readonly image: Digest;
  readonly signal: AbortSignal;
  readonly progress: (bytes: number) => void;
  /** All is copied, and nobody sees it yet: what its files are like. */
  readonly copied: (print: string) => Promise<void>;
}

/** A container with what it wrote and its log: all of it, or nothing. It does not run. */
export function takeContainer(
  { root, snapshots, containers }: TakeContainerDeps,
  container: ObservedContainer,
  { image, signal, progress, copied }: TakeContainerOptions,
): Promise<Container> {
  const { id, name, created, upper, logs, request, restartCount, stoppedByUser, volumes } = container;
  const { started, ...state } = container.state;
  return containers.adopt(name, request, {
    ...{ id, created, image, restartCount, stoppedByUser, volumes },
    state: { ...state, status: started ? 'exited' : 'created' },
    prepare: async (layers) => {
      await takeWritable({ root, snapshots }, { upper, key: id, layers }, { signal, progress });
      await copied(await treePrint(snapshots.describe(id)['UpperDir']!));
    },
    copyLog: async (directory) => {
      if (request.hostConfig.LogConfig.Type === 'none') return;
      for (const log of logs) {
        signal.throwIfAborted();
        using from = root.open(log);
        const to = join(directory, basename(log));
        await copyFile(from.path, to, constants.COPYFILE_FICLONE);
        await using copy = await open(to, 'r+');
        await copy.chmod(0o640);
        await copy.sync();
      }
    },
  });
}

/** What was asked for of a container: another one as soon as it is renamed, updated, connected. */
export function printOf({ name, config, hostConfig, endpoints }: Container): string {
  return digestOf(Buffer.from(JSON.stringify({ name, config, hostConfig, endpoints })));
}
