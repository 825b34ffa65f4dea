import type { LibraryHandle } from 'koffi';
import { libc } from './libc.ts';

let native: ReturnType<LibraryHandle['func']> | undefined;

/**
 * malloc_trim(3): what the C library keeps of freed memory, in the arenas of all threads, goes back to the kernel. On a
 * thread of the pool, because it takes milliseconds.
 */
export function trimMalloc(): Promise<void> {
  native ??= libc().func('int malloc_trim(size_t)');
  return new Promise((resolve, reject) => {
    native!.async(0, (error: Error | null) => (error ? reject(error) : resolve()));
  });
}
