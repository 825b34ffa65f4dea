import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError } from '../../base/errors.ts';
import { EngineClient, ResponseError } from '../../client/client.ts';
import { assembleWelcome, welcomeName } from '../../images/embedded.ts';
import type { Command } from '../command.ts';
import { engineConfig, engineOptions } from '../engine-config.ts';
import { engineStatus, startInBackground } from '../engine-process.ts';
import { type FailureLine, failedLine } from '../pull-progress.ts';
import { paint, plain, printJson } from '../terminal.ts';

const containerName = 'welcome';
const wantedPort = 8080;

/** From nothing to a page served by a container. What is there already is kept, so a second run is over at once. */
export const quickstart: Command = {
  usage: 'quickstart [OPTIONS]',
  about:
    'Installs what is missing, starts the engine, makes an image from Debian packages without any registry, runs it with a\npublished port, and fetches its page.',
  options: { ...engineOptions, json: { about: 'where the page is, as JSON; the steps go to stderr' } },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const began = performance.now();
    const config = engineConfig(parsed);
    const before = engineStatus(config);
    if (!before.running && process.getuid?.() !== 0)
      throw new EngineError('forbidden', 'starting the engine needs root', { hint: 'sudo ./berth quickstart' });
    await step(before.running ? `engine runs (pid ${before.pid})` : 'engine started', () =>
      startInBackground(config, parsed.value('config')),
    );
    await using client = new EngineClient({ socket: engineStatus(config).socket });
    await image(client);
    const port = await container(client);
    const page = await step(`page fetched from http://localhost:${port}`, () => fetchPage(port));
    const title = /<title>([^<]*)<\/title>/.exec(page)?.[1] ?? '';
    const seconds = (performance.now() - began) / 1000;
    if (parsed.flag('json')) {
      printJson({ url: `http://localhost:${port}`, title, bytes: page.length, seconds, socket: config.socket });
      return 0;
    }
    process.stdout.write(
      `\n  ${paint('bold', plain(title))}: ${page.length} bytes, served by a container, ${seconds.toFixed(1)} s after the start\n`,
    );
    process.stdout.write(next(config.socket, port));
    return 0;
  },
};

/** A line for each step, with the time it took. */
async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const from = performance.now();
  if (process.stderr.isTTY) process.stderr.write(`  … ${what}`);
  try {
    const result = await work();
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    process.stderr.write(
      `  ${paint('green', '✓', process.stderr)} ${what.padEnd(58)} ${((performance.now() - from) / 1000).toFixed(1).padStart(5)} s\n`,
    );
    return result;
  } catch (error) {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    process.stderr.write(`  ${paint('red', '✗', process.stderr)} ${what}\n`);
    throw error;
  }
}

async function image(client: EngineClient): Promise<void> {
  const [name] = welcomeName.split(':');
  if (await exists(client, `/images/${welcomeName}/json`)) {
    process.stderr.write(`  ${paint('green', '✓', process.stderr)} image ${name} is here\n`);
    return;
  }
  const workDir = await mkdtemp(join(tmpdir(), 'berth-quickstart-'));
  try {
    const { path } = await step(`image ${name} assembled from Debian packages`, () => assembleWelcome({ workDir }));
    await step('image loaded into the engine', async () => {
      for await (const line of client.stream<FailureLine>('POST', '/images/load', {
        query: { quiet: 1 },
        body: createReadStream(path),
        contentType: 'application/x-tar',
      })) {
        if (line.error) throw failedLine('invalid', line);
      }
    });
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

interface Inspected {
  readonly State: { readonly Running: boolean };
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, readonly { readonly HostPort: string }[] | null>>;
  };
}

/** The container's port on this host: of the one that runs, or of one that is started now. */
async function container(client: EngineClient): Promise<number> {
  const there = await inspect(client);
  if (there && portOf(there)) {
    process.stderr.write(`  ${paint('green', '✓', process.stderr)} container ${containerName} runs\n`);
    return portOf(there)!;
  }
  if (there) await client.json('DELETE', `/containers/${containerName}`, { query: { force: 1 } });
  const port = (await isFree(wantedPort)) ? String(wantedPort) : '';
  return await step(`container ${containerName} started, port published on this machine`, async () => {
    await client.json('POST', '/containers/create', {
      query: { name: containerName },
      json: {
        Image: welcomeName,
        ExposedPorts: { '80/tcp': {} },
        HostConfig: {
          PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: port }] },
          PidsLimit: 256,
          CapDrop: ['NET_RAW'],
          SecurityOpt: ['no-new-privileges'],
        },
      },
    });
    try {
      await client.json('POST', `/containers/${containerName}/start`);
    } catch (error) {
      await client.json('DELETE', `/containers/${containerName}`, { query: { force: 1 } }).catch(() => {});
      throw error;
    }
    const started = await inspect(client);
    const published = started && portOf(started);
    if (!published)
      throw new EngineError('unavailable', `the container ${containerName} ended at once`, {
        hint: `berth logs ${containerName}`,
      });
    return published;
  });
}

async function inspect(client: EngineClient): Promise<Inspected | undefined> {
  try {
    return await client.json<Inspected>('GET', `/containers/${containerName}/json`);
  } catch (error) {
    if (error instanceof ResponseError && error.status === 404) return undefined;
    throw error;
  }
}

function portOf({ State, NetworkSettings }: Inspected): number | undefined {
  const port = NetworkSettings.Ports['80/tcp']?.[0]?.HostPort;
  return State.Running && port ? Number(port) : undefined;
}

async function exists(client: EngineClient, path: string): Promise<boolean> {
  try {
    await client.json('GET', path);
    return true;
  } catch (error) {
    if (error instanceof ResponseError && error.status === 404) return false;
    throw error;
  }
}

/** Whether nobody listens there yet; somebody may before we do, and then the engine says who. */
function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '0.0.0.0', () => server.close(() => resolve(true)));
  });
}

/** The page, as soon as the program in the container listens. */
async function fetchPage(port: number): Promise<string> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      return await request(port);
    } catch (error) {
      if (Date.now() > deadline)
        throw new EngineError('unavailable', `nothing answers on http://localhost:${port}`, {
          cause: error,
          hint: `berth logs ${containerName}; berth doctor`,
        });
      await sleep(20);
    }
  }
}

function request(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = get({ host: '127.0.0.1', port, path: '/', timeout: 2000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200
          ? resolve(Buffer.concat(chunks).toString())
          : reject(new Error(`status ${response.statusCode}`)),
      );
    });
    asked.on('error', reject);
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
  });
}

function next(socket: string, port: number): string {
  return `
  What to try next
    open http://localhost:${port} in a browser
    ./berth ps                          what runs
    ./berth logs -f ${containerName}             what it says
    ./berth run -it --rm berth/welcome sh

  Your docker commands, unchanged
    export DOCKER_HOST=unix://${socket}
    docker ps
  or for good
    docker context create berth --docker host=unix://${socket} && docker context use berth

  Stop it all: ./berth rm -f ${containerName} && ./berth engine stop
`;
}
