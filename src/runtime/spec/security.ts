import { EngineError } from '../../base/errors.ts';
import type { Seccomp } from '../../oci/runtime-spec.ts';
import type { HostConfig } from '../../protocol/container.ts';
import { maskedPaths, readonlyPaths } from '../../protocol/create-request.ts';
import { appArmorProfileName } from './apparmor.ts';
import type { Machine } from './input.ts';
import { parseSeccompProfile, resolveSeccomp } from './seccomp.ts';
import { defaultSeccompProfile } from './seccomp-table.ts';

/** `--security-opt`, read. */
export interface SecurityOptions {
  readonly noNewPrivileges: boolean;
  /** `builtin`, `unconfined`, or a profile's text; undefined when not said. */
  readonly seccomp: string | undefined;
  readonly appArmor: string | undefined;
  /** The parts after `label=`: `disable`, `user:x`, `role:x`, `type:x`, `level:x`. */
  readonly labels: readonly string[];
  /** No masked and no read-only paths. The CLI takes this out and sends empty path lists instead; others send it. */
  readonly systemPathsUnconfined: boolean;
  readonly writableCgroups: boolean;
}

/** Throws `invalid` in Docker's words. Later ones win, labels add up. */
export function parseSecurityOptions(options: readonly string[]): SecurityOptions {
  let noNewPrivileges = false;
  let seccomp: string | undefined;
  let appArmor: string | undefined;
  let systemPathsUnconfined = false;
  let writableCgroups = false;
  const labels: string[] = [];
  for (const option of options) {
    if (option === 'no-new-privileges') noNewPrivileges = true;
    else if (option === 'disable') labels.push('disable');
    else {
      // `=`, or the old `:` where there is no `=`.
      const [, key, value] = /^([^=]*?)=(.*)$/s.exec(option) ?? /^([^:]*):(.*)$/s.exec(option) ?? [];
      if (key === undefined || value === undefined) throw invalid(1, option);
      if (key === 'label') labels.push(value);
      else if (key === 'apparmor') appArmor = value;
      else if (key === 'seccomp') seccomp = value;
      else if (key === 'no-new-privileges') noNewPrivileges = truth(value, option);
      else if (key === 'writable-cgroups') writableCgroups = truth(value, option);
      else if (key === 'systempaths' && value === 'unconfined') systemPathsUnconfined = true;
      else throw invalid(2, option);
    }
  }
  return { noNewPrivileges, seccomp, appArmor, labels, systemPathsUnconfined, writableCgroups };
}

const invalid = (step: 1 | 2, option: string) =>
  new EngineError('invalid', `invalid --security-opt ${step}: ${JSON.stringify(option)}`);

function truth(value: string, option: string) {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  throw invalid(2, option);
}

/** The AppArmor profile of the first process, or undefined where the kernel has no AppArmor. */
export function appArmorProfile(
  { appArmor }: SecurityOptions,
  privileged: boolean,
  machine: Pick<Machine, 'appArmor'>,
): string | undefined {
  if (!machine.appArmor) return undefined;
  if (appArmor === undefined || appArmor === '') return privileged ? 'unconfined' : appArmorProfileName;
  return appArmor === 'docker-default' ? appArmorProfileName : appArmor;
}

/**
 * The seccomp object, or undefined when the container is not confined. Nobody but the engine has a say in it: image
 * labels and annotations do not.
 */
export function seccompFor(
  { seccomp }: SecurityOptions,
  container: Pick<HostConfig, 'Privileged'> & { readonly bounding: readonly string[] },
  machine: Pick<Machine, 'seccomp' | 'architecture' | 'kernel'>,
): Seccomp | undefined {
  if (seccomp === 'unconfined') return undefined;
  const own = seccomp !== undefined && seccomp !== '' && seccomp !== 'builtin';
  if (container.Privileged && !own) return undefined;
  if (!machine.seccomp) {
    if (!own) return undefined;
    throw new EngineError('invalid', 'seccomp is not enabled in your kernel, cannot run a custom seccomp profile');
  }
  const facts = { architecture: machine.architecture, kernel: machine.kernel, capabilities: container.bounding };
  return resolveSeccomp(own ? parseSeccompProfile(seccomp) : defaultSeccompProfile(), facts);
}

/**
 * Masked and read-only paths: the request's own lists where it has them, none when privileged, else Docker's. The
 * processors' thermal counters, whose paths are this machine's, go with any list that hides something.
 */
export function protectedPaths(
  hostConfig: Pick<HostConfig, 'Privileged' | 'MaskedPaths' | 'ReadonlyPaths'>,
  { systemPathsUnconfined }: Pick<SecurityOptions, 'systemPathsUnconfined'>,
  machine: Pick<Machine, 'thermalPaths'>,
): { readonly masked: readonly string[]; readonly readOnly: readonly string[] } {
  if (hostConfig.Privileged || systemPathsUnconfined) return { masked: [], readOnly: [] };
  const hidden = hostConfig.MaskedPaths ?? maskedPaths;
  return {
    masked: hidden.length > 0 ? [...hidden, ...machine.thermalPaths] : [],
    readOnly: hostConfig.ReadonlyPaths ?? readonlyPaths,
  };
}
