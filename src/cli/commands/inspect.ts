import { EngineError } from '../../base/errors.ts';
import { ResponseError } from '../../client/client.ts';
import type { Command } from '../command.ts';
import { withEngine } from '../connect.ts';

export const inspect: Command = {
  usage: 'inspect NAME...',
  about: 'Shows all that is known of containers, images, networks or volumes, as JSON.',
  options: {},
  operands: { least: 1, most: Number.POSITIVE_INFINITY },
  async run(parsed) {
    const found = await withEngine((client) =>
      Promise.all(
        parsed.operands.map(async (name) => {
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
          throw new EngineError('not-found', `no container, image, network or volume is called ${name}`, {
            hint: 'berth ps -a, berth images',
          });
        }),
      ),
    );
    process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
    return 0;
  },
};
