import type { Spec } from '../../oci/runtime-spec.ts';

/** Of ES2026, in Node since 22: a number in JSON's text that a JavaScript number cannot hold. */
declare global {
  interface JSON {
    rawJSON(text: string): unknown;
  }
}

/** config.json. Infinity, which JSON does not have, is RLIM_INFINITY, which a JavaScript number cannot hold. */
export function specJson(spec: Spec): string {
  const infinity = JSON.rawJSON('18446744073709551615');
  return JSON.stringify(spec, (_, value: unknown) => (value === Number.POSITIVE_INFINITY ? infinity : value));
}
