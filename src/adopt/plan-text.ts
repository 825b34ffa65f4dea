import { humanSize } from '../images/progress.ts';
import { kinds } from './observed.ts';
import type { Plan, Step } from './plan.ts';

/** The plan for people: what is taken, what is here, and what is left with why and what to do. */
export function planText({ from, steps, bytes, free }: Plan): string {
  const taken = kinds.flatMap((kind) => {
    const count = steps.filter((step) => step.kind === kind && step.action === 'take').length;
    return count === 0 ? [] : `${count} ${count === 1 ? kind.slice(0, -1) : kind}`;
  });
  const width = Math.max(0, ...steps.map(({ name }) => name.length));
  const sections = kinds.flatMap((kind) => {
    const its = steps.filter((step) => step.kind === kind);
    return its.length === 0 ? [] : ['', kind, ...its.flatMap((step) => linesOf(step, width))];
  });
  const left = steps.filter(({ action }) => action === 'leave').length;
  const head =
    taken.length === 0
      ? `Docker at ${from}: nothing to take`
      : `Docker at ${from}: ${taken.join(', ')} to take, ${humanSize(bytes)}; ${humanSize(free)} are free`;
  const short = bytes > free ? ['that is not enough: nothing will be taken before there is more'] : [];
  return `${[head, ...short, ...sections, ...(left > 0 ? ['', `${left} left where ${left === 1 ? 'it is' : 'they are'}`] : [])].join('\n')}\n`;
}

function linesOf({ action, name, bytes, changes, why, try: hint }: Step, width: number): string[] {
  const fact = why ?? (bytes > 0 ? humanSize(bytes) : '');
  return [
    `  ${action.padEnd(5)}  ${name.padEnd(width)}  ${fact}`.trimEnd(),
    ...changes.map((change) => `           ${change}`),
    ...(hint === undefined ? [] : [`           try: ${hint}`]),
  ];
}
