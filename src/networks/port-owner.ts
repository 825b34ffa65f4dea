import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { PublishedPort } from './networks.ts';

/**
 * The process that has a port of this host, as `nginx (pid 312)`, by the tables of /proc/net and the descriptors of every
 * process. Called only for a message about a failure: it reads much.
 */
export function findPortOwner({
  protocol,
  hostPort,
}: Pick<PublishedPort, 'protocol' | 'hostPort'>): string | undefined {
  const inodes = new Set(
    [`/proc/self/net/${protocol}`, `/proc/self/net/${protocol}6`].flatMap((path) =>
      inodesOf(readText(path), protocol, hostPort),
    ),
  );
  if (inodes.size === 0) return undefined;
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    for (const fd of list(`/proc/${pid}/fd`)) {
      const socket = /^socket:\[(\d+)\]$/.exec(readLink(`/proc/${pid}/fd/${fd}`))?.[1];
      if (socket && inodes.has(socket)) return `${nameOf(pid)} (pid ${pid})`;
    }
  }
  return undefined;
}

/** By the command line: what a process calls its first thread says less. */
function nameOf(pid: string): string {
  const command = readText(`/proc/${pid}/cmdline`).split('\0')[0];
  return command ? basename(command) : readText(`/proc/${pid}/comm`).trim();
}

/** The sockets in a table of proc(5) that are bound to the port; of TCP only those that listen. */
export function inodesOf(table: string, protocol: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const listens = protocol !== 'tcp' || fields[3] === '0A';
      return fields[1]?.endsWith(suffix) && listens && fields[9] ? [fields[9]] : [];
    });
}

/** Processes come and go while they are read: what is gone is empty. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
