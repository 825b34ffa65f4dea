import { closeSync, constants, openSync, statSync } from 'node:fs';
import { basename, dirname, posix, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { packPath } from '../archive/pack.ts';
import { unpackInto } from '../archive/unpack.ts';
import type { PathStat } from '../archive/view.ts';
import { EngineError } from '../base/errors.ts';
import { type EngineClient, ResponseError } from '../client/client.ts';

export interface CopyOptions {
  readonly container: string;
  readonly path: string;
  readonly owners: boolean;
  readonly follow: boolean;
}

const goDirectory = 2 ** 31;
const goLink = 2 ** 27;
const has = (mode: number, bit: number) => Math.floor(mode / bit) % 2 === 1;
const archiveOf = (container: string) => `/containers/${encodeURIComponent(container)}/archive`;
/** All that is in it, and not it itself. */
const isContents = (path: string) => /(^|\/)\.$/.test(path);
const wantsDirectory = (path: string) => path.endsWith('/') || isContents(path);

/** From a container to this machine. What the archive may bring is the one thing that was asked for (S04). */
export async function copyOut(
  client: EngineClient,
  { container, path, to, owners, follow }: CopyOptions & { to: string },
) {
  const asked = follow ? await followed(client, container, path) : path;
  using ending = { stop: new AbortController(), [Symbol.dispose]: () => ending.stop.abort() };
  const { signal } = ending.stop;
  const ask = async () => (await client.request('GET', archiveOf(container), { query: { path: asked }, signal })).body;
  if (to === '-') {
    for await (const piece of await ask()) if (!process.stdout.write(piece)) await drained();
    return;
  }
  const stat = await statOf(client, container, asked);
  const from = { isDirectory: has(stat.mode, goDirectory), contents: isContents(path) };
  const target = placeFor(from, {
    name: basename(path),
    to: resolve(to),
    isDirectory: statSync(to, { throwIfNoEntry: false })?.isDirectory(),
    wants: wantsDirectory(to),
    shown: to,
  });
  const owner = owners ? undefined : { uid: process.getuid!(), gid: process.getgid!() };
  const only = { from: rootNameOf(asked), to: target.name };
  using root = openRoot(target.directory);
  const unpacking = unpackInto(root.view, '/', { keepTypes: true, owner, only });
  try {
    unpacking.next();
    for await (const piece of await ask()) unpacking.next(piece);
    unpacking.next(undefined);
  } finally {
    unpacking.return();
  }
}

/** From this machine into a container. */
export async function copyIn(
  client: EngineClient,
  { from, container, path, owners, follow }: CopyOptions & { from: string },
) {
  const put = async (directory: string, body: Readable) => {
    const query = { path: directory, noOverwriteDirNonDir: 1, copyUIDGID: owners ? 1 : undefined };
    await client.json('PUT', archiveOf(container), { query, body, contentType: 'application/x-tar' });
  };
  if (from === '-') return await put(path, process.stdin);
  const local = statSync(from, { throwIfNoEntry: false });
  if (!local) throw new EngineError('not-found', `${from} is not there`, { code: 'E_NO_SUCH_FILE' });
  const there = await lookIn(client, container, path);
  const target = placeFor(
    { isDirectory: local.isDirectory(), contents: isContents(from) },
    { name: basename(resolve(from)), ...there, wants: wantsDirectory(path), shown: `${container}:${path}` },
  );
  using root = openRoot('/');
  const absolute = resolve(from) + (wantsDirectory(from) ? '/' : '');
  const tar = packPath(root.view, absolute, { as: target.name || '.', follow });
  await put(target.directory, Readable.from(piecesOf(tar)));
}

interface Target {
  readonly name: string;
  readonly to: string;
  /** Undefined when nothing is there. */
  readonly isDirectory: boolean | undefined;
  readonly wants: boolean;
  readonly shown: string;
}

/** Docker's rules of where a copy goes and what it is called there; '' is the directory itself. */
export function placeFor(
  from: { readonly isDirectory: boolean; readonly contents: boolean },
  { name, to, isDirectory, wants, shown }: Target,
): { readonly directory: string; readonly name: string } {
  if (isDirectory) return { directory: to, name: from.isDirectory && from.contents ? '' : name };
  if (isDirectory === false && (from.isDirectory || wants))
    throw new EngineError(
      'invalid',
      from.isDirectory ? 'cannot copy a directory onto a file' : `${shown} is no directory`,
    );
  if (wants && !from.isDirectory)
    throw new EngineError('not-found', `there is no directory ${shown}`, { code: 'E_NO_SUCH_FILE' });
  const bare = to.replace(/\/+\.?$/, '') || '/';
  return { directory: dirname(bare), name: basename(bare) };
}

/** Where a link in the container leads, and whether that is a directory; undefined when nothing is there. */
async function lookIn(client: EngineClient, container: string, path: string) {
  const link = await lookAt(client, container, path);
  const to = link && has(link.mode, goLink) ? link.linkTarget : path;
  const stat = to === path ? link : await lookAt(client, container, to);
  return { to, isDirectory: stat && has(stat.mode, goDirectory) };
}

async function followed(client: EngineClient, container: string, path: string): Promise<string> {
  const { mode, linkTarget } = await statOf(client, container, path);
  return has(mode, goLink) ? linkTarget : path;
}

async function statOf(client: EngineClient, container: string, path: string): Promise<PathStat> {
  const stat = await lookAt(client, container, path);
  if (stat) return stat;
  throw new EngineError('not-found', `Could not find the file ${path} in container ${container}`, {
    code: 'E_NO_SUCH_FILE',
  });
}

/** Undefined when the container has nothing there. */
async function lookAt(client: EngineClient, container: string, path: string): Promise<PathStat | undefined> {
  try {
    const { headers, body } = await client.request('HEAD', archiveOf(container), { query: { path } });
    for await (const _ of body);
    return statFrom(headers);
  } catch (error) {
    if (!(error instanceof ResponseError && error.status === 404)) throw error;
    // The answer to HEAD does not say what is not there: this does, when it is the container.
    await client.json('GET', `/containers/${encodeURIComponent(container)}/json`);
    return undefined;
  }
}

function statFrom(headers: ReadonlyMap<string, string>): PathStat {
  const text = headers.get('x-docker-container-path-stat');
  if (text === undefined) throw new EngineError('invalid', 'the engine did not say what is at that path');
  return JSON.parse(Buffer.from(text, 'base64').toString()) as PathStat;
}

/** What an engine calls the root of the archive. */
function rootNameOf(path: string): string {
  return isContents(path) ? '.' : posix.basename(posix.normalize(`/${path}`)) || '/';
}

function openRoot(directory: string) {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  return { view: { root: fd, readOnly: false, mounts: [] }, [Symbol.dispose]: () => closeSync(fd) };
}

function* piecesOf(steps: Iterable<PathStat | Buffer>): Generator<Buffer> {
  for (const step of steps) if (Buffer.isBuffer(step)) yield step;
}

function drained(): Promise<void> {
  return new Promise((done) => process.stdout.once('drain', () => done()));
}
