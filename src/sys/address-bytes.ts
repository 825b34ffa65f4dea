import { isIPv6 } from 'node:net';

/** The bytes of an address of either family: 4 or 16. */
export function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const words = (part: string) => part.split(':').filter(Boolean);
  const after = tail === undefined ? [] : words(tail);
  const before = words(head);
  const gap = Array<string>(8 - before.length - after.length).fill('0');
  const out = Buffer.alloc(16);
  for (const [at, word] of [...before, ...gap, ...after].entries())
    out.writeUInt16BE(Number.parseInt(word, 16), at * 2);
  return out;
}
