import { readFileSync } from 'node:fs';
import type { Versions } from '../api/system.ts';

/** Put in by the bundler (scripts/build.ts); sources that run as they are have no build. */
declare const BERTH_BUILD: { readonly version: string; readonly commit: string; readonly built: string } | undefined;

const build =
  typeof BERTH_BUILD === 'undefined'
    ? { version: packageVersion(), commit: 'source', built: '1970-01-01T00:00:00Z' }
    : BERTH_BUILD;

function packageVersion(): string {
  const parsed: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return typeof parsed === 'object' && parsed !== null && 'version' in parsed ? String(parsed.version) : '0.0.0';
}

/** Clients compare the engine's version with Docker's releases: they are told the one whose API this is. */
export const versions: Versions = { berth: build.version, engine: '28.5.2', commit: build.commit, built: build.built };
