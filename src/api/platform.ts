import { EngineError } from '../base/errors.ts';
import { type Platform, parsePlatform } from '../oci/platform.ts';
import type { ApiRequest } from './request.ts';

/** The `platform` of a query: `linux/arm64` when pulling and importing, JSON (`{"os":..}`) elsewhere; both everywhere here. */
export function readPlatform({ query }: ApiRequest): Platform | undefined {
  const text = query.get('platform') ?? '';
  if (text === '') return undefined;
  const platform = text.startsWith('{') ? fromJson(text) : parsePlatform(text);
  if (!platform) throw new EngineError('invalid', `"${text}": cannot parse platform specifier: invalid argument`);
  return platform;
}

function fromJson(text: string): Platform | undefined {
  try {
    const { os, architecture, variant } = JSON.parse(text) as Record<string, unknown>;
    if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
    return parsePlatform([os, architecture, typeof variant === 'string' ? variant : ''].filter(Boolean).join('/'));
  } catch {
    return undefined;
  }
}
