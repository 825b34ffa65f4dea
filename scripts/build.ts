/**
 * Bundles what users start: each entry becomes one file in `dist/`, flat, named after its room (`layers/worker` is
 * `layers-worker.js`, see src/base/entry.ts); what several share becomes chunks, so that a command loads only its own.
 */

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const root = fileURLToPath(new URL('../', import.meta.url));
const builds = `${root}.build`;
const name = `${Date.now().toString(36)}-${process.pid}`;
const staging = `${builds}/${name}`;

/** Every file that starts a process or a thread is named in the code by `entryUrl('room/file')`. */
const entries = ['daemon/main', ...findEntries()];

/** Commands that bring half the engine along: files of their own, loaded when they are asked for. */
const heavyCommands = ['cli/commands/engine', 'cli/commands/quickstart', 'cli/commands/doctor'];

/** Commands that are not for every minute: a file of its own each, with all that it needs. */
const rareCommands = [
  ...[
    'why',
    'ports',
    'inspect',
    'debug',
    'completion',
    'network',
    'system',
    'dial-stdio',
    'top',
    'df',
    'volume',
    'prune',
    'update',
  ],
].map((name) => `cli/commands/${name}`);

const outputName = (name: string) => name.replaceAll('/', '-');
const named = (names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [outputName(name), `src/${name}.ts`]));

/** Imports of these stay imports, of the file that each becomes. */
function leaveOut(names: readonly string[]): Plugin {
  return {
    name: 'leave-out',
    setup: ({ onResolve }) =>
      onResolve({ filter: /^\.\/commands\// }, ({ path }) => {
        const name = names.find((known) => known === `cli/${path.slice(2, -3)}`);
        return name ? { path: `./${outputName(name)}.js`, external: true } : undefined;
      }),
  };
}

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

/**
 * An `import` of a built-in module makes an export of each of its properties, and so calls its getters: those of node:http
 * load undici, that of node:crypto all of WebCrypto, 60 and 15 ms of processor time in every process. Taken as an object
 * only what is asked for is loaded.
 */
const builtinsAsObjects: Plugin = {
  name: 'builtins-as-objects',
  setup(build) {
    build.onResolve({ filter: /^node:(https?|crypto)$/ }, ({ path }) => ({ path, namespace: 'builtin' }));
    build.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `const builtin = process.getBuiltinModule(${JSON.stringify(path)});\nexport const { ${builtinNames[path]!.join(', ')} } = builtin;`,
    }));
  },
};

/** What the sources import by value; the bundler fails on a name that is not here. */
const builtinNames: Readonly<Record<string, readonly string[]>> = {
  'node:http': ['Agent', 'STATUS_CODES', 'createServer', 'get', 'request'],
  'node:https': ['Agent', 'request'],
  'node:crypto': ['createHash', 'randomBytes', 'randomInt', 'randomUUID'],
};

await mkdir(staging, { recursive: true });
try {
  const common: BuildOptions = {
    absWorkingDir: root,
    outdir: staging,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: ['koffi'],
    // As modules: its other form asks for Node's own by `require`, which a bundle of modules has not.
    alias: { yaml: `${root}node_modules/yaml/browser/index.js` },
    plugins: [builtinsAsObjects],
    define: {
      BERTH_BUILD: JSON.stringify({ version: packageVersion(), commit: commit(), built: new Date().toISOString() }),
    },
    sourcemap: true,
    sourcesContent: false,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
  };
  await build({
    ...common,
    entryPoints: named([...entries, ...heavyCommands]),
    splitting: true,
    chunkNames: 'chunk-[hash]',
  });
  // The daily commands are one file: opening a dozen chunks costs more than compiling what one command does not use.
  const apart = [...heavyCommands, ...rareCommands];
  await build({ ...common, entryPoints: named(['cli/main']), plugins: [builtinsAsObjects, leaveOut(apart)] });
  await build({ ...common, entryPoints: named(rareCommands), plugins: [builtinsAsObjects, leaveOut(apart)] });
  await cp(`${root}src/runtime/monitor.c`, `${staging}/monitor.c`);
  await writeFile(`${staging}/built`, '');
  // `dist` is a link that is swapped: an engine that runs from an earlier build still finds its chunks.
  await symlink(`.build/${name}`, `${root}dist.${name}.tmp`);
  await rename(`${root}dist.${name}.tmp`, `${root}dist`);
} catch (error) {
  await rm(staging, { recursive: true, force: true });
  throw error;
}

// An engine that runs from an earlier build may still start its helper or a thread from it.
const running = readdirSync('/proc')
  .filter((name) => /^\d+$/.test(name))
  .map(commandOf)
  .join('\n');
for (const build of (await readdir(builds)).sort().slice(0, -3)) {
  if (!running.includes(`/.build/${build}/`)) await rm(`${builds}/${build}`, { recursive: true, force: true });
}

/** A process's command line; '' when it has ended. */
function commandOf(pid: string): string {
  try {
    return readFileOf(`/proc/${pid}/cmdline`);
  } catch {
    return '';
  }
}
