import { readdirSync, readFileSync } from 'node:fs';

/**
 * By the IDs of containers, a process that runs in one of them: dockerd leaves them running when it is killed, and with
 * live-restore always. Whoever runs a container puts its ID into the name of its cgroup.
 */
export function aliveContainers(proc = '/proc'): ReadonlyMap<string, number> {
  const alive = new Map<string, number>();
  for (const entry of readdirSync(proc)) {
    if (!/^\d+$/.test(entry)) continue;
    let groups: string;
    try {
      groups = readFileSync(`${proc}/${entry}/cgroup`, 'utf8');
    } catch {
      // It has ended.
      continue;
    }
    for (const [id] of groups.matchAll(/(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/g))
      if (!alive.has(id)) alive.set(id, Number(entry));
  }
  return alive;
}
