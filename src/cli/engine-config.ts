import { type Config, type ConfigSources, flagOf, readConfig, settings } from '../daemon/config.ts';
import type { Option, Parsed } from './command.ts';

/** The engine's settings as options of a command: `--log-level` and all others, from the one schema. */
export const engineOptions: Readonly<Record<string, Option>> = {
  config: { value: 'FILE', about: 'the configuration file (default /etc/berth/berth.json, where it exists)' },
  ...Object.fromEntries(
    Object.values(settings).map(({ key, form, about, default: fallback }): [string, Option] => [
      flagOf(key).slice(2),
      // Said by being there, as docker's flags are.
      { ...(key !== 'asDocker' && { value: 'VALUE' }), about: `${about}; ${form} (${shown(fallback)})` },
    ]),
  ),
};

/** What the file, the environment and the flags say together. */
export function engineConfig(parsed: Parsed | undefined): Config {
  return readConfig(engineSources(parsed));
}

/** Where the engine's settings come from for this command line. */
export function engineSources(parsed: Parsed | undefined): ConfigSources {
  const flags: Record<string, string> = {};
  for (const key of Object.keys(settings)) {
    const value = parsed?.value(flagOf(key).slice(2));
    if (value !== undefined) flags[key] = value;
  }
  return { file: parsed?.value('config') ?? process.env.BERTH_CONFIG, env: process.env, flags };
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text === '' || text === '[]' || text === '{}' ? 'none' : text;
}
