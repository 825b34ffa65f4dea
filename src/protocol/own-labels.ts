import { EngineError } from '../base/errors.ts';

/** Labels that this engine acts on; to Docker they are labels like any other. */

/** What is done with a container that became unhealthy. */
export const onUnhealthyLabel = 'berth.on-unhealthy';
export const unhealthyActions = ['restart', 'stop', 'none'] as const;

/** Refuses a value that nobody can have meant. */
export function checkOwnLabels(
  labels: Readonly<Record<string, string>>,
  { autoRemove }: { readonly autoRemove: boolean },
): void {
  const action = labels[onUnhealthyLabel];
  if (action === undefined) return;
  if (!unhealthyActions.some((known) => known === action))
    throw new EngineError(
      'invalid',
      `invalid label ${onUnhealthyLabel}=${action}: expected ${unhealthyActions.join(', ')}`,
    );
  if (action === 'restart' && autoRemove)
    throw new EngineError('invalid', `can't create 'AutoRemove' container with label ${onUnhealthyLabel}=restart`);
}
