import { EngineError } from '../../base/errors.ts';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import { type Command, type Option, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { inspectContainer } from '../container-info.ts';
import { engineNames } from '../engine-names.ts';
import { formattedOne } from '../format.ts';
import { nearest } from '../missing.ts';
import { asCompose, asRun, readOriginal } from '../recreate.ts';
import { printJson } from '../terminal.ts';
import { platformJson } from '../values.ts';

const formatOption: Option = {
  ...{ short: '-f', value: 'TEMPLATE' },
  about: "a Go template for each, as '{{.State.Status}}' or '{{json .Mounts}}'",
};

export const inspect: Command = {
  usage: 'inspect [OPTIONS] NAME...',
  about:
    'Shows all that is known of containers, images, networks or volumes, as JSON; or what makes a container again: as a\ndocker run command line for a shell, or as a Compose file. Only what differs from its image and the defaults is said.',
  options: {
    as: { value: 'run|compose', about: 'what makes the container again' },
    type: { value: 'container|image|network|volume', about: 'only of this kind' },
    size: { short: '-s', about: 'with the bytes that a container wrote' },
    format: formatOption,
    json: { about: 'as JSON, which it is in any case' },
  },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  examples: ['berth inspect --as run web', 'berth inspect --as compose web > compose.yaml'],
  async run(parsed) {
    const as = parsed.value('as');
    if (as !== undefined && as !== 'run' && as !== 'compose')
      throw new UsageError(`--as ${as}: expected run or compose`, 'berth inspect --help');
    const type = parsed.value('type');
    if (type !== undefined && !(type in paths))
      throw new UsageError(`--type ${type}: expected ${Object.keys(paths).join(', ')}`, 'berth inspect --help');
    const wanted = { type: type as Kind | undefined, size: parsed.flag('size') };
    await withEngine(async (client) => {
      if (as === undefined) {
        const found = await Promise.all(parsed.operands.map((name) => find(client, name, wanted)));
        show(found, parsed.value('format'));
      } else if (as === 'compose' && parsed.operands.length > 1)
        throw new UsageError('--as compose takes one container', 'berth inspect --help');
      else for (const name of parsed.operands) process.stdout.write(await recreate(client, name, as));
    });
    return 0;
  },
};

function show(found: readonly unknown[], format: string | undefined): void {
  if (format === undefined || format === 'json') printJson(found);
  else process.stdout.write(found.map((one) => formattedOne(format, one)).join(''));
}

interface Wanted {
  readonly type: Kind | undefined;
  readonly size: boolean;
}

type Kind = 'container' | 'image' | 'network' | 'volume';

const paths: Readonly<Record<Kind, (name: string) => string>> = {
  container: (name) => `/containers/${encodeURIComponent(name)}/json`,
  image: (name) => `/images/${name}/json`,
  network: (name) => `/networks/${encodeURIComponent(name)}`,
  volume: (name) => `/volumes/${encodeURIComponent(name)}`,
};

/** `berth container inspect` and its like: of one kind only. */
export function inspectOf(kind: Kind): Command {
  return {
    usage: `${kind} inspect [OPTIONS] ${kind.toUpperCase()}...`,
    about: `Shows all that is known of ${kind}s, as JSON.`,
    options: {
      ...(kind === 'container' && { size: { short: '-s', about: 'with the bytes that it wrote' } }),
      ...(kind === 'network' && { verbose: { short: '-v', about: 'has no meaning on one host' } }),
      ...(kind === 'image' && { platform: { value: 'OS/ARCH', about: 'the one for this platform' } }),
      format: formatOption,
      json: { about: 'as JSON, which it is in any case' },
    },
    operands: { least: 1, most: Number.POSITIVE_INFINITY },
    async run(parsed) {
      const query = {
        size: kind === 'container' && parsed.flag('size') ? 1 : undefined,
        platform: kind === 'image' ? platformJson(parsed.value('platform')) : undefined,
      };
      const found = await withEngine((client) =>
        Promise.all(parsed.operands.map((name) => client.json<unknown>('GET', paths[kind](name), { query }))),
      );
      show(found, parsed.value('format'));
      return 0;
    },
  };
}

async function find(client: EngineClient, name: string, { type, size }: Wanted): Promise<unknown> {
  for (const kind of type === undefined ? (Object.keys(paths) as Kind[]) : [type]) {
    try {
      const query = { size: kind === 'container' && size ? 1 : undefined };
      return await client.json<unknown>('GET', paths[kind](name), { query });
    } catch (error) {
      if (!(error instanceof ResponseError) || (error.status !== 404 && error.status !== 400)) throw error;
    }
  }
  const kinds = ['containers', 'images', 'networks', 'volumes'] as const;
  const names = await Promise.all(kinds.map((kind) => engineNames(client, kind).catch(() => [])));
  const near = nearest(name, names.flat());
  throw new EngineError('not-found', `no ${type ?? 'container, image, network or volume'} is called ${name}`, {
    hint: near === undefined ? 'berth ps -a, berth images' : `did you mean ${near}?`,
  });
}

async function recreate(client: EngineClient, name: string, as: 'run' | 'compose'): Promise<string> {
  const container = await inspectContainer(client, name);
  const original = await readOriginal(client, container);
  if (!original)
    throw new EngineError(
      'not-found',
      `the image of ${name} is gone (${container.Config.Image}): what the container has from it cannot be told from what was asked for`,
      { hint: `berth pull ${container.Config.Image}` },
    );
  return as === 'run' ? asRun(original) : asCompose(original);
}
