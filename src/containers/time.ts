export const never = '0001-01-01T00:00:00Z';

/** Now, RFC 3339 in UTC with as many digits as the clock has. */
export function now(): string {
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1000);
  // A clock that was set since the start of the process wins over the steady one.
  const wall = Date.now();
  const at = Math.abs(micros / 1000 - wall) > 50 ? wall * 1000 : micros;
  const milliseconds = Math.floor(at / 1000);
  const text = new Date(milliseconds).toISOString();
  return `${text.slice(0, -1)}${String(at - milliseconds * 1000).padStart(3, '0')}000Z`;
}

/** Milliseconds since 1970 of an RFC 3339 time; 0 for never. */
export function millisecondsOf(time: string): number {
  if (time === never) return 0;
  return Date.parse(time.replace(/(\.\d{3})\d+/, '$1'));
}
