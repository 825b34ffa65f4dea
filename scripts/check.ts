/** `npm run check`: what must hold before every commit, in seconds: types, formatter, import direction, units. */
import { spawnSync } from 'node:child_process';

const root = new URL('../', import.meta.url).pathname;
const { status } = spawnSync(
  process.execPath,
  [`${root}scripts/test/run.ts`, 'types', 'format', 'architecture', 'unit'],
  {
    stdio: 'inherit',
  },
);
process.exit(status ?? 1);
