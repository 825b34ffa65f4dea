import { EngineError } from '../../base/errors.ts';
import type { HostConfig } from '../../protocol/container.ts';
import type { Machine } from './input.ts';

/** As `--ulimit` takes them. */
export const rlimitNames: ReadonlySet<string> = new Set(
  'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' '),
);

/** RLIM_INFINITY, which is -1 on the wire and does not fit a JavaScript number: written as this by `specJson`. */
export const unlimited = Number.POSITIVE_INFINITY;

/**
 * `--ulimit`; none by default. A hard limit above the engine's own needs CAP_SYS_RESOURCE, and the runtimes fail without
 * it in words that do not name the limit, so it is refused here.
 */
export function rlimitsOf(
  ulimits: HostConfig['Ulimits'],
  machine: Pick<Machine, 'capabilities' | 'hardLimits'>,
): readonly { readonly type: string; readonly soft: number; readonly hard: number }[] {
  return (ulimits ?? []).map(({ Name, Soft, Hard }) => {
    if (!rlimitNames.has(Name.toLowerCase())) throw new EngineError('invalid', `invalid ulimit type: ${Name}`);
    const [soft, hard] = [limit(Soft), limit(Hard)];
    if (soft > hard)
      throw new EngineError('invalid', `ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`);
    const type = `RLIMIT_${Name.toUpperCase()}`;
    const most = machine.hardLimits[type] ?? unlimited;
    if (hard > most && !machine.capabilities.has('CAP_SYS_RESOURCE'))
      throw new EngineError(
        'invalid',
        `ulimit ${Name.toLowerCase()}=${text(Soft)}:${text(Hard)} cannot be set: the engine's own hard limit is ${text(most)} and it has no CAP_SYS_RESOURCE to raise it`,
        { hint: `--ulimit ${Name.toLowerCase()}=${text(Math.min(soft, most))}:${text(most)}` },
      );
    return { type, soft, hard };
  });
}

const limit = (value: number) => (value < 0 ? unlimited : value);
const text = (value: number) => (value === unlimited ? '-1' : String(value));
