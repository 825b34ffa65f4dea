import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Machine } from '../runtime/spec/input.ts';
import { examine, infoWarnings } from './doctor/doctor.ts';
import type { Finding } from './doctor/finding.ts';
import { LinuxHost } from './doctor/host.ts';

export interface MachineHealthDeps {
  readonly dataRoot: string;
  readonly bridge: string;
  readonly table: string;
  readonly machine: Machine;
  readonly log: Log;
}

/** How old the doctor's word may be. */
const goodFor = 60_000;

/**
 * What the doctor says of this machine, for `docker info`. Looking costs a few programs that are run, so it happens beside:
 * whoever asks gets the last word at once, and an old one is asked for again.
 */
export class MachineHealth {
  readonly #deps: MachineHealthDeps;
  #findings: readonly Finding[] = [];
  #asked = Number.NEGATIVE_INFINITY;

  constructor(deps: MachineHealthDeps) {
    this.#deps = deps;
  }

  readonly warnings = (): readonly string[] => {
    this.#look();
    return infoWarnings(this.#deps.machine, this.#findings);
  };

  #look(): void {
    if (performance.now() - this.#asked < goodFor) return;
    this.#asked = performance.now();
    const { dataRoot, bridge, table, log } = this.#deps;
    examine({ host: new LinuxHost(), dataRoot, bridge, table }).then(
      (findings) => {
        this.#findings = findings;
      },
      (error: unknown) => log.warn('the machine could not be examined', { error: messageOf(error) }),
    );
  }
}
