/**
 * Where the file is that a worker thread or a helper process starts from. Sources run as they are: `src/layers/worker.ts`
 * for `layers/worker`. The bundle has every entry flat beside the others: `dist/layers-worker.js` (scripts/build.ts).
 */
export function entryUrl(name: `${string}/${string}`): URL {
  return import.meta.url.endsWith('.ts')
    ? new URL(`../${name}.ts`, import.meta.url)
    : new URL(`./${name.replace('/', '-')}.js`, import.meta.url);
}
