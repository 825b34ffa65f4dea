import { EngineError } from '../base/errors.ts';
import type { Healthcheck, ImageDefaults } from '../oci/image-config.ts';
import type { ContainerConfig } from '../protocol/container.ts';

/** What the user asked for over what the image says, by Docker's rules. Throws `no command specified`. */
export function mergeConfig(asked: ContainerConfig, image: ImageDefaults): ContainerConfig {
  const merged: ContainerConfig = {
    ...asked,
    User: asked.User || (image.User ?? ''),
    Env: mergeEnv(asked.Env, image.Env ?? []),
    WorkingDir: asked.WorkingDir || (image.WorkingDir ?? ''),
    Labels: { ...image.Labels, ...asked.Labels },
    Volumes: union(asked.Volumes, image.Volumes),
    ...mergeCommand(asked, image),
    ...optional('ExposedPorts', union(asked.ExposedPorts, image.ExposedPorts) ?? undefined),
    ...optional('Healthcheck', mergeHealthcheck(asked.Healthcheck, image.Healthcheck)),
    ...optional('StopSignal', asked.StopSignal || image.StopSignal || undefined),
    ...optional('Shell', asked.Shell ?? image.Shell ?? undefined),
  };
  if (!merged.Entrypoint?.length && !merged.Cmd?.length) throw new EngineError('invalid', 'no command specified');
  return merged;
}

/** Entrypoint and command as one argument list. */
export function commandOf({ Entrypoint, Cmd }: ContainerConfig): readonly string[] {
  return [...(Entrypoint ?? []), ...(Cmd ?? [])];
}

function mergeCommand(asked: ContainerConfig, image: ImageDefaults): Pick<ContainerConfig, 'Entrypoint' | 'Cmd'> {
  // An entrypoint of the user's own hides the image's command: it was written for the image's entrypoint.
  if (asked.Entrypoint?.length) {
    const reset = asked.Entrypoint.length === 1 && asked.Entrypoint[0] === '';
    return { Entrypoint: reset ? null : asked.Entrypoint, Cmd: asked.Cmd };
  }
  const Cmd = asked.Cmd?.length ? asked.Cmd : (image.Cmd ?? null);
  return { Entrypoint: asked.Entrypoint ?? image.Entrypoint ?? null, Cmd };
}

/** The user's variables first, then those of the image that the user did not name. */
function mergeEnv(asked: readonly string[], image: readonly string[]): readonly string[] {
  const named = new Set(asked.map(variable));
  return [...asked, ...image.filter((entry) => !named.has(variable(entry)))];
}

function variable(entry: string): string {
  const equals = entry.indexOf('=');
  return equals < 0 ? entry : entry.slice(0, equals);
}

type Names = Readonly<Record<string, Record<string, never>>>;

function union(asked: Names | null | undefined, image: Names | null | undefined): Names | null {
  return asked || image ? { ...image, ...asked } : null;
}

function mergeHealthcheck(asked: Healthcheck | undefined, image: Healthcheck | undefined): Healthcheck | undefined {
  if (!asked || !image) return asked ?? image;
  const merged: Record<string, unknown> = { ...image };
  for (const [key, value] of Object.entries(asked))
    if (Array.isArray(value) ? value.length > 0 : Boolean(value)) merged[key] = value;
  return merged;
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: V };
}
