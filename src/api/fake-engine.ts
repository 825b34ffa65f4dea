import { Duplex, PassThrough } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import type { Container, Containers, ExecCreate } from '../containers/containers.ts';
import { EventBus } from '../events/event-bus.ts';
import type { Image, Images } from '../images/images.ts';
import type { Networks } from '../networks/networks.ts';
import { digestOf } from '../oci/digest.ts';
import { readCreateRequest } from '../protocol/create-request.ts';
import { maxVersion } from '../protocol/version.ts';
import type { AttachStream } from '../runtime/runtime.ts';
import type { Volumes } from '../volumes/volumes.ts';
import type { EngineRooms } from './routes/all.ts';
import { ApiServer } from './server.ts';
import type { SystemFacts } from './system.ts';

/** Rooms with nothing behind them, for the tests and the load bench of this one. */

const never = (name: string) => () => {
  throw new Error(`the test did not expect ${name}`);
};

/** A room of which the test gives the methods that it uses. */
export function room<T extends object>(methods: Partial<T>): T {
  return new Proxy(methods, {
    get: (target, name) => Reflect.get(target, name) ?? never(String(name)),
  }) as T;
}

/** Not by spreading: a getter must stay one. */
function over<T extends object>(base: Partial<T>, changes: Partial<T>): Partial<T> {
  return Object.defineProperties(base, Object.getOwnPropertyDescriptors(changes));
}

export function fakeContainer(
  changes: Partial<Container> = {},
  body: object = { Image: 'busybox', Cmd: ['sh'] },
): Container {
  const { config, hostConfig, endpoints } = readCreateRequest(body, maxVersion);
  const id = changes.id ?? 'a'.repeat(64);
  return {
    id,
    name: 'web',
    created: '2026-11-23T07:50:29.013684318Z',
    image: digestOf('image'),
    imageManifest: {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: digestOf('manifest'),
      size: 500,
    },
    platform: { os: 'linux', architecture: 'amd64' },
    layers: [digestOf('layer')],
    config,
    hostConfig,
    endpoints: { [hostConfig.NetworkMode]: {}, ...endpoints },
    path: 'sh',
    args: ['-c', 'echo hello world'],
    state: {
      status: 'running',
      pid: 42,
      exitCode: 0,
      error: '',
      oomKilled: false,
      startedAt: new Date(Date.now() - 3500).toISOString(),
      finishedAt: '0001-01-01T00:00:00Z',
    },
    restartCount: 0,
    attached: [
      {
        id: 'e'.repeat(64),
        containerId: id,
        networkId: 'b'.repeat(64),
        network: 'bridge',
        interface: 'veth1',
        address: '172.17.0.2',
        prefixLength: 16,
        gateway: '172.17.0.1',
        mac: '02:42:ac:11:00:02',
        ports: [{ port: 80, protocol: 'tcp', hostAddress: '', hostPort: 8080 }],
      },
    ],
    mounts: [],
    files: { log: '/log', hosts: '/hosts', hostname: '/hostname', resolvConf: '/resolv.conf' },
    appArmorProfile: '',
    mountLabel: '',
    processLabel: '',
    ...changes,
  };
}

export function fakeImage(changes: Partial<Image> = {}): Image {
  const descriptor = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: digestOf('image'),
    size: 500,
  };
  return {
    id: digestOf('image'),
    descriptor,
    manifest: descriptor,
    config: {
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['sh'], Labels: { tier: 'base' } },
      rootfs: { type: 'layers', diff_ids: [digestOf('layer')] },
    },
    layers: [digestOf('layer')],
    size: 4_000_000,
    names: ['docker.io/library/busybox:latest'],
    repoDigests: [`docker.io/library/busybox@${digestOf('image')}`],
    created: '2026-01-01T00:00:00Z',
    tagged: '2026-11-23T07:50:29Z',
    ...changes,
  };
}

export const fakeFacts: SystemFacts = {
  id: 'f00d',
  name: 'host',
  dataRoot: '/data',
  storageDriver: 'overlayfs',
  storageStatus: [['driver-type', 'io.containerd.snapshotter.v1']],
  kernelVersion: '6.18.0',
  operatingSystem: 'Debian GNU/Linux 12 (bookworm)',
  osVersion: '12',
  cpus: 2,
  memory: 8 * 1024 ** 3,
  cgroupDriver: 'cgroupfs',
  cgroupVersion: '1',
  limits: { memory: true, swap: true, cpuCfs: true, cpuShares: true, cpuset: true, pids: true, oomKillDisable: true },
  runtimes: [{ name: 'crun', path: '/usr/bin/crun', version: '1.8.1' }],
  defaultRuntime: 'crun',
  securityOptions: ['name=seccomp,profile=builtin'],
  ipv4Forwarding: true,
  logDriver: 'json-file',
  insecureRegistries: ['127.0.0.0/8', 'localhost:5000'],
  mirrors: {},
  httpProxy: '',
  httpsProxy: '',
  noProxy: '',
  labels: [],
  debug: false,
  deviceDirectories: ['/etc/cdi'],
  initBinary: 'berth-init',
  firewall: 'nftables',
  addressPools: [],
  warnings: [],
  openFiles: 30,
  layersSize: 4_000_000,
};

export interface FakeParts {
  readonly containers?: Partial<Containers>;
  readonly images?: Partial<Images>;
  readonly networks?: Partial<Networks>;
  readonly volumes?: Partial<Volumes>;
  readonly registry?: Partial<EngineRooms['registry']>;
}

export function fakeEngine({
  containers = {},
  images = {},
  networks = {},
  volumes = {},
  registry = {},
}: FakeParts = {}) {
  const events = new EventBus();
  const engine: EngineRooms = {
    adoption: room<EngineRooms['adoption']>({}),
    disk: room<EngineRooms['disk']>({}),
    registry: room<EngineRooms['registry']>(registry),
    containers: room<Containers>(
      over(
        {
          version: 1,
          list: () => [],
          execIds: () => [],
          namesOf: ({ name }) => [name],
          get: (name) => {
            throw new EngineError('not-found', `No such container: ${name}`, { code: 'E_NO_SUCH_CONTAINER' });
          },
        },
        containers,
      ),
    ),
    images: room<Images>({
      list: async () => [],
      get: async (name) => {
        throw new EngineError('not-found', `No such image: ${name}`, { code: 'E_NO_SUCH_IMAGE' });
      },
      ...images,
    }),
    networks: room<Networks>(networks),
    volumes: room<Volumes>({ list: () => [], ...volumes }),
    events,
    system: {
      facts: () => fakeFacts,
      discoveredDevices: async () => ['vendor.com/thing=one'],
      createDefaults: { runtime: 'crun', cgroupnsMode: 'host' },
    },
  };
  return { engine, events };
}

export function fakeServer(parts: FakeParts = {}, { mostFiles = Number.POSITIVE_INFINITY } = {}) {
  const { engine, events } = fakeEngine(parts);
  const server = new ApiServer({
    engine,
    log: silentLog,
    mostFiles,
    versions: { berth: '0.1.0', engine: '28.5.2', commit: 'abc', built: '2026-11-23T00:00:00Z' },
  });
  return { server, events };
}

/** An attach stream in memory: `output` is what the process says, `input` what it is told. */
export function fakeAttach(): { stream: AttachStream; output: PassThrough; input: PassThrough } {
  const output = new PassThrough();
  const input = new PassThrough();
  const stream = Duplex.from({ readable: output, writable: input });
  return { stream, output, input };
}

export const fakeExec: ExecCreate = {
  Cmd: ['sh', '-c', 'true'],
  AttachStdin: true,
  AttachStdout: true,
  AttachStderr: true,
  Tty: false,
  Detach: false,
  DetachKeys: '',
  Env: [],
  User: '',
  WorkingDir: '',
  Privileged: false,
  ConsoleSize: undefined,
};
