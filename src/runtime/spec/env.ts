import type { ContainerConfig } from '../../protocol/container.ts';

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * A process's environment in Docker's order: what the engine gives (PATH, HOSTNAME, TERM with a terminal, links), then
 * `config.Env` (the image's, which the user's has already been merged into): a name that is there keeps its place and gets
 * the later value, one without `=` is taken away. HOME comes last, and only where nothing names it.
 */
export function containerEnv({
  config,
  hostname,
  home,
  links = [],
}: {
  readonly config: Pick<ContainerConfig, 'Env' | 'Tty'>;
  readonly hostname: string;
  /** The user's, from `resolveUser`; '' leaves HOME out. */
  readonly home: string;
  /** The variables of `--link`. */
  readonly links?: readonly string[];
}): readonly string[] {
  const engines = [`PATH=${defaultPath}`, `HOSTNAME=${hostname}`, ...(config.Tty ? ['TERM=xterm'] : []), ...links];
  return withHome(mergeEnv(engines, config.Env), home);
}

/**
 * An exec's: the container's, made without a home since this one's user may be another, then what was asked for. TERM
 * where this one has a terminal and the container had none.
 */
export function execEnv({
  container,
  env,
  tty,
  home,
}: {
  readonly container: readonly string[];
  readonly env: readonly string[];
  readonly tty: boolean;
  readonly home: string;
}): readonly string[] {
  return withHome(mergeEnv(tty ? mergeEnv(['TERM=xterm'], container) : container, env), home);
}

/** `over` on top of `base`. Also how a user's environment goes over an image's at create. */
export function mergeEnv(base: readonly string[], over: readonly string[]): readonly string[] {
  const merged = [...base];
  for (const entry of over) {
    const name = nameOf(entry);
    const at = merged.findIndex((other) => nameOf(other) === name);
    if (!entry.includes('=')) {
      if (at !== -1) merged.splice(at, 1);
    } else if (at === -1) merged.push(entry);
    else merged[at] = entry;
  }
  return merged;
}

const nameOf = (entry: string) => entry.split('=', 1)[0]!;

const withHome = (env: readonly string[], home: string) =>
  home === '' || env.some((entry) => nameOf(entry) === 'HOME') ? env : [...env, `HOME=${home}`];
