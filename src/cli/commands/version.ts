import { messageOf } from '../../base/errors.ts';
import { versions } from '../../daemon/version.ts';
import type { Command } from '../command.ts';
import { printJson } from '../terminal.ts';

export const version: Command = {
  usage: 'version',
  about: 'Shows the versions of the CLI and of the engine.',
  options: { short: { about: 'only the version of the CLI' }, json: { about: 'as JSON' } },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    if (parsed.flag('short')) {
      process.stdout.write(`berth ${versions.berth} (${versions.commit})\n`);
      return 0;
    }
    const [{ EngineClient }, { engineAddress }] = await Promise.all([
      import('../../client/client.ts'),
      import('../connect.ts'),
    ]);
    await using client = new EngineClient({ socket: engineAddress() });
    const engine = await client
      .json<{ Version: string; ApiVersion: string; Platform: { Name: string } }>('GET', '/version')
      .catch((error: unknown) => messageOf(error));
    if (parsed.flag('json')) printJson({ cli: versions, engine });
    else {
      process.stdout.write(`cli     ${versions.berth}, build ${versions.commit}, Node ${process.versions.node}\n`);
      process.stdout.write(
        typeof engine === 'string'
          ? `engine  ${engine}\n`
          : `engine  ${engine.Platform.Name}, API ${engine.ApiVersion} as of Docker ${engine.Version}\n`,
      );
    }
    return 0;
  },
};
