import type { Process, Spec } from '../../oci/runtime-spec.ts';

/** Of ES2026, in Node since 22: a number in JSON's text that a JavaScript number cannot hold. */
declare global {
  interface JSON {
    rawJSON(text: string): unknown;
  }
}

/**
 * config.json, or the process of an exec. Infinity, which JSON does not have, is RLIM_INFINITY, which a JavaScript number
 * cannot hold: read back it is 2^64, and written as what it was.
 */
export function specJson(spec: Spec | Process): string {
  const infinity = JSON.rawJSON('18446744073709551615');
  return JSON.stringify(spec, (_, value: unknown) =>
    typeof value === 'number' && value >= 2 ** 64 ? infinity : value,
  );
}
