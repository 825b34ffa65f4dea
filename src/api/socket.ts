import { lstatSync, readFileSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { codeOf, EngineError } from '../base/errors.ts';

/** Removes what an engine that was killed left behind. Throws `conflict` when one answers there. */
export async function clearSocketPath(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket())
      throw new EngineError('conflict', `listen on ${path}: there is something else, not a socket`);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (await answers(path))
    throw new EngineError('conflict', `listen on ${path}: another engine answers there`, {
      hint: 'stop it, or give this one another socket',
    });
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** The number of a group by name, from /etc/group, or a number as it is. */
export function groupId(group: string | number, file = '/etc/group'): number {
  if (typeof group === 'number' || /^[0-9]+$/.test(group)) return Number(group);
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [name, , id] = line.split(':');
    if (name === group && id && /^[0-9]+$/.test(id)) return Number(id);
  }
  throw new EngineError('invalid', `there is no group ${JSON.stringify(group)} on this machine`, {
    hint: `make it with: groupadd ${group}`,
  });
}
