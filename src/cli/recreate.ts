import type { EngineClient } from '../client/client.ts';
import { ResponseError } from '../client/client.ts';
import type { ImageDefaults } from '../oci/image-config.ts';
import type { ContainerInfo } from './container-info.ts';
import { fields } from './recreate-fields.ts';
import { shellWord } from './shell-words.ts';
import { plainLine } from './terminal.ts';
import { toYaml, type Yaml } from './yaml.ts';

/** A container with what it has from elsewhere: nothing of that need be said to make it again. */
export interface Original {
  readonly container: ContainerInfo;
  readonly image: ImageDefaults;
  readonly engine: {
    readonly name: string;
    readonly runtime: string;
    readonly logDriver: string;
    readonly cgroupnsMode: string;
  };
}

/** Something that differs, in both languages. */
export interface Part {
  /** Words for `docker run`. */
  readonly run?: readonly string[];
  /** Keys of a Compose service. */
  readonly compose?: { readonly [key: string]: Yaml };
  /** Keys of the file, beside `services`. */
  readonly top?: { readonly [key: string]: Yaml };
  /** What cannot be said. */
  readonly notes?: readonly string[];
  /** What only Compose cannot say. */
  readonly composeNotes?: readonly string[];
}

export async function readOriginal(client: EngineClient, container: ContainerInfo): Promise<Original | undefined> {
  const [image, info] = await Promise.all([
    client.json<{ Config?: ImageDefaults | null }>('GET', `/images/${container.Image}/json`).catch((error: unknown) => {
      if (error instanceof ResponseError && error.status === 404) return undefined;
      throw error;
    }),
    client.json<{ Name: string; DefaultRuntime: string; LoggingDriver: string; CgroupVersion?: string }>(
      'GET',
      '/info',
    ),
  ]);
  if (!image) return undefined;
  return {
    container,
    image: image.Config ?? {},
    engine: {
      name: info.Name,
      runtime: info.DefaultRuntime,
      logDriver: info.LoggingDriver,
      cgroupnsMode: info.CgroupVersion === '2' ? 'private' : 'host',
    },
  };
}

const partsOf = (original: Original) => fields.flatMap((field) => field(original) ?? []);

/** The `docker run` that makes the same container again, for a POSIX shell, an option a line. */
export function asRun(original: Original): string {
  const { Config } = original.container;
  const parts = partsOf(original);
  const { entrypoint, args } = commandWords(original);
  const options = parts.flatMap(({ run }) => (run ? [run] : []));
  const lines = [
    'docker run',
    ...[...options, ...(entrypoint === undefined ? [] : [['--entrypoint', entrypoint]])].map((words) =>
      words.map(shellWord).join(' '),
    ),
    [Config.Image, ...args].map(shellWord).join(' '),
  ];
  const notes = [...parts.flatMap(({ notes: said = [] }) => said), ...runNotes(original)];
  return `${notes.map(comment).join('')}${lines.join(' \\\n  ')}\n`;
}

/** A Compose file with this one service. */
export function asCompose(original: Original): string {
  const { container, image } = original;
  const { Config, Name } = container;
  const name = Name.slice(1);
  const parts = partsOf(original);
  const own = sameWords(Config.Entrypoint, image.Entrypoint);
  const service: { [key: string]: Yaml } = { image: Config.Image, container_name: name };
  if (!own) service['entrypoint'] = Config.Entrypoint ?? [];
  if (Config.Cmd && (!own || !sameWords(Config.Cmd, image.Cmd))) service['command'] = Config.Cmd;
  const top: { [key: string]: Yaml } = {};
  for (const part of parts) {
    for (const [key, value] of Object.entries(part.compose ?? {})) service[key] = merged(service[key], value);
    for (const [key, value] of Object.entries(part.top ?? {})) top[key] = merged(top[key], value);
  }
  const notes = parts.flatMap((part) => [...(part.notes ?? []), ...(part.composeNotes ?? [])]);
  const key = name.toLowerCase().replace(/[^a-z0-9_-]/g, '-');
  return `${notes.map(comment).join('')}${toYaml(escaped({ services: { [key]: service }, ...top }))}`;
}

const comment = (note: string) => `# ${plainLine(note.replace(/\s+/g, ' '))}\n`;

/** `docker run` knows an entrypoint of one word only; the others go before the command, which runs the same. */
function commandWords({ container: { Config }, image }: Original): {
  readonly entrypoint: string | undefined;
  readonly args: readonly string[];
} {
  const cmd = Config.Cmd ?? [];
  if (sameWords(Config.Entrypoint, image.Entrypoint))
    return { entrypoint: undefined, args: sameWords(Config.Cmd, image.Cmd) ? [] : cmd };
  const [first = '', ...others] = Config.Entrypoint ?? [];
  return { entrypoint: first, args: [...others, ...cmd] };
}

function runNotes({ container: { Config }, image }: Original): string[] {
  const long = (Config.Entrypoint?.length ?? 0) > 1 && !sameWords(Config.Entrypoint, image.Entrypoint);
  return long
    ? ['docker run takes one word as entrypoint: the others stand before the command, which runs the same']
    : [];
}

export function sameWords(a: readonly string[] | null | undefined, b: readonly string[] | null | undefined): boolean {
  const [left, right] = [a ?? [], b ?? []];
  return left.length === right.length && left.every((word, index) => word === right[index]);
}

/** Several parts may add to one list or map. */
function merged(before: Yaml | undefined, value: Yaml): Yaml {
  if (Array.isArray(before) && Array.isArray(value)) return [...(before as Yaml[]), ...(value as Yaml[])];
  if (typeof before === 'object' && typeof value === 'object' && !Array.isArray(before) && !Array.isArray(value))
    return { ...before, ...value } as Yaml;
  return value;
}

/** A dollar is the beginning of a variable in a Compose file, two are one. */
function escaped(value: Yaml): Yaml {
  if (typeof value === 'string') return value.replaceAll('$', '$$$$');
  if (Array.isArray(value)) return (value as Yaml[]).map(escaped);
  if (typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, escaped(entry as Yaml)]));
  return value;
}
