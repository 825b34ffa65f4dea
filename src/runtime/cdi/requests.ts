import { EngineError } from '../../base/errors.ts';
import { parseQualifiedName } from './document.ts';

/** A `DeviceRequest` of the Engine API: `--gpus`, and `--device vendor.com/class=name`. */
export interface DeviceRequest {
  readonly Driver?: string;
  /** -1 is all. */
  readonly Count?: number;
  readonly DeviceIDs?: readonly string[];
  /** One of these lists, with all that is in it. */
  readonly Capabilities?: readonly (readonly string[])[];
  readonly Options?: Readonly<Record<string, string>>;
}

/** Who describes their graphics processors in which kind, in the order in which they are looked for. */
const gpuKinds: readonly (readonly [driver: string, kind: string])[] = [
  ['nvidia', 'nvidia.com/gpu'],
  ['amd', 'amd.com/gpu'],
];

const gpuCapabilities = new Set('gpu nvidia amd compute compat32 graphics utility video display ngx'.split(' '));

/** At create: what no device that comes later could make right. Throws `invalid` in Docker's words. */
export function checkDeviceRequests(requests: readonly DeviceRequest[]): void {
  for (const request of requests) {
    const { Driver = '', Count = 0, DeviceIDs = [] } = request;
    if (Driver === 'cdi') {
      if (Count !== 0) throw new EngineError('invalid', 'unexpected count in CDI device request');
      const wrong = DeviceIDs.filter((name) => !parseQualifiedName(name));
      if (wrong.length > 0)
        throw new EngineError('invalid', `CDI device injection failed: unresolvable CDI devices ${wrong.join(', ')}`, {
          hint: 'a device is named vendor.com/class=name',
        });
      continue;
    }
    if (Count !== 0 && DeviceIDs.length > 0)
      throw new EngineError('invalid', 'cannot set both Count and DeviceIDs on device request');
    if (!isForGpus(request)) throw noDriver(request);
  }
}

/** The CDI devices that requests stand for, of those that are known. Throws `invalid` in Docker's words. */
export function devicesAsked(requests: readonly DeviceRequest[], known: readonly string[]): readonly string[] {
  return requests.flatMap((request) => {
    const { Driver = '', Count = 0, DeviceIDs = [] } = request;
    if (Driver === 'cdi') return DeviceIDs;
    const kinds = gpuKinds.filter(([driver]) => Driver === '' || Driver === driver).map(([, kind]) => kind);
    const kind = kinds.find((one) => known.some((name) => name.startsWith(`${one}=`)));
    if (kind === undefined || !isForGpus(request)) throw noDriver(request);
    if (DeviceIDs.length > 0) return DeviceIDs.map((id) => `${kind}=${id}`);
    const all = `${kind}=all`;
    if (Count < 0 && known.includes(all)) return [all];
    // By number and not by UUID: the same processor may be there under both.
    const numbered = known.filter((name) => /^\d+$/.test(name.slice(kind.length + 1)));
    const single = (
      numbered.length > 0 ? numbered : known.filter((name) => name.startsWith(`${kind}=`) && name !== all)
    ).toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
    if (Count < 0) return single;
    if (single.length < Count)
      throw new EngineError('invalid', `${Count} devices of ${kind} were asked for, and there are ${single.length}`);
    return single.slice(0, Count);
  });
}

function isForGpus({ Driver = '', Capabilities = [] }: DeviceRequest): boolean {
  const driver = Driver === '' || gpuKinds.some(([name]) => name === Driver);
  return driver && Capabilities.some((all) => all.includes('gpu') && all.every((one) => gpuCapabilities.has(one)));
}

function noDriver({ Driver = '', Capabilities = [] }: DeviceRequest): EngineError {
  const wanted = Capabilities.map((all) => `[${all.join(' ')}]`).join(' ');
  return new EngineError(
    'invalid',
    `could not select device driver ${JSON.stringify(Driver)} with capabilities: [${wanted}]`,
    { hint: 'graphics processors are described by CDI files: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml' },
  );
}
