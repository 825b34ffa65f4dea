import { rmSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { forwardTcp, forwardUdp } from './forward.ts';
import { type HelperAnswer, type HelperRequest, helperVersion, type Reservation } from './helper-protocol.ts';
import type { NameServer } from './name-server.ts';
import type { PublishedPort } from './networks.ts';

/**
 * The network helper: one process a host, started by the engine with the first published port or network with names. It
 * holds the ports, so that no other process can take them while the engine is away, carries what the kernel cannot
 * translate, and is the name server of containers.
 * It ends when it holds nothing and no engine is connected. Imports are few on purpose: its memory counts.
 */
const socketPath = process.argv[2] ?? '';
const lingerMs = Number(process.argv[3] ?? 5_000);

interface Held {
  readonly target: string;
  readonly closers: Map<string, () => Promise<void>>;
}

const held = new Map<string, Held>();
/** Loaded with the first name. */
let names: NameServer | undefined;
const engines = new Set<Socket>();
let queue: Promise<void> = Promise.resolve();

const keyOf = ({ protocol, hostAddress, hostPort, port }: PublishedPort) =>
  `${protocol} ${hostAddress} ${hostPort} ${port}`;

async function set({ owner, target, ports }: Reservation): Promise<void> {
  const before = held.get(owner);
  if (before && before.target !== target) await release(owner);
  const entry = held.get(owner) ?? { target, closers: new Map<string, () => Promise<void>>() };
  const added: string[] = [];
  for (const port of ports) {
    const key = keyOf(port);
    if (entry.closers.has(key) || port.protocol === 'sctp') continue;
    const forward = port.protocol === 'tcp' ? forwardTcp : forwardUdp;
    try {
      entry.closers.set(key, await forward({ ...port, target }));
      added.push(key);
    } catch (error) {
      await close(entry, added);
      throw Object.assign(error instanceof Error ? error : new Error(String(error)), { port });
    }
  }
  const wanted = new Set(ports.map(keyOf));
  await close(
    entry,
    [...entry.closers.keys()].filter((key) => !wanted.has(key)),
  );
  held.set(owner, entry);
}

async function close(entry: Held, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    await entry.closers.get(key)?.();
    entry.closers.delete(key);
  }
}

async function release(owner: string): Promise<void> {
  const entry = held.get(owner);
  held.delete(owner);
  if (entry) await close(entry, [...entry.closers.keys()]);
}

async function carryOut(request: HelperRequest): Promise<HelperAnswer> {
  const { id } = request;
  try {
    if (request.op === 'set') await set(request);
    if (request.op === 'release') await release(request.owner);
    if (request.op === 'keep')
      for (const owner of [...held.keys()]) if (!request.owners.includes(owner)) await release(owner);
    if (request.op === 'names') {
      names ??= new (await import('./name-server.ts')).NameServer();
      await names.set(request, request.sockets);
    }
    if (request.op === 'forget-names') await names?.forget(request.owner);
    if (request.op === 'quit') setImmediate(end);
    if (request.op !== 'hello') return { id };
    return { id, version: helperVersion, pid: process.pid, owners: [...held.keys()], served: names?.owners ?? [] };
  } catch (error) {
    const { code = '', message = '', port } = error as { code?: string; message?: string; port?: PublishedPort };
    return { id, error: { code, message, port } };
  }
}

function serve(engine: Socket): void {
  engines.add(engine);
  let rest = '';
  engine.setEncoding('utf8');
  engine.on('data', (data: string) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const request: HelperRequest = JSON.parse(line);
      // One after the other: a release must be done before the next owner of the port asks for it.
      queue = queue.then(async () => {
        const answer = await carryOut(request);
        if (engine.writable) engine.write(`${JSON.stringify(answer)}\n`);
      });
    }
  });
  engine.on('error', () => {});
  engine.on('close', () => engines.delete(engine));
}

let idleSince = performance.now();
let inode: number | undefined;

function watch(): void {
  if (engines.size > 0) idleSince = performance.now();
  const idle = performance.now() - idleSince > lingerMs;
  // With its socket gone no engine can ever find it again.
  if (
    idle &&
    ((held.size === 0 && !names?.owners.length) || statSync(socketPath, { throwIfNoEntry: false })?.ino !== inode)
  )
    end();
}

function end(): void {
  if (statSync(socketPath, { throwIfNoEntry: false })?.ino === inode) rmSync(socketPath, { force: true });
  process.exit(0);
}

process.on('uncaughtException', (error) => process.stderr.write(`network helper: ${error.stack}\n`));
process.umask(0o177);
for (const signal of ['SIGHUP', 'SIGINT', 'SIGPIPE'] as const) process.on(signal, () => {});
process.on('SIGTERM', end);
const server = createServer(serve);
server.listen(socketPath, () => {
  inode = statSync(socketPath).ino;
  setInterval(watch, Math.min(lingerMs, 2_000));
});
server.on('error', (error) => {
  // Written to the log that the engine gave as standard error.
  process.stderr.write(`network helper: ${error.message}\n`);
  process.exit(1);
});
