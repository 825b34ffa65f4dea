import { randomInt } from 'node:crypto';
import { EngineError } from '../../base/errors.ts';

/**
 * A container's SELinux labels, made at create and kept with it: a pair of categories of its own keeps it from others'
 * files. `disable` gives empty ones. Throws `invalid` on an option that does not exist.
 */
export function selinuxLabels(
  options: readonly string[],
  random: (below: number) => number = randomInt,
): { readonly process: string; readonly mount: string } {
  const fields = { user: 'system_u', role: 'system_r', type: 'container_t', level: '', filetype: 'container_file_t' };
  for (const option of options) {
    if (option === 'disable') return { process: '', mount: '' };
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
