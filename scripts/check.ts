/** `npm run check`: what must hold before every commit, in seconds: types, formatter, import direction, units. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const { status } = spawnSync(
  process.execPath,
  [`${root}scripts/test/run.ts`, 'types', 'format', 'architecture', 'unit'],
  {
    stdio: 'inherit',
  },
);
process.exit(status ?? 1);
