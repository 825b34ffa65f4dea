/** What an engine must not leave behind: in the kernel, on the disk, among the processes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Where to look. */
export interface Leavings {
  /** The test engine's directory, with `root` and `run` in it. */
  readonly dir: string;
  readonly netns: string;
  readonly cgroupParent: string;
  /** 0 when it does not run. */
  readonly pid: number;
}

/** What may be there. */
export interface Known {
  /** All containers, by ID. */
  readonly containers: readonly string[];
  readonly running: readonly string[];
  /** How many of the running have a network namespace that is theirs, and how many of those an address. */
  readonly sandboxes: number;
  readonly endpoints: number;
  readonly addresses: readonly string[];
  readonly volumes: readonly string[] | 'any';
  /** Exec sessions that may still be running. */
  readonly execs: number;
}

export const nothing: Known = {
  containers: [],
  running: [],
  sandboxes: 0,
  endpoints: 0,
  addresses: [],
  volumes: [],
  execs: 0,
};

/** Namespaces that an engine makes ahead of the next containers. */
const ahead = 3;

interface Listed {
  readonly Id: string;
  readonly State: string;
  readonly HostConfig: { readonly NetworkMode: string };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>> };
}

/** What the engine itself says is there. */
export async function knownTo(engine: {
  api(method: string, path: string): Promise<{ status: number; body: string }>;
}): Promise<Known> {
  const listed = JSON.parse((await engine.api('GET', '/v1.47/containers/json?all=1')).body) as readonly Listed[];
  const { Volumes } = JSON.parse((await engine.api('GET', '/v1.47/volumes')).body) as {
    Volumes: readonly { Name: string }[] | null;
  };
  const running = listed.filter(({ State }) => State === 'running' || State === 'paused');
  const own = running.filter(
    ({ HostConfig: { NetworkMode: mode } }) => mode !== 'host' && !mode.startsWith('container:'),
  );
  const addresses = running.flatMap(({ NetworkSettings }) =>
    Object.values(NetworkSettings.Networks).flatMap(({ IPAddress }) => IPAddress || []),
  );
  return {
    containers: listed.map(({ Id }) => Id),
    running: running.map(({ Id }) => Id),
    sandboxes: own.length,
    endpoints: own.filter(({ HostConfig }) => HostConfig.NetworkMode !== 'none').length,
    addresses,
    volumes: (Volumes ?? []).map(({ Name }) => Name),
    execs: 0,
  };
}

/** Everything that is there and should not be, and what should be and is not, one line each. */
export function findLeaks(where: Leavings, known: Known): string[] {
  return [
    ...mountLeaks(where, known),
    ...networkLeaks(where, known),
    ...cgroupLeaks(where, known),
    ...processLeaks(where, known),
    ...fileLeaks(where, known),
  ];
}

/** Waits for what goes on in the background; fails with what is left after that. */
export async function assertNoLeaks(
  where: Leavings,
  known: Known | (() => Promise<Known>),
  { within = 10_000 }: { readonly within?: number } = {},
): Promise<void> {
  const until = Date.now() + within;
  for (;;) {
    const leaks = findLeaks(where, typeof known === 'function' ? await known() : known);
    if (leaks.length === 0) return;
    if (Date.now() > until) assert.fail(`left behind:\n  ${leaks.join('\n  ')}`);
    await sleep(100);
  }
}

/** How many descriptors a process has open. */
export const openFiles = (pid: number): number => namesIn(`/proc/${pid}/fd`).length;

function mountLeaks({ dir, pid }: Leavings, { running, sandboxes }: Known): string[] {
  const leaks: string[] = [];
  const roots = new Map(running.map((id): [string, number] => [id, 0]));
  let namespaces = 0;
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const target = line.split(' ')[4]?.replaceAll('\\040', ' ');
    if (!target?.startsWith(`${dir}/`)) continue;
    const [first, second, third, fourth, fifth] = target.slice(dir.length + 1).split('/');
    if (first === 'run' && second === 'networks' && third === 'netns') namespaces++;
    else if (first === 'run' && second === 'containers' && fourth === 'rootfs' && fifth === undefined) {
      const count = roots.get(third!);
      if (count === undefined) leaks.push(`mount of a container that does not run: ${target}`);
      else roots.set(third!, count + 1);
    } else if (first === 'run' && second === 'containers' && roots.has(third!)) continue;
    // The layers' mounts stay while the engine runs, and while a container is made of them.
    else if (first === 'root' && second === 'snapshots' && (pid > 0 || running.length > 0)) continue;
    else leaks.push(`mount: ${target}`);
  }
  for (const [id, count] of roots) if (count !== 1) leaks.push(`${count} mounts of the root of ${id}`);
  if (namespaces < sandboxes || namespaces > sandboxes + (pid > 0 ? ahead : 0))
    leaks.push(`${namespaces} network namespaces for ${sandboxes} containers`);
  return leaks;
}

function networkLeaks({ netns, pid }: Leavings, { endpoints, addresses, running }: Known): string[] {
  const leaks: string[] = [];
  const inside = (...command: string[]) => {
    const { status, stdout, stderr } = spawnSync('nsenter', [`--net=/run/netns/${netns}`, ...command], {
      encoding: 'utf8',
    });
    if (status !== 0) leaks.push(`${command.join(' ')}: ${stderr}`);
    return stdout;
  };
  const links = inside('ip', '-j', 'link');
  const names = (JSON.parse(links || '[]') as readonly { ifname: string }[]).map(({ ifname }) => ifname);
  const veths = names.filter((name) => name.startsWith('bt'));
  if (veths.length < endpoints || veths.length > endpoints + (pid > 0 ? ahead : 0))
    leaks.push(`${veths.length} veths for ${endpoints} endpoints`);
  for (const name of names)
    if (!veths.includes(name) && name !== 'lo' && (name !== 'berth0' || (pid === 0 && endpoints === 0)))
      leaks.push(`link: ${name}`);
  const rules = inside('nft', 'list', 'ruleset');
  if (pid === 0 && running.length === 0 && rules.includes('table'))
    leaks.push(`firewall rules: ${rules.slice(0, 200)}`);
  // Where published ports go to.
  for (const [, address] of rules.matchAll(/: (\d+\.\d+\.\d+\.\d+) \. \d+/g))
    if (!addresses.includes(address!)) leaks.push(`firewall rule for an address that nobody has: ${address}`);
  return leaks;
}

function cgroupLeaks({ cgroupParent, pid }: Leavings, { running }: Known): string[] {
  const leaks: string[] = [];
  for (const controller of namesIn('/sys/fs/cgroup')) {
    const parent = join('/sys/fs/cgroup', controller, cgroupParent);
    if (pid === 0 && running.length === 0 && namesIn(join(parent, '..')).includes(parent.split('/').at(-1)!))
      leaks.push(`cgroup: ${parent}`);
    for (const name of directoriesIn(parent)) if (!running.includes(name)) leaks.push(`cgroup: ${join(parent, name)}`);
  }
  return leaks;
}

function processLeaks({ dir, pid: engine }: Leavings, { running, execs }: Known): string[] {
  const leaks: string[] = [];
  const monitors = new Map(running.map((id): [string, number] => [id, 0]));
  let sessions = 0;
  let helpers = 0;
  for (const { pid, words } of processesOf(dir)) {
    const value = (key: string) => words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1);
    const id = value('id');
    if (pid === engine) continue;
    if (words.some((word) => word.endsWith('networks-helper.js'))) helpers++;
    else if (id !== undefined && value('session') !== undefined) sessions++;
    else if (id !== undefined && monitors.has(id)) monitors.set(id, monitors.get(id)! + 1);
    else leaks.push(`process ${pid}: ${words.join(' ').slice(0, 200)}`);
  }
  for (const [id, count] of monitors) if (count !== 1) leaks.push(`${count} monitors of ${id}`);
  if (sessions > execs) leaks.push(`${sessions} monitors of exec sessions, ${execs} run`);
  if (helpers > (engine > 0 || running.length > 0 ? 1 : 0)) leaks.push(`${helpers} network helpers`);
  return leaks;
}

/** The processes that name the directory on their command lines, but not this one and not those that it asks with. */
export function processesOf(dir: string): { readonly pid: number; readonly words: readonly string[] }[] {
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => ({ pid: Number(name), words: read(`/proc/${name}/cmdline`).split('\0') }))
    .filter(({ words }) => words.some((word) => word.includes(`${dir}/`)));
}

function fileLeaks({ dir }: Leavings, { containers, running, volumes, execs }: Known): string[] {
  const leaks: string[] = [];
  const only = (path: string, expected: readonly string[]) => {
    const found = namesIn(join(dir, path));
    for (const name of found) if (!expected.includes(name)) leaks.push(`file: ${path}/${name}`);
    for (const name of expected) if (!found.includes(name)) leaks.push(`missing: ${path}/${name}`);
  };
  only('run/containers', running);
  only('root/containers', containers);
  // Logs of removed containers are kept knowingly; one that is still here has not left any there.
  for (const id of namesIn(join(dir, 'root/removed-logs')))
    if (!/^[0-9a-f]{64}$/.test(id) || containers.includes(id)) leaks.push(`file: root/removed-logs/${id}`);
  only('root/snapshots/containers', containers);
  for (const name of ['views', 'trash', 'staging']) only(`root/snapshots/${name}`, []);
  // What a broken transfer got so far has the digest for its name: the next one goes on there.
  for (const name of namesIn(join(dir, 'root/content/ingest')))
    if (!name.startsWith('sha256-')) leaks.push(`file: root/content/ingest/${name}`);
  if (volumes !== 'any') only('root/volumes', volumes);
  const states = namesIn(join(dir, 'run/runtime/state')).flatMap((name) =>
    namesIn(join(dir, 'run/runtime/state', name)),
  );
  for (const id of states) if (!running.includes(id)) leaks.push(`a runtime's state: ${id}`);
  const sessions = namesIn(join(dir, 'run/runtime/exec')).length;
  if (sessions > execs) leaks.push(`${sessions} directories of exec sessions, ${execs} run`);
  return leaks;
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? entry.name : []));
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
