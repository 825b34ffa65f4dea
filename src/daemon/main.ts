import { parseArgs } from 'node:util';
import { EngineError, messageOf } from '../base/errors.ts';
import { flagOf, settings } from './config.ts';
import { runEngine } from './run.ts';

/** Started as a program: flags are the settings, `--config` names the file. */
async function main(): Promise<number> {
  try {
    const { values } = parseArgs({
      args: process.argv.slice(2),
      options: {
        config: { type: 'string' },
        settled: { type: 'boolean' },
        ...Object.fromEntries(Object.keys(settings).map((key) => [flagOf(key).slice(2), { type: 'string' as const }])),
      },
    });
    const flags: Record<string, string> = {};
    for (const key of Object.keys(settings)) {
      const value = (values as Record<string, unknown>)[flagOf(key).slice(2)];
      if (typeof value === 'string') flags[key] = value;
    }
    return await runEngine({ file: values.config, env: process.env, flags, settled: values.settled === true });
  } catch (error) {
    process.stderr.write(
      `berth engine: ${messageOf(error)}\n${error instanceof EngineError && error.hint ? `  try: ${error.hint}\n` : ''}`,
    );
    return 125;
  }
}

process.exit(await main());
