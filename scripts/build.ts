/**
 * Bundles what users start: each entry becomes one file in `dist/`, flat, named after its room (`layers/worker` is
 * `layers-worker.js`, see src/base/entry.ts); what several share becomes chunks, so that a command loads only its own.
 */

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { build } from 'esbuild';

const root = new URL('../', import.meta.url).pathname;
const builds = `${root}.build`;
const name = `${Date.now().toString(36)}-${process.pid}`;
const staging = `${builds}/${name}`;

/** Every file that starts a process or a thread is named in the code by `entryUrl('room/file')`. */
const entries = ['cli/main', 'daemon/main', ...findEntries()];

function findEntries(): string[] {
  const found = new Set<string>();
  for (const entry of readdirSync(`${root}src`, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts') || entry.name.endsWith('.test.ts')) continue;
    const text = readFileOf(`${entry.parentPath}/${entry.name}`);
    for (const match of text.matchAll(/entryUrl\('([\w-]+\/[\w-]+)'\)/g)) found.add(match[1]!);
  }
  return [...found].sort();
}

function readFileOf(path: string): string {
  return process.getBuiltinModule('node:fs').readFileSync(path, 'utf8');
}

function packageVersion(): string {
  return (JSON.parse(readFileOf(`${root}package.json`)) as { version: string }).version;
}

function commit(): string {
  try {
    return execFileSync('git', ['-C', root, 'rev-parse', '--short=12', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}

await mkdir(staging, { recursive: true });
try {
  await build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(entries.map((name) => [name.replace('/', '-'), `src/${name}.ts`])),
    outdir: staging,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: ['koffi'],
    define: {
      BERTH_BUILD: JSON.stringify({ version: packageVersion(), commit: commit(), built: new Date().toISOString() }),
    },
    chunkNames: 'chunk-[hash]',
    sourcemap: true,
    sourcesContent: false,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
    // Names stay as they are: errors and stack traces are read by people.
    keepNames: false,
  });
  await cp(`${root}src/runtime/monitor.c`, `${staging}/monitor.c`);
  await writeFile(`${staging}/built`, '');
  // `dist` is a link that is swapped: an engine that runs from an earlier build still finds its chunks.
  await symlink(`.build/${name}`, `${root}dist.${name}.tmp`);
  await rename(`${root}dist.${name}.tmp`, `${root}dist`);
} catch (error) {
  await rm(staging, { recursive: true, force: true });
  throw error;
}

const older = (await readdir(builds)).sort().slice(0, -3);
for (const build of older) await rm(`${builds}/${build}`, { recursive: true, force: true });
