import { EngineError } from '../../base/errors.ts';
import { type EngineClient, ResponseError } from '../../client/client.ts';
import { type Command, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { inspectContainer } from '../container-info.ts';
import { engineNames } from '../engine-names.ts';
import { nearest } from '../missing.ts';
import { asCompose, asRun, readOriginal } from '../recreate.ts';
import { printJson } from '../terminal.ts';

export const inspect: Command = {
  usage: 'inspect [OPTIONS] NAME...',
  about:
    'Shows all that is known of containers, images, networks or volumes, as JSON; or what makes a container again: as a\ndocker run command line for a shell, or as a Compose file. Only what differs from its image and the defaults is said.',
  options: { as: { value: 'run|compose', about: 'what makes the container again' } },
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  examples: ['berth inspect --as run web', 'berth inspect --as compose web > compose.yaml'],
  async run(parsed) {
    const as = parsed.value('as');
    if (as !== undefined && as !== 'run' && as !== 'compose')
      throw new UsageError(`--as ${as}: expected run or compose`, 'berth inspect --help');
    await withEngine(async (client) => {
      if (as === undefined) printJson(await Promise.all(parsed.operands.map((name) => find(client, name))));
      else if (as === 'compose' && parsed.operands.length > 1)
        throw new UsageError('--as compose takes one container', 'berth inspect --help');
      else for (const name of parsed.operands) process.stdout.write(await recreate(client, name, as));
    });
    return 0;
  },
};

async function find(client: EngineClient, name: string): Promise<unknown> {
  for (const path of [
    `/containers/${encodeURIComponent(name)}/json`,
    `/images/${name}/json`,
    `/networks/${encodeURIComponent(name)}`,
    `/volumes/${encodeURIComponent(name)}`,
  ]) {
    try {
      return await client.json<unknown>('GET', path);
    } catch (error) {
      if (!(error instanceof ResponseError) || (error.status !== 404 && error.status !== 400)) throw error;
    }
  }
  const kinds = ['containers', 'images', 'networks', 'volumes'] as const;
  const names = await Promise.all(kinds.map((kind) => engineNames(client, kind).catch(() => [])));
  const near = nearest(name, names.flat());
  throw new EngineError('not-found', `no container, image, network or volume is called ${name}`, {
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
