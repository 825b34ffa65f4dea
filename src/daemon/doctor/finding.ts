export type State = 'ok' | 'warn' | 'fail';

/** What one check of `berth doctor` found. */
export interface Finding {
  /** Stable, for scripts: `runtime.runc`. */
  readonly name: string;
  readonly state: State;
  /** What is there, in words and with figures. */
  readonly found: string;
  /** What to do about it: a command where there is one. */
  readonly cure?: string;
  /** Applies the cure. Only there when it is safe: it can be undone, and no container or other program notices. */
  readonly fix?: () => Promise<void>;
  /** CVE numbers that are open. */
  readonly holes?: readonly string[];
}

const marks: Readonly<Record<State, string>> = { ok: 'ok  ', warn: 'warn', fail: 'FAIL' };

/** One line a finding, its cure below it; a summary last. Control characters of what was found are not passed on. */
export function renderText(findings: readonly Finding[]): string {
  const width = Math.max(0, ...findings.map(({ name }) => name.length));
  const lines = findings.flatMap(({ name, state, found, cure, fix }) => [
    `${marks[state]}  ${name.padEnd(width)}  ${plain(found)}`,
    ...(cure && state !== 'ok' ? [`${' '.repeat(width + 8)}-> ${plain(cure)}${fix ? ' (--fix does it)' : ''}`] : []),
  ]);
  return `${[...lines, '', summary(findings)].join('\n')}\n`;
}

export function renderJson(findings: readonly Finding[]): string {
  const checks = findings.map(({ fix, ...finding }) => ({ ...finding, fixable: fix !== undefined }));
  return `${JSON.stringify({ state: worst(findings), checks }, undefined, 2)}\n`;
}

export function worst(findings: readonly Finding[]): State {
  if (findings.some(({ state }) => state === 'fail')) return 'fail';
  return findings.some(({ state }) => state === 'warn') ? 'warn' : 'ok';
}

function summary(findings: readonly Finding[]) {
  const count = (wanted: State) => findings.filter(({ state }) => state === wanted).length;
  const fixable = findings.filter(({ fix }) => fix).length;
  return `${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed${fixable ? `; --fix can cure ${fixable}` : ''}`;
}

const plain = (text: string) => text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');

export interface FixResult {
  readonly name: string;
  /** Undefined when it was fixed. */
  readonly error: string | undefined;
}

/** Applies every fix, one after the other; one that fails does not stop the others. */
export async function applyFixes(findings: readonly Finding[]): Promise<readonly FixResult[]> {
  const results: FixResult[] = [];
  for (const { name, fix } of findings) {
    if (!fix) continue;
    const error = await fix().then(
      () => undefined,
      (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown)),
    );
    results.push({ name, error });
  }
  return results;
}
