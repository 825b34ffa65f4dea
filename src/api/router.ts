import type { Socket } from 'node:net';
import { EngineError } from '../base/errors.ts';
import type { Reply } from './reply.ts';
import type { ApiRequest } from './request.ts';

export type Handler = (request: ApiRequest) => Reply | Promise<Reply>;
/** Takes the connection over. What the client sent after the head of its request is in `head`, and then on the socket. */
export type UpgradeHandler = (request: ApiRequest, socket: Socket, head: Buffer) => Promise<void>;

export interface Route {
  readonly method: string;
  /** `/containers/:id/json`; `*name` takes slashes too. */
  readonly pattern: string;
  readonly handle: Handler;
  readonly upgrade?: UpgradeHandler;
}

const route =
  (method: string) =>
  (pattern: string, handle: Handler, upgrade?: UpgradeHandler): Route => ({
    method,
    pattern,
    handle,
    ...(upgrade && { upgrade }),
  });

export const get = route('GET');
export const head = route('HEAD');
export const post = route('POST');
export const put = route('PUT');
export const del = route('DELETE');

interface Compiled {
  readonly route: Route;
  readonly regexp: RegExp;
  readonly names: readonly string[];
}

export interface Match {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

/** Finds the route by method, first and last segment of the path; the first that fits in the table's order wins. */
export class Router {
  readonly #table = new Map<string, Compiled[]>();

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const names: string[] = [];
      const source = route.pattern.replace(/\/([:*])(\w+)/g, (_, kind: string, name: string) => {
        names.push(name);
        // Clients ask for `/containers//web/json`: the name that the engine gives has a slash before it.
        return kind === '*' ? '/(.+)' : '/(/?[^/]+)';
      });
      const key = keyOf(route.method, route.pattern);
      const row = this.#table.get(key) ?? [];
      row.push({ route, regexp: new RegExp(`^${source}$`), names });
      this.#table.set(key, row);
    }
  }

  find(method: string, path: string): Match | undefined {
    const first = firstOf(path);
    return (
      match(this.#table.get(`${method} ${first} ${path.slice(path.lastIndexOf('/') + 1)}`), path) ??
      match(this.#table.get(`${method} ${first} *`), path)
    );
  }
}

function match(candidates: readonly Compiled[] | undefined, path: string): Match | undefined {
  if (!candidates) return undefined;
  for (const { route, regexp, names } of candidates) {
    const found = regexp.exec(path);
    if (!found) continue;
    const params: Record<string, string> = {};
    for (let i = 0; i < names.length; i++) params[names[i]!] = decode(found[i + 1]!);
    return { route, params };
  }
  return undefined;
}

function decode(part: string): string {
  if (!part.includes('%')) return part;
  try {
    return decodeURIComponent(part);
  } catch (error) {
    throw new EngineError('invalid', `invalid URL escape in ${JSON.stringify(part)}`, { cause: error });
  }
}

function keyOf(method: string, pattern: string): string {
  const last = pattern.slice(pattern.lastIndexOf('/') + 1);
  return `${method} ${firstOf(pattern)} ${/^[:*]/.test(last) ? '*' : last}`;
}

function firstOf(path: string): string {
  const slash = path.indexOf('/', 1);
  return slash < 0 ? path.slice(1) : path.slice(1, slash);
}
