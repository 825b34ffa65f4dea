import { randomInt } from 'node:crypto';
import { EngineError } from '../../base/errors.ts';
import type { HostConfig } from '../../protocol/container.ts';

/** What a container without a label of its own sees its files as: categories that no other container gets by chance. */
const privilegedMount = 'system_u:object_r:container_file_t:s0:c1022,c1023';

/**
 * The options where the user gave none: who shares the machine's processes or memory is not confined, who shares another
 * container's has its label, since the two could not reach each other otherwise.
 */
export function labelOptions(
  asked: readonly string[],
  { Privileged, IpcMode, PidMode }: Pick<HostConfig, 'Privileged' | 'IpcMode' | 'PidMode'>,
  labelOf: (container: string) => string,
): readonly string[] {
  if (asked.length > 0) return asked;
  if (Privileged || IpcMode === 'host' || PidMode === 'host') return ['disable'];
  const shared = [IpcMode, PidMode].find((mode) => mode.startsWith('container:'));
  if (shared === undefined) return [];
  const [user, role, type, ...level] = labelOf(shared.slice('container:'.length)).split(':');
  if (level.length === 0) return ['disable'];
  return [`user:${user}`, `role:${role}`, `type:${type}`, `level:${level.join(':')}`];
}

/**
 * A container's SELinux labels, made at create and kept with it: a pair of categories of its own keeps it from others'
 * files. `disable` confines no process. Throws `invalid` on an option that does not exist.
 */
export function selinuxLabels(
  options: readonly string[],
  random: (below: number) => number = randomInt,
): { readonly process: string; readonly mount: string } {
  const fields = { user: 'system_u', role: 'system_r', type: 'container_t', level: '', filetype: 'container_file_t' };
  for (const option of options) {
    if (option === 'disable') return { process: '', mount: privilegedMount };
    const [key = '', ...rest] = option.split(':');
    if (rest.length === 0 || !Object.hasOwn(fields, key))
      throw new EngineError(
        'invalid',
        `Bad label option ${JSON.stringify(option)}, valid options 'disable' or 'user, role, type, level, filetype' followed by ':' and a value`,
      );
    fields[key as keyof typeof fields] = rest.join(':');
  }
  const level = fields.level || categories(random);
  return {
    process: `${fields.user}:${fields.role}:${fields.type}:${level}`,
    mount: `system_u:object_r:${fields.filetype}:${level}`,
  };
}

/** Two different categories of 1024, the lower first, as multi-category security wants them. */
function categories(random: (below: number) => number) {
  const one = random(1024);
  const other = (one + 1 + random(1023)) % 1024;
  return `s0:c${Math.min(one, other)},c${Math.max(one, other)}`;
}
