import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskReport, DiskReporter, DiskRoom } from '../api/system.ts';
import { DiskUsage } from '../base/disk-usage.ts';
import { codeOf } from '../base/errors.ts';
import type { Containers } from '../containers/containers.ts';
import { ownerOfSnapshot } from '../containers/image-mounts.ts';
import type { Images } from '../images/images.ts';
import type { Volumes } from '../volumes/volumes.ts';

export interface DataRootDeps {
  readonly root: string;
  readonly containers: Pick<Containers, 'list'>;
  readonly volumes: Pick<Volumes, 'list'>;
  readonly images: Pick<Images, 'list'>;
}

type RoomName = DiskRoom['name'];

const rooms: readonly RoomName[] = [
  'images',
  'partial downloads',
  'writable layers',
  'volumes',
  'logs',
  'container files',
  'build',
  'engine database',
  'being removed',
  'other',
];

/** Of `snapshots/`. */
const snapshotRooms: Readonly<Record<string, RoomName | 'sorted'>> = {
  layers: 'images',
  staging: 'partial downloads',
  trash: 'being removed',
  containers: 'sorted',
  mounts: 'other',
  views: 'other',
  limited: 'other',
  empty: 'other',
  foundation: 'other',
};

/** What stands in the data root itself. */
const ownNames: ReadonlySet<string> = new Set(['networks', 'monitor', 'engine.lock']);
const databaseNames = /^engine\.db(?:-wal|-shm|-journal)?$/;
const isLog = /\.log(?:\.\d+)?(?:\.gz)?$/;

/**
 * Counts the data root by the records: what each is known to have, then what is left. All is counted by one usage, so that
 * nothing counts twice and the rooms add up to a walk over the whole (R30).
 */
export class DataRoot implements DiskReporter {
  readonly #deps: DataRootDeps;

  constructor(deps: DataRootDeps) {
    this.#deps = deps;
  }

  async report({ verify }: { readonly verify: boolean }): Promise<DiskReport> {
    const { root, containers, volumes, images } = this.#deps;
    const { dev: device } = await lstat(root);
    const usage = new DiskUsage({ device });
    const bytes = new Map<RoomName, number>();
    const unaccounted: { path: string; bytes: number }[] = [];
    const at = (...names: string[]) => join(root, ...names);
    const give = (room: RoomName, more: number) => bytes.set(room, (bytes.get(room) ?? 0) + more);
    /** Each name in a folder to a room, to the room that its own folder is sorted into, or to what is unaccounted for. */
    const sort = async (folder: string, roomOf: (name: string) => RoomName | 'sorted' | undefined) => {
      give('other', await usage.addAlone(folder));
      for (const name of await namesIn(folder)) {
        const room = roomOf(name);
        if (room === 'sorted') continue;
        const path = join(folder, name);
        const found = await usage.addWhole(path);
        if (room) give(room, found);
        else if (found > 0) unaccounted.push({ path, bytes: found });
      }
    };
    const all = containers.list();
    const ids = new Set(all.map(({ id }) => id));
    const names = new Set(volumes.list().map(({ name }) => name));

    await sort(at('content'), (name) =>
      name === 'blobs' ? 'images' : name === 'ingest' ? 'partial downloads' : undefined,
    );
    await sort(at('snapshots', 'containers'), (name) =>
      ids.has(ownerOfSnapshot(name)) ? 'writable layers' : undefined,
    );
    await sort(at('snapshots'), (name) => snapshotRooms[name]);
    for (const { id } of all)
      await sort(at('containers', id), (name) => (isLog.test(name) ? 'logs' : 'container files'));
    await sort(at('containers'), (name) => (ids.has(name) ? 'sorted' : undefined));
    await sort(at('volumes'), (name) => (names.has(name) ? 'volumes' : undefined));
    await sort(root, (name) => {
      if (['content', 'snapshots', 'containers', 'volumes'].includes(name)) return 'sorted';
      if (name === 'removed-logs') return 'logs';
      if (databaseNames.test(name)) return 'engine database';
      return ownNames.has(name) ? 'other' : name === 'build' ? 'build' : undefined;
    });
    const counts: Readonly<Partial<Record<RoomName, number>>> = {
      images: (await images.list()).length,
      'writable layers': all.length,
      'container files': all.length,
      logs: all.length,
      volumes: names.size,
    };
    return {
      root,
      rooms: rooms.map((name) => ({ name, count: counts[name] ?? 0, bytes: bytes.get(name) ?? 0 })),
      unaccounted,
      total: usage.bytes,
      ...(verify && { walked: await new DiskUsage({ device }).addWhole(root) }),
    };
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
}
