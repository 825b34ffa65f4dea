import { readFileSync } from 'node:fs';
import { codeOf, EngineError } from '../base/errors.ts';
import type { ContainerDefaults } from '../containers/engine-defaults.ts';
import { rlimitNames } from '../runtime/spec/rlimits.ts';
import { parseSeccompProfile } from '../runtime/spec/seccomp.ts';
import type { Config } from './config.ts';

/** What the settings give to containers that do not say. Throws `invalid` for limits and profiles that are none. */
export function containerDefaults(config: Config): ContainerDefaults {
  return {
    ulimits: ulimitsOf(config),
    dns: config.dns,
    dnsOptions: config.dnsOptions,
    dnsSearch: config.dnsSearch,
    init: config.initAlways,
    noNewPrivileges: config.noNewPrivileges,
    seccomp: profile(config.seccompProfile),
  };
}

export function ulimitsOf({ defaultUlimits }: Pick<Config, 'defaultUlimits'>): ContainerDefaults['ulimits'] {
  return Object.entries(defaultUlimits).map(([Name, text]) => ulimit(Name, text));
}

function ulimit(Name: string, text: string) {
  const [, soft, hard = soft] = /^(-?\d+)(?::(-?\d+))?$/.exec(text) ?? [];
  if (soft === undefined || !rlimitNames.has(Name))
    throw new EngineError('invalid', `defaultUlimits: ${Name}=${text} is no limit`, {
      hint: 'as nofile=1024:2048; the names are those of docker run --ulimit',
    });
  const [Soft, Hard] = [Number(soft), Number(hard)];
  if (Hard !== -1 && (Soft === -1 || Soft > Hard))
    throw new EngineError('invalid', `defaultUlimits: ${Name}: the soft limit ${soft} is above the hard one ${hard}`);
  return { Name, Soft, Hard };
}

function profile(setting: string): string | undefined {
  if (setting === 'builtin') return undefined;
  if (setting === 'unconfined') return setting;
  try {
    const text = readFileSync(setting, 'utf8');
    parseSeccompProfile(text);
    return text;
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError('invalid', `opening seccomp profile (${setting}) failed: ${codeOf(error)}`, { cause: error });
  }
}
