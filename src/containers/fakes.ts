import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { EventBus } from '../events/event-bus.ts';
import type { Image } from '../images/images.ts';
import type {
  Attachment,
  ConnectOptions,
  Endpoint,
  JoinRequest,
  Networks,
  Opened,
  OpenRequest,
} from '../networks/networks.ts';
import { digestOf } from '../oci/digest.ts';
import { hostPlatform } from '../oci/platform.ts';
import type { Resources } from '../oci/runtime-spec.ts';
import type { ContainerConfig, CreateRequest, HostConfig } from '../protocol/container.ts';
import { DiskLimits } from '../quotas/disk-limits.ts';
import type { AttachStream, ExecRequest, Runtime, Task, TaskExit, TaskRequest } from '../runtime/runtime.ts';
import type { Machine } from '../runtime/spec/input.ts';
import { readMachine } from '../runtime/spec/machine.ts';
import type { TaskUsage } from '../runtime/usage.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import { MemoryDatabase } from '../state/memory-database.ts';
import { LocalVolumes } from '../volumes/local-volumes.ts';
import { EngineContainers } from './engine-containers.ts';
import { now } from './time.ts';

/** The rooms below as small as tests need them: everything that is held is counted, everything can be made to fail. */
export class FakeTask implements Task {
  readonly id: string;
  readonly pid: number;
  readonly startedAt = now();
  readonly attached: AttachStream[];
  readonly exited: Promise<TaskExit>;
  readonly signals: number[] = [];
  /** Which signals end it. */
  deadly: (signal: number) => boolean = () => true;
  paused = false;
  used: TaskUsage | undefined;
  ageMs = 0;
  deleted = 0;
  sizes: unknown[] = [];
  #exit!: (exit: TaskExit) => void;
  #gone = false;

  constructor(id: string, pid: number, attach: number) {
    this.id = id;
    this.pid = pid;
    this.attached = Array.from({ length: attach }, () => new PassThrough());
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  age(): number {
    return this.ageMs;
  }

  end(code: number, oomKilled = false): void {
    if (this.#gone) return;
    this.#gone = true;
    for (const stream of this.attached) stream.end();
    this.#exit({ code, oomKilled, at: now() });
  }

  async attach(): Promise<AttachStream> {
    const stream = new PassThrough();
    this.attached.push(stream);
    return stream;
  }

  async replaceLogFile(): Promise<boolean | undefined> {
    return undefined;
  }

  async keepLog(): Promise<Disposable> {
    return { [Symbol.dispose]: () => {} };
  }

  async resize(size: unknown): Promise<void> {
    this.sizes.push(size);
  }

  async kill(signal: number, _options?: { readonly group?: boolean }): Promise<void> {
    if (this.#gone) throw new EngineError('conflict', 'no such process');
    this.signals.push(signal);
    if (this.deadly(signal)) this.end(128 + signal);
  }

  async pids(): Promise<readonly number[]> {
    return [this.pid];
  }

  usage() {
    return this.used;
  }

  async pause(): Promise<void> {
    this.paused = true;
  }

  async resume(): Promise<void> {
    this.paused = false;
  }

  async delete(): Promise<void> {
    this.deleted++;
  }
}

export class FakeRuntime implements Runtime {
  readonly default = 'crun';
  readonly tasks = new Map<string, FakeTask>();
  readonly requests: TaskRequest[] = [];
  readonly execs: ExecRequest[] = [];
  failStart: (() => Error) | undefined;
  readonly updates: Resources[] = [];
  failUpdate: Error | undefined;
  failExec: (() => Error) | undefined;
  /** For adoption. */
  found: Awaited<ReturnType<Runtime['adopt']>> | undefined;
  known: ReadonlySet<string> | undefined;
  #pid = 1000;

  list() {
    return [{ name: 'crun', path: '/usr/bin/crun', version: '1', broken: undefined }];
  }

  async start(request: TaskRequest): Promise<FakeTask> {
    if (this.failStart) throw this.failStart();
    this.requests.push(request);
    const task = new FakeTask(request.id, ++this.#pid, request.attach.length);
    this.tasks.set(request.id, task);
    return task;
  }

  async exec(_task: Task, request: ExecRequest): Promise<FakeTask> {
    if (this.failExec) throw this.failExec();
    this.execs.push(request);
    const task = new FakeTask(request.id, ++this.#pid, request.attach.length);
    this.tasks.set(request.id, task);
    return task;
  }

  async update(_task: Task, resources: Resources): Promise<void> {
    if (this.failUpdate) throw this.failUpdate;
    this.updates.push(resources);
  }

  async adopt(id: string): ReturnType<Runtime['adopt']> {
    const task = this.tasks.get(id);
    return this.found ?? (task ? { state: 'running', task } : { state: 'none' });
  }

  async recover(known: ReadonlySet<string>): Promise<void> {
    this.known = known;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export class FakeSnapshots implements Snapshotter {
  readonly name = 'overlay';
  readonly form = 'directory';
  readonly prepared = new Set<string>();
  readonly mounted = new Set<string>();
  /** What a view of the image shows. */
  image = '';
  failPrepare: Error | undefined;
  recovered: ReadonlyMap<string, string> | undefined;

  hasLayer = () => true;
  layerFacts = () => ({ size: 100, entries: 1 });
  stageLayer = (): never => {
    throw new Error('not in this test');
  };
  removeLayer = async () => {};
  layers = () => [];
  measureLayers = async () => {};
  async prepare(key: string): Promise<void> {
    if (this.failPrepare) throw this.failPrepare;
    this.prepared.add(key);
  }
  async mount(key: string, target: string): Promise<void> {
    if (!existsSync(target)) throw new Error(`${target} is not there`);
    this.mounted.add(key);
  }
  async unmount(key: string): Promise<void> {
    this.mounted.delete(key);
  }
  async view() {
    return { path: this.image, [Symbol.asyncDispose]: async () => {} };
  }
  open = async (): Promise<never> => {
    throw new Error('not in this test');
  };
  mapOwners = async (): Promise<never> => {
    throw new Error('not in this test');
  };
  async remove(key: string): Promise<void> {
    this.prepared.delete(key);
  }
  snapshots = () => [...this.prepared];
  usage = async () => ({ bytes: 7, inodes: 1 });
  describe = () => ({});
  async recover(mounted: ReadonlyMap<string, string>): Promise<void> {
    this.recovered = mounted;
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

const fakeEndpoint: Endpoint = {
  id: 'e2',
  containerId: 'c',
  networkId: '',
  network: '',
  interface: 'eth1',
  address: '',
  prefixLength: 16,
  gateway: '10.9.0.1',
  mac: '02:42:0a:09:00:02',
  ports: [],
};

/** The default bridge, and what a test adds to `more`: names and ids. */
export class FakeNetworks implements Networks {
  readonly open_ = new Map<string, OpenRequest>();
  readonly renamed: string[] = [];
  readonly asked: unknown[] = [];
  readonly more = new Map<string, string>();
  attached: readonly Endpoint[] = [];
  fail: Error | undefined;
  beforeClose: (() => Promise<void>) | undefined;
  recovered: unknown;

  async open(containerId: string, request: OpenRequest): Promise<Opened> {
    if (this.fail) throw this.fail;
    const found = request.joins.map(({ network }) => this.get(network));
    this.open_.set(containerId, request);
    const endpoints = request.joins.map((join, at) => ({
      id: 'e',
      containerId,
      networkId: found[at]!.id,
      network: found[at]!.name,
      interface: `eth${at}`,
      address: '172.17.0.2',
      prefixLength: 16,
      gateway: '172.17.0.1',
      mac: '02:42:ac:11:00:02',
      names: join.names ?? [],
      ports: request.ports.map(({ port, protocol, hostAddress, first }) => ({
        port,
        protocol,
        hostAddress,
        hostPort: first || 32768,
      })),
    }));
    this.attached = endpoints;
    return { sandbox: { path: '/run/netns/x' }, endpoints };
  }
  check(): void {}
  async connect(_containerId: string, join: JoinRequest, { ports }: ConnectOptions) {
    if (this.fail) throw this.fail;
    const { name: network, id: networkId } = this.get(join.network);
    const address = `10.9.0.${this.attached.length + 2}`;
    const names = join.names ?? [];
    this.asked.push({ join, ports: ports.length });
    this.attached = [...this.attached, { ...fakeEndpoint, network, networkId, address, names }];
    return this.attached;
  }
  async disconnect(_containerId: string, networkId: string) {
    if (this.fail) throw this.fail;
    this.attached = this.attached.filter((endpoint) => endpoint.networkId !== networkId);
    return this.attached;
  }
  async create(): Promise<never> {
    throw new Error('not asked for');
  }
  remove = this.create;
  prune = this.create;
  async rename(containerId: string, namesOf: (endpoint: Endpoint) => readonly string[]) {
    this.renamed.push(containerId);
    return this.attached.map((endpoint) => ({ ...endpoint, names: namesOf(endpoint) }));
  }
  async close(containerId: string): Promise<void> {
    await this.beforeClose?.();
    this.open_.delete(containerId);
  }
  async recover(attachments: readonly Attachment[]): Promise<void> {
    this.recovered = attachments;
  }
  get(name: string): never | ReturnType<Networks['get']> {
    const all: readonly (readonly [string, string])[] = [...this.more, ['bridge', 'n']];
    const [found] = all.find((one) => one.includes(name)) ?? [];
    if (!found) throw new EngineError('not-found', `network ${name} not found`, { code: 'E_NO_SUCH_NETWORK' });
    return {
      id: this.more.get(found) ?? 'n',
      name: found,
      driver: 'bridge',
      created: '',
      subnets: [{ subnet: '172.17.0.0/16', gateway: '172.17.0.1' }],
      ipamOptions: undefined,
      internal: false,
      attachable: false,
      ipv4: true,
      ipv6: false,
      labels: {},
      options: {},
      endpoints: [],
    };
  }
  list = () => [];
  hostResolver = () => ({ servers: ['192.0.2.1'], search: [], options: [] });
  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A machine without anything, less what could be in the way of a test. */
export const fakeMachine: Machine = {
  ...readMachine('/nowhere'),
  cgroupVersion: 2,
  controllers: new Set(['memory', 'cpu', 'cpuset', 'pids', 'io']),
  swapLimit: true,
  cpus: 2,
  cpuList: '0-1',
  memoryList: '0',
  capabilities: new Set(['CAP_CHOWN', 'CAP_KILL', 'CAP_SETUID', 'CAP_SETGID']),
};

export function fakeImage(config: NonNullable<Image['config']['config']> = {}): Image {
  const digest = digestOf(JSON.stringify(config));
  const descriptor = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest,
    size: 1,
    platform: hostPlatform(),
  };
  return {
    id: digest,
    descriptor,
    manifest: descriptor,
    config: { ...hostPlatform(), config: { Cmd: ['true'], ...config }, rootfs: { type: 'layers', diff_ids: [] } },
    layers: [digest],
    size: 1,
    names: ['docker.io/library/x:latest'],
    repoDigests: [],
    created: '2026-01-01T00:00:00Z',
    tagged: undefined,
  };
}

const plainConfig: ContainerConfig = {
  Hostname: '',
  Domainname: '',
  User: '',
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Env: [],
  Cmd: null,
  Image: 'x',
  Volumes: null,
  WorkingDir: '',
  Entrypoint: null,
  OnBuild: null,
  Labels: {},
};

const plainHostConfig: HostConfig = {
  Binds: null,
  ContainerIDFile: '',
  LogConfig: { Type: '', Config: {} },
  NetworkMode: 'bridge',
  PortBindings: {},
  RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
  AutoRemove: false,
  VolumeDriver: '',
  VolumesFrom: null,
  ConsoleSize: [0, 0],
  CapAdd: null,
  CapDrop: null,
  CgroupnsMode: '',
  Dns: [],
  DnsOptions: [],
  DnsSearch: [],
  ExtraHosts: null,
  GroupAdd: null,
  IpcMode: '',
  Cgroup: '',
  Links: null,
  OomScoreAdj: 0,
  PidMode: '',
  Privileged: false,
  PublishAllPorts: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  UTSMode: '',
  UsernsMode: '',
  ShmSize: 0,
  Runtime: '',
  Isolation: '',
  CpuShares: 0,
  Memory: 0,
  NanoCpus: 0,
  CgroupParent: '',
  BlkioWeight: 0,
  BlkioWeightDevice: [],
  BlkioDeviceReadBps: [],
  BlkioDeviceWriteBps: [],
  BlkioDeviceReadIOps: [],
  BlkioDeviceWriteIOps: [],
  CpuPeriod: 0,
  CpuQuota: 0,
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  CpusetCpus: '',
  CpusetMems: '',
  Devices: [],
  DeviceCgroupRules: null,
  DeviceRequests: null,
  MemoryReservation: 0,
  MemorySwap: 0,
  MemorySwappiness: null,
  OomKillDisable: null,
  PidsLimit: null,
  Ulimits: null,
  CpuCount: 0,
  CpuPercent: 0,
  IOMaximumIOps: 0,
  IOMaximumBandwidth: 0,
  MaskedPaths: null,
  ReadonlyPaths: null,
};

export function request(config: Partial<ContainerConfig> = {}, hostConfig: Partial<HostConfig> = {}): CreateRequest {
  return { config: { ...plainConfig, ...config }, hostConfig: { ...plainHostConfig, ...hostConfig }, endpoints: {} };
}

/** An engine's containers on fakes, in a folder of its own. */
export async function fakeEngine(image: Image = fakeImage()) {
  const base = mkdtempSync(join(tmpdir(), 'berth-containers-'));
  const database = new MemoryDatabase();
  const events = new EventBus({
    failed: (error) => {
      throw error;
    },
  });
  const runtime = new FakeRuntime();
  const snapshots = new FakeSnapshots();
  const networks = new FakeNetworks();
  const volumes = await LocalVolumes.open({
    root: join(base, 'volumes'),
    database,
    events,
    log: silentLog,
    limits: new DiskLimits(),
  });
  snapshots.image = join(base, 'image');
  mkdirSync(snapshots.image);
  const actions: string[] = [];
  const ranFor: string[] = [];
  events.listen(({ type, action, actor }) => {
    if (type !== 'container') return;
    actions.push(action);
    if (action === 'die') ranFor.push(actor.attributes['execDuration'] ?? '');
  });
  const images = {
    get: async (name: string) => {
      if (name === 'x') return image;
      throw new EngineError('not-found', `No such image: ${name}:latest`);
    },
    commit: async () => image.id,
  };
  const open = () =>
    EngineContainers.open({
      root: join(base, 'containers'),
      runDir: join(base, 'run'),
      database,
      events,
      images,
      snapshots,
      networks,
      volumes,
      runtime,
      cdi: { list: async () => [], editsFor: async () => [] },
      machine: fakeMachine,
      log: silentLog,
      config: {
        init: '',
        cgroupParent: '/berth',
        log: { type: 'json-file', options: {} },
        logCap: 0,
        logKeepRemoved: 0,
        stopTimeout: 10,
        hostGateway: undefined,
      },
    });
  const containers = await open();
  volumes.askUsers(containers.volumeUsers);
  return {
    base,
    actions,
    /** Of those that died, the seconds. */
    ranFor,
    containers,
    database,
    events,
    networks,
    open,
    runtime,
    snapshots,
    volumes,
    async [Symbol.asyncDispose]() {
      await containers[Symbol.asyncDispose]();
      rmSync(base, { recursive: true, force: true });
    },
  };
}
