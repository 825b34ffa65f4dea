/** A reporter for node:test that writes what the runner counts, one JSON object a line (`TestEvent`). */
import type { TestEvent as NodeEvent } from 'node:test/reporters';

export interface TestEvent {
  readonly type: 'start' | 'pass' | 'fail';
  readonly name: string;
  /** Why it did not run, or is known to fail; empty where no reason was given. */
  readonly skip?: string;
  readonly todo?: string;
  /** What went wrong. */
  readonly error?: string;
}

const reason = (given: string | boolean | undefined): string | undefined =>
  given === undefined || given === false ? undefined : given === true ? '' : given;

function textOf(error: Error & { cause?: unknown }): string {
  const cause = error.cause ?? error;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}

/** What the runner hears of one event of node:test; undefined when it is nothing that counts. */
export function eventOf(event: NodeEvent): TestEvent | undefined {
  // "start" is told in the order of the report, "dequeue" when it happens.
  if (event.type === 'test:dequeue') return { type: 'start', name: event.data.name };
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return undefined;
  const { name, details } = event.data;
  if (details.type === 'suite') return undefined;
  const skip = reason(event.data.skip);
  const todo = reason(event.data.todo);
  const known = { ...(skip === undefined ? {} : { skip }), ...(todo === undefined ? {} : { todo }) };
  if (event.type === 'test:pass') return { type: 'pass', name, ...known };
  const { error } = event.data.details;
  // A parent fails because a child did: the child tells.
  if ((error as { failureType?: string }).failureType === 'subtestsFailed') return undefined;
  return { type: 'fail', name, ...known, error: textOf(error) };
}

async function* report(source: AsyncIterable<NodeEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    const told = eventOf(event);
    if (told) yield `${JSON.stringify(told)}\n`;
  }
}

// biome-ignore lint/style/noDefaultExport: node asks for a reporter by this name
export default report;
