/**
 * `npm run bench [-- ROW.. ]`: the figures we promise, measured. Every row runs on all engines in turn (A B C A B C ...), so
 * that drift and noise hit all of them; what counts is the ratio to the better reference engine. With no rows named all are
 * measured and docs/benchmarks.md is written.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { busyboxArchive } from '../test/lib/busybox-image.ts';
import { project } from '../test/lib/engines.ts';
import { type Contestant, startContestants } from './engines.ts';
import { type Measured, machineLine, markdown, textTable, versionLines, withScale } from './report.ts';
import { openRows, type Row, rows } from './rows.ts';

const document = `${project}docs/benchmarks.md`;
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !rows.some((row) => row.name === name));
if (unknown.length > 0) {
  process.stderr.write(`no such row: ${unknown.join(', ')}\nrows: ${rows.map(({ name }) => name).join(', ')}\n`);
  process.exit(2);
}
const chosen: readonly Row[] = asked.length > 0 ? rows.filter(({ name }) => asked.includes(name)) : rows;

await using stack = new AsyncDisposableStack();
const surroundings = stack.use(await openRows());
const contestants: Contestant[] = [];
for (const [name, start] of Object.entries(startContestants)) {
  const contestant = await start([...surroundings.flagsFor(name)]);
  if (!contestant) {
    process.stderr.write(`${name}: cannot be had here, not run\n`);
    continue;
  }
  stack.use(contestant);
  contestant.engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  contestants.push(contestant);
}

// Asked now: an engine may be down after the last row.
const versions = versionLines(contestants);
const measured: Measured[] = [];
for (const row of chosen) {
  const samples = new Map<string, { ms: number; cpu: number }[]>();
  const failures = new Map<string, string>();
  // A round that nobody counts: caches, pools, the first compiled filter.
  for (let round = row.rounds > 1 ? -1 : 0; round < row.rounds; round++) {
    for (const contestant of contestants) {
      if (failures.has(contestant.name)) continue;
      try {
        await row.prepare?.(contestant, surroundings);
        const cpuBefore = contestant.cpu();
        const figure = await row.measure(contestant, surroundings);
        const cpu = contestant.cpu() - cpuBefore;
        if (round >= 0) samples.set(contestant.name, [...(samples.get(contestant.name) ?? []), { ms: figure, cpu }]);
      } catch (error) {
        failures.set(contestant.name, error instanceof Error ? error.message.slice(0, 300) : String(error));
      } finally {
        // An engine that is down is cleaned with its folder.
        await Promise.resolve(row.clean?.(contestant, surroundings)).catch((error: unknown) => {
          failures.set(contestant.name, error instanceof Error ? error.message : String(error));
        });
      }
    }
  }
  const done: Measured = { row, samples, failures };
  measured.push(done);
  const names = contestants.map(({ name }) => name);
  process.stdout.write(textTable([done], names));
  // After every row: a run that is cut leaves what it has.
  if (asked.length > 0) continue;
  const text = markdown(measured, names, [machineLine(), ...versions]);
  writeFileSync(document, withScale(text, readFileSync(document, 'utf8')));
}
if (asked.length === 0) process.stdout.write('\nwrote docs/benchmarks.md\n');
