import type { Spec } from '../../oci/runtime-spec.ts';

/**
 * config.json. Numbers of 64 bits that a JavaScript number cannot hold are written in full: RLIM_INFINITY, which is
 * Infinity here.
 */
export function specJson(spec: Spec): string {
  // The mark cannot come from a user: JSON.stringify escapes the control character wherever else it stands in a text.
  const json = JSON.stringify(spec, (_, value: unknown) => (value === Number.POSITIVE_INFINITY ? mark : value));
  return json.replaceAll(JSON.stringify(mark), '18446744073709551615');
}

const mark = '\u0001RLIM_INFINITY';
