/**
 * `./berth test [SUITE..]`: every suite, or those that are named. A line for each suite, the whole story of what failed, the
 * names of what could not be run here, and at the end `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { examine } from '../../src/daemon/doctor/doctor.ts';
import { LinuxHost } from '../../src/daemon/doctor/host.ts';
import { type Outcome, runFile, secondTime } from './file.ts';
import { runVm } from './vm.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const bin = (name: string) => `${root}node_modules/.bin/${name}`;

/** For everything, seconds. What has not begun by then is told as failed: a run always comes to its last line. */
const budget = Number(process.env.BERTH_TEST_BUDGET ?? 4200);
/** The virtual machine, when nobody asked for it: its boots, seconds; and when the whole run has to be over. */
const boots = 480;
const wholeRun = 1680;

interface Suite {
  readonly about: string;
  readonly run: () => Promise<Outcome>;
}

const suites: Readonly<Record<string, Suite>> = {
  types: { about: 'tsc, strict', run: () => command('tsc', ['-p', root]) },
  format: { about: 'formatter and lint rules', run: () => command('biome', ['check', '--error-on-warnings', root]) },
  architecture: { about: 'the direction of imports', run: () => files(['test/*.test.ts'], 2, 60) },
  unit: { about: 'beside the code', run: () => files(['src/**/*.test.ts', 'scripts/**/*.test.ts'], 2, 120) },
  fuzz: { about: "what reads strangers' bytes", run: () => files(['test/fuzz/*.test.ts'], 2, 300) },
  system: {
    about: 'real mounts, namespaces, cgroups, registries',
    run: () => files(['test/system/*.test.ts'], 3, 600),
  },
  compat: {
    about: 'the docker CLI and the API, on Berth and on the reference engine',
    run: () => files(['test/compat/*.test.ts'], 3, 900),
  },
  vm: {
    about: 'a virtual machine with systemd, cgroup v2, AppArmor; reboots',
    run: () =>
      asked.includes('vm')
        ? runVm({ root, building: 1800, boots: 1800, required: true })
        : runVm({ root, building: boots, boots: Math.min(boots, wholeRun - process.uptime()), required: false }),
  },
};

/** A tool that passes or fails as one. */
async function command(name: string, args: readonly string[]): Promise<Outcome> {
  const result = spawnSync(bin(name), args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (result.status === 0) return { passed: 1, failed: [], skipped: [] };
  return { passed: 0, failed: [`${name}\n${result.stdout}${result.stderr}`], skipped: [] };
}

async function files(patterns: readonly string[], concurrency: number, seconds: number): Promise<Outcome> {
  const found = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).sort();
  const outcomes = await runFiles(found, concurrency, seconds);
  const again = found.filter((name) => outcomes.get(name)!.failed.length > 0);
  if (again.length > 0 && again.length <= 12) {
    // These tests share the machine with others' work and with each other: what fails only once, and not when it is alone, is
    // told by name; what fails again has failed.
    const first = again.flatMap((name) => outcomes.get(name)!.failed).map((text) => text.replaceAll(/^/gm, '    '));
    process.stdout.write(`${first.join('\n')}\n  once more, alone: ${again.join(', ')}\n`);
    for (const [name, second] of await runFiles(again, 1, seconds))
      outcomes.set(name, secondTime(outcomes.get(name)!, second));
  }
  const all = [...outcomes.values()];
  return {
    passed: all.reduce((sum, { passed }) => sum + passed, 0),
    failed: all.flatMap(({ failed }) => failed),
    skipped: all.flatMap(({ skipped }) => skipped),
  };
}

async function runFiles(found: readonly string[], concurrency: number, seconds: number): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>();
  const queue = [...found];
  const work = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const from = performance.now();
      const left = Math.floor(budget - process.uptime());
      const outcome =
        left < 1
          ? { passed: 0, failed: [`${name}: not run, the whole run had taken ${budget} s\n`], skipped: [] }
          : await runFile({
              file: root + name,
              name,
              cwd: root,
              seconds: Math.min(seconds, left),
              onFailure: (title) => process.stdout.write(`  ✗ ${title}\n`),
            });
      outcomes.set(name, outcome);
      if (process.env.BERTH_TEST_VERBOSE)
        process.stdout.write(`  ${((performance.now() - from) / 1000).toFixed(1)} s ${name}\n`);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return outcomes;
}

/** crun of Debian 12 refuses a hybrid machine whose second hierarchy still has a controller: the doctor's cure is applied. */
async function bothRuntimes(): Promise<void> {
  const findings = await examine({ host: new LinuxHost(), dataRoot: '/var/lib/berth' });
  await findings.find(({ name }) => name === 'cgroups.hybrid')?.fix?.();
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in suites));
if (unknown.length > 0) {
  process.stderr.write(
    `berth: no such test suite: ${unknown.join(', ')}\n  suites: ${Object.keys(suites).join(', ')}\n`,
  );
  process.exit(2);
}
process.chdir(root);
if (!existsSync(`${root}dist/built`)) throw new Error('dist/ is missing: start this with ./berth test');

await bothRuntimes();

let passed = 0;
const failed: string[] = [];
const skipped: string[] = [];
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

for (const name of asked.length > 0 ? asked : Object.keys(suites)) {
  const suite = suites[name]!;
  process.stdout.write(`${name}: ${suite.about}\n`);
  const from = performance.now();
  const outcome = await suite.run();
  const seconds = ((performance.now() - from) / 1000).toFixed(1);
  process.stdout.write(
    `  ${outcome.passed} passed, ${outcome.failed.length} failed${outcome.skipped.length ? `, ${outcome.skipped.length} not run` : ''} in ${seconds} s\n`,
  );
  passed += outcome.passed;
  failed.push(...outcome.failed);
  skipped.push(...outcome.skipped);
}
if (failed.length > 0) process.stdout.write(`\nFailed:\n\n${failed.join('\n\n')}\n`);
if (skipped.length > 0) process.stdout.write(`\nNot run here:\n${skipped.map((line) => `  ${line}`).join('\n')}\n`);
process.stdout.write(
  `\n${passed} passed, ${failed.length} failed${skipped.length ? `, ${skipped.length} skipped` : ''}\n`,
);
process.exit(failed.length > 0 ? 1 : 0);
