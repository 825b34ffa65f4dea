import { DiskUsage } from '../base/disk-usage.ts';
import { EngineError } from '../base/errors.ts';
import { optional, parseJsonObject, stringMap, text } from '../oci/validate-json.ts';
import { checkVolumeName } from '../protocol/volume-spec.ts';
import { checkDriverOptions, isMounted } from '../volumes/mount-options.ts';
import { Bolt } from './bolt.ts';
import type { ForeignRoot } from './foreign-root.ts';
import type { Finds } from './observe.ts';
import type { ObservedVolume } from './observed.ts';

const anonymousLabel = 'com.docker.volume.anonymous';

interface Recorded {
  readonly driver: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
}

/** `volumes/NAME/_data`; labels, options and driver stand in the Bolt database `volumes/metadata.db`. */
export async function observeVolumes(root: ForeignRoot, finds: Finds<ObservedVolume>): Promise<void> {
  const records = readRecords(root, finds);
  const folders = root.names('volumes').filter((name) => {
    using folder = root.find(`volumes/${name}/_data`, { directory: true });
    return folder !== undefined;
  });
  for (const name of new Set([...folders, ...records.keys()]))
    await finds.try(name, async () => {
      checkVolumeName(name);
      const { driver, labels, options } = records.get(name) ?? { driver: 'local', labels: {}, options: {} };
      if (driver !== 'local')
        throw new EngineError('unsupported', `it is of the volume driver ${driver}, a plugin that is not here`);
      checkDriverOptions(name, options);
      if (!folders.includes(name)) throw new EngineError('corrupt', 'its folder is missing');
      const elsewhere = isMounted(options);
      const usage = new DiskUsage();
      const data = `volumes/${name}/_data`;
      using folder = root.open(data, { directory: true });
      if (!elsewhere) await usage.add(folder.path);
      // What Docker shows, which has it nowhere else.
      using place = root.open(`volumes/${name}`, { directory: true });
      const created = place.stat.ctime.toISOString();
      // Before Docker 24 nothing but the name told a volume that nobody named.
      const anonymous = anonymousLabel in labels || /^[0-9a-f]{64}$/.test(name);
      return { name, created, labels, options, anonymous, data: elsewhere ? '' : data, bytes: usage.bytes };
    });
}

function readRecords(root: ForeignRoot, finds: Finds<ObservedVolume>): ReadonlyMap<string, Recorded> {
  const records = new Map<string, Recorded>();
  const path = 'volumes/metadata.db';
  try {
    const bytes = root.read(path);
    if (!bytes) return records;
    const entries = new Bolt(bytes, path).root.bucket('volumes')?.entries() ?? [];
    for (const [name, value] of entries) {
      if (!Buffer.isBuffer(value)) continue;
      try {
        const body = parseJsonObject(name, value, value.length);
        records.set(name, {
          driver: optional(body, 'Driver', text, name) || 'local',
          labels: optional(body, 'Labels', stringMap, name) ?? {},
          options: optional(body, 'Options', stringMap, name) ?? {},
        });
      } catch (error) {
        finds.fault(name, `its record is damaged: ${error instanceof Error ? error.message : error}`);
      }
    }
  } catch (error) {
    // With options unknown, what is in the folders may be less than what the volumes were.
    finds.fault('labels and options', `${error instanceof Error ? error.message : error}; volumes are taken without`);
  }
  return records;
}
