import { readFileSync } from 'node:fs';
import { availableParallelism, release, totalmem } from 'node:os';
import type { Contestant } from './engines.ts';
import type { Row } from './rows.ts';

export interface Measured {
  readonly row: Row;
  readonly samples: ReadonlyMap<string, readonly { readonly ms: number; readonly cpu: number }[]>;
  readonly failures: ReadonlyMap<string, string>;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length === 0
    ? Number.NaN
    : sorted.length % 2
      ? sorted[middle]!
      : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The row as its cells: each engine's median, processor time where it is meant, and the ratio to the better reference. */
function cells(
  { row, samples, failures }: Measured,
  names: readonly string[],
): { readonly texts: readonly string[]; readonly ratio: string; readonly runcRatio: string } {
  const of = (name: string) => samples.get(name)?.map(({ ms }) => ms) ?? [];
  const texts = names.map((name) => {
    if (failures.has(name)) return 'failed';
    const values = of(name);
    if (values.length === 0) return '-';
    const cpu = median(samples.get(name)!.map((sample) => sample.cpu));
    return `${format(median(values))}${row.cpu ? ` (${format(cpu / (row.operations ?? 1))} cpu)` : ''}`;
  });
  const references = names
    .filter((name) => name.startsWith('docker'))
    .map((name) => median(of(name)))
    .filter((value) => !Number.isNaN(value));
  const best = row.better === 'more' ? Math.max(...references) : Math.min(...references);
  const against = (name: string) => {
    const value = median(of(name));
    return references.length === 0 || Number.isNaN(value) ? '-' : `${(value / best).toFixed(2)} x`;
  };
  return { texts, ratio: against('berth crun'), runcRatio: against('berth runc') };
}

function format(value: number): string {
  if (Number.isNaN(value)) return '-';
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function textTable(measured: readonly Measured[], names: readonly string[]): string {
  return measured
    .map((one) => {
      const { texts, ratio } = cells(one, names);
      const failures = [...one.failures].map(([name, why]) => `    ${name}: ${why}\n`).join('');
      return `${one.row.name.padEnd(22)} ${one.row.unit.padEnd(7)} ${names.map((name, index) => `${name} ${texts[index]}`).join(' | ')} | ${ratio} (bar ${one.row.bar})\n${failures}`;
    })
    .join('');
}

export function markdown(measured: readonly Measured[], names: readonly string[], machine: readonly string[]): string {
  const head = `| work | unit | ${names.join(' | ')} | crun to the better Docker | runc to it | bar |\n|${' --- |'.repeat(names.length + 5)}\n`;
  const lines = measured.map((one) => {
    const { texts, ratio, runcRatio } = cells(one, names);
    return `| ${one.row.about} (\`${one.row.name}\`) | ${one.row.unit} | ${texts.join(' | ')} | **${ratio}** | ${runcRatio} | ${one.row.bar} |\n`;
  });
  const failures = measured.flatMap(({ row, failures: all }) =>
    [...all].map(([name, why]) => `- \`${row.name}\` failed on ${name}: ${why.replaceAll('\n', ' ')}\n`),
  );
  return `# Benchmarks

Written by \`npm run bench\`, which runs every row on all engines in turn; medians of the rounds. Only the ratios count: the
absolute figures are this machine's on that day. "cpu" is processor time of one operation in milliseconds: engine, monitors,
runtimes and containers, without the client.

${machine.map((line) => `- ${line}\n`).join('')}
${head}${lines.join('')}${failures.length > 0 ? `\n${failures.join('')}` : ''}`;
}

/** What stands in the file behind the rows, written by hand: it stays. */
export function withScale(written: string, before: string): string {
  const at = before.indexOf('\n## Scale\n');
  return at < 0 ? written : `${written}${before.slice(at)}`;
}

export function machineLine(): string {
  const cpu = /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? process.arch;
  const load = readFileSync('/proc/loadavg', 'utf8').split(' ')[0];
  return `${new Date().toISOString().slice(0, 10)}; ${availableParallelism()} cores (${cpu}), ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, load ${load} at the end`;
}

export function versionLines(contestants: readonly Contestant[]): string[] {
  return contestants.map(
    ({ name, engine }) =>
      `${name}: ${engine.must('version', '--format', '{{.Server.Version}}')}${engine.isBerth ? ' is the Docker version whose API Berth speaks' : ''}`,
  );
}
