import { isErrorCode } from '../base/error-codes.ts';
import { EngineError, type ErrorKind } from '../base/errors.ts';
import type { EngineClient } from '../client/client.ts';
import { authHeader } from './credentials.ts';
import { humanBytes, paint, plain } from './terminal.ts';

/** The last line of a progress stream that failed. */
export interface FailureLine {
  readonly error?: string;
  readonly errorDetail?: { readonly message?: string };
  readonly errorCode?: string;
}

/** What the engine said in it, with its advice and its code. */
export function failedLine(kind: ErrorKind, { error = '', errorDetail, errorCode: code }: FailureLine): EngineError {
  return new EngineError(kind, errorDetail?.message ?? error, isErrorCode(code) ? { code } : {});
}

interface Line extends FailureLine {
  readonly status?: string;
  readonly id?: string;
  readonly stream?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

export interface Pulled {
  readonly image: string;
  /** What is here already was not fetched. */
  readonly upToDate: boolean;
  readonly layers: number;
  readonly seconds: number;
}

export interface PullOptions {
  readonly platform?: string | undefined;
  /** Says nothing. */
  readonly quiet?: boolean;
  /** Every tag of the repository. */
  readonly allTags?: boolean;
}

/** Pulls and shows one line that moves: bytes, rate, layers. Where nobody watches, only the end. */
export async function pullImage(
  client: EngineClient,
  name: string,
  { platform, quiet = false, allTags = false }: PullOptions = {},
): Promise<Pulled> {
  const from = performance.now();
  const layers = new Map<string, { current: number; total: number; done: boolean }>();
  let last = '';
  let shown = 0;
  const live = process.stderr.isTTY === true && !quiet;
  const [image, tag] = allTags ? [name, undefined] : splitTag(name);
  for await (const line of client.stream<Line>('POST', '/images/create', {
    query: { fromImage: image, tag, platform },
    headers: await authHeader(image),
  })) {
    if (line.error) {
      if (live) process.stderr.write('\r\x1b[K');
      throw failedLine('unavailable', line);
    }
    last = line.status ?? last;
    if (line.id && line.status) {
      const layer = layers.get(line.id) ?? { current: 0, total: 0, done: false };
      if (line.status === 'Downloading') Object.assign(layer, line.progressDetail);
      if (/^(Pull complete|Already exists)/.test(line.status)) layer.done = true;
      if (!line.status.startsWith('Pulling from')) layers.set(line.id, layer);
    }
    if (!live || performance.now() - shown < 80) continue;
    shown = performance.now();
    const all = [...layers.values()];
    const bytes = all.reduce((sum, { current }) => sum + current, 0);
    process.stderr.write(
      `\r\x1b[K↓ ${plain(name)}  ${humanBytes(bytes)}  ${humanBytes(bytes / ((shown - from) / 1000))}/s  ${all.filter(({ done }) => done).length}/${all.length} layers`,
    );
  }
  const seconds = (performance.now() - from) / 1000;
  const upToDate = /up to date/.test(last);
  if (live) process.stderr.write('\r\x1b[K');
  if (!quiet)
    process.stderr.write(
      `${paint('green', '✓', process.stderr)} ${plain(name)} ${upToDate ? 'is up to date' : 'pulled'}  ${layers.size} layers in ${seconds.toFixed(1)} s\n`,
    );
  return { image: name, upToDate, layers: layers.size, seconds };
}

/** `name:tag` or `name@digest` taken apart, with `latest` where there is neither: the API would pull every tag. */
export function splitTag(name: string): readonly [string, string] {
  const at = name.indexOf('@');
  if (at >= 0) return [name.slice(0, at), name.slice(at + 1)];
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? [name.slice(0, colon), name.slice(colon + 1)] : [name, 'latest'];
}
