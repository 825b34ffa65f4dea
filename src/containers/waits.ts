import type { WaitCondition } from './containers.ts';

export interface WaitResult {
  readonly code: number;
  readonly error: string | undefined;
}

/** Who waits for which container to end or to go. */
export class Waits {
  readonly #waiting = new Map<
    string,
    { readonly condition: WaitCondition; readonly resolve: (result: WaitResult) => void }[]
  >();

  /** Watched from this call on. */
  add(id: string, condition: WaitCondition): Promise<WaitResult> {
    return new Promise((resolve) => {
      const list = this.#waiting.get(id);
      if (list) list.push({ condition, resolve });
      else this.#waiting.set(id, [{ condition, resolve }]);
    });
  }

  exited(id: string, result: WaitResult): void {
    const list = this.#waiting.get(id) ?? [];
    const stay = list.filter(({ condition }) => condition === 'removed');
    for (const { condition, resolve } of list) if (condition !== 'removed') resolve(result);
    if (stay.length > 0) this.#waiting.set(id, stay);
    else this.#waiting.delete(id);
  }

  /** The container is gone: nobody waits on. */
  removed(id: string, result: WaitResult): void {
    for (const { resolve } of this.#waiting.get(id) ?? []) resolve(result);
    this.#waiting.delete(id);
  }
}
