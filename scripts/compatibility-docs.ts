import { writeFileSync } from 'node:fs';
import { Router } from '../src/api/router.ts';
import { type RouteDeps, routesOf } from '../src/api/routes/all.ts';
import { EngineError } from '../src/base/errors.ts';

/** Every endpoint of the Engine API 1.51, by the part of the system that it belongs to. */
const endpoints: Readonly<Record<string, readonly string[]>> = {
  System: [
    'HEAD /_ping',
    'GET /_ping',
    'GET /version',
    'GET /info',
    'POST /auth',
    'GET /events',
    'GET /system/df',
    'GET /distribution/NAME/json',
    'POST /session',
    'POST /grpc',
  ],
  Containers: [
    'GET /containers/json',
    'POST /containers/create',
    'GET /containers/ID/json',
    'GET /containers/ID/top',
    'GET /containers/ID/logs',
    'GET /containers/ID/changes',
    'GET /containers/ID/export',
    'GET /containers/ID/stats',
    'POST /containers/ID/resize',
    'POST /containers/ID/start',
    'POST /containers/ID/stop',
    'POST /containers/ID/restart',
    'POST /containers/ID/kill',
    'POST /containers/ID/update',
    'POST /containers/ID/rename',
    'POST /containers/ID/pause',
    'POST /containers/ID/unpause',
    'POST /containers/ID/attach',
    'GET /containers/ID/attach/ws',
    'POST /containers/ID/wait',
    'DELETE /containers/ID',
    'HEAD /containers/ID/archive',
    'GET /containers/ID/archive',
    'PUT /containers/ID/archive',
    'POST /containers/prune',
    'POST /commit',
    'POST /containers/ID/exec',
    'POST /exec/ID/start',
    'POST /exec/ID/resize',
    'GET /exec/ID/json',
    'GET /containers/ID/checkpoints',
    'POST /containers/ID/checkpoints',
    'DELETE /containers/ID/checkpoints/NAME',
  ],
  Images: [
    'GET /images/json',
    'POST /images/create',
    'GET /images/NAME/json',
    'GET /images/NAME/history',
    'POST /images/NAME/push',
    'POST /images/NAME/tag',
    'DELETE /images/NAME',
    'GET /images/search',
    'POST /images/prune',
    'GET /images/NAME/get',
    'GET /images/get',
    'POST /images/load',
    'POST /build',
    'POST /build/prune',
    'POST /build/cancel',
  ],
  Networks: [
    'GET /networks',
    'GET /networks/ID',
    'DELETE /networks/ID',
    'POST /networks/create',
    'POST /networks/ID/connect',
    'POST /networks/ID/disconnect',
    'POST /networks/prune',
  ],
  Volumes: [
    'GET /volumes',
    'POST /volumes/create',
    'GET /volumes/NAME',
    'PUT /volumes/NAME',
    'DELETE /volumes/NAME',
    'POST /volumes/prune',
  ],
  Plugins: [
    'GET /plugins',
    'GET /plugins/privileges',
    'POST /plugins/pull',
    'GET /plugins/NAME/json',
    'DELETE /plugins/NAME',
    'POST /plugins/NAME/enable',
    'POST /plugins/NAME/disable',
    'POST /plugins/NAME/upgrade',
    'POST /plugins/create',
    'POST /plugins/NAME/push',
    'POST /plugins/NAME/set',
  ],
  Swarm: [
    'GET /swarm',
    'POST /swarm/init',
    'POST /swarm/join',
    'POST /swarm/leave',
    'POST /swarm/update',
    'GET /swarm/unlockkey',
    'POST /swarm/unlock',
    'GET /nodes',
    'GET /services',
    'POST /services/create',
    'GET /tasks',
    'GET /secrets',
    'GET /configs',
  ],
};

/** The commands of the docker CLI, the endpoints that each cannot do without, and the test in test/compat that holds it. */
export const commands: readonly (readonly [command: string, needs: readonly string[], heldBy?: string])[] = [
  [
    'attach',
    ['POST /containers/ID/attach', 'POST /containers/ID/wait'],
    'lifecycle: attach with stdin reaches the program',
  ],
  ['build (classic)', ['POST /build']],
  ['builder prune', ['POST /build/prune'], 'portainer: what is built with nothing is pruned of nothing'],
  ['buildx', ['POST /grpc', 'POST /session']],
  ['commit', ['POST /commit'], 'commit: commit makes an image that runs, and commits of it too'],
  [
    'container prune',
    ['POST /containers/prune'],
    'prune: containers: those that do not run, by label and age, with what their layers took',
  ],
  [
    'cp',
    ['HEAD /containers/ID/archive', 'GET /containers/ID/archive', 'PUT /containers/ID/archive'],
    'cp: files and directories go in and come back as they were',
  ],
  ['create', ['POST /containers/create'], 'lifecycle: create, start, stop, start again, restart, kill, rm'],
  ['diff', ['GET /containers/ID/changes'], 'commit: diff lists what was changed, and not what the engine put there'],
  ['events', ['GET /events'], 'behaviours: events: filters and formats'],
  [
    'exec',
    ['POST /containers/ID/exec', 'POST /exec/ID/start', 'GET /exec/ID/json'],
    'lifecycle: exec: output, exit code, env, user, workdir, stdin, detached, missing program',
  ],
  [
    'export',
    ['GET /containers/ID/export'],
    'commit: export takes all files but what is mounted, of a running and of a stopped container',
  ],
  ['history', ['GET /images/NAME/history'], 'shapes: history'],
  [
    'image prune',
    ['POST /images/prune'],
    'images-out: image prune: what has no name; with -a what no container uses; by label and age',
  ],
  ['images', ['GET /images/json'], 'images: images: by name and pattern, and all filters'],
  ['import', ['POST /images/create'], 'images-out: import: the file system runs, with what the changes say'],
  ['info', ['GET /info'], 'shapes: info'],
  [
    'inspect',
    ['GET /containers/ID/json', 'GET /images/NAME/json', 'GET /networks/ID', 'GET /volumes/NAME'],
    'api-shapes: inspect and list of a container',
  ],
  [
    'kill',
    ['POST /containers/ID/kill'],
    'behaviours: wait for several, kill by names and numbers, rm -f of what is paused or was never started',
  ],
  [
    'load',
    ['POST /images/load'],
    'images-out: save and load: the same image under the same names, from a file and through a pipe',
  ],
  ['login, logout', ['POST /auth'], 'images-out: login, push, logout at a registry that asks for a password'],
  ['logs', ['GET /containers/ID/logs'], 'lifecycle: logs: tail, timestamps, since, until, follow to the end'],
  [
    'manifest inspect',
    ['GET /distribution/NAME/json'],
    'images-out: what a registry has under a name: digest, size, platforms',
  ],
  [
    'network connect, disconnect',
    ['POST /networks/ID/connect', 'POST /networks/ID/disconnect'],
    'networks: connect and disconnect while it runs, and before and after',
  ],
  [
    'network create, rm',
    ['POST /networks/create', 'DELETE /networks/ID'],
    'networks: create, ls, inspect, rm: what was asked for is there, and what was not is chosen',
  ],
  [
    'network ls, inspect',
    ['GET /networks', 'GET /networks/ID'],
    'networks: create, ls, inspect, rm: what was asked for is there, and what was not is chosen',
  ],
  ['network prune', ['POST /networks/prune'], 'networks: events, and what a prune takes'],
  [
    'pause, unpause',
    ['POST /containers/ID/pause', 'POST /containers/ID/unpause'],
    'lifecycle: pause and unpause, with the errors in between',
  ],
  ['plugin ls', ['GET /plugins'], 'flags: programs'],
  ['plugin install', ['POST /plugins/pull']],
  ['port', ['GET /containers/ID/json'], 'lifecycle: rename, top, port'],
  ['ps', ['GET /containers/json'], 'lifecycle: ps: filters, formats, sizes, order'],
  [
    'pull',
    ['POST /images/create'],
    'images: pull says what it does and what came; again, that nothing did; -q only the name',
  ],
  ['push', ['POST /images/NAME/push'], 'images-out: push: what it says, again, quiet, all tags; the registry has it'],
  ['rename', ['POST /containers/ID/rename'], 'lifecycle: rename, top, port'],
  ['restart', ['POST /containers/ID/restart'], 'lifecycle: create, start, stop, start again, restart, kill, rm'],
  [
    'rm',
    ['DELETE /containers/ID'],
    'lifecycle: --rm removes the container and its anonymous volumes; rm -v too; rm without -v keeps them',
  ],
  ['rmi', ['DELETE /images/NAME'], 'images: rmi: a name goes, the image with its last one'],
  [
    'run',
    ['POST /containers/create', 'POST /containers/ID/attach', 'POST /containers/ID/start'],
    'run: prints what the program prints, on both streams, and ends with its exit code',
  ],
  [
    'save',
    ['GET /images/get'],
    'images-out: save and load: the same image under the same names, from a file and through a pipe',
  ],
  [
    'search',
    ['GET /images/search'],
    'images-out: search at a registry that has it: the table, limits, filters, and what is refused',
  ],
  [
    'start, stop',
    ['POST /containers/ID/start', 'POST /containers/ID/stop'],
    'lifecycle: stop kills after the timeout; --stop-signal is sent first',
  ],
  ['stats', ['GET /containers/ID/stats'], 'stats: docker stats, once and going on'],
  ['swarm, node, service, stack, secret, config', ['POST /swarm/init']],
  ['system df', ['GET /system/df'], 'images-out: system df: parts by type, what is in use, columns of -v'],
  [
    'system prune',
    ['POST /containers/prune', 'POST /networks/prune', 'POST /images/prune', 'POST /build/prune'],
    'portainer: what is built with nothing is pruned of nothing',
  ],
  ['tag', ['POST /images/NAME/tag'], 'images: tag: names, moved names, bad names'],
  ['top', ['GET /containers/ID/top'], 'lifecycle: rename, top, port'],
  [
    'update',
    ['POST /containers/ID/update'],
    'update: limits of a running container change at once, and are there after a restart',
  ],
  ['version', ['GET /version'], 'shapes: version'],
  ['volume create, rm', ['POST /volumes/create', 'DELETE /volumes/NAME'], 'volumes: labels and filters'],
  ['volume ls, inspect', ['GET /volumes', 'GET /volumes/NAME'], 'volumes: labels and filters'],
  ['volume prune', ['POST /volumes/prune'], 'prune: volumes: anonymous ones, all when asked, never those in use'],
  [
    'wait',
    ['POST /containers/ID/wait'],
    'lifecycle: wait gives the code of the next exit; start -a and attach show the output',
  ],
];

type State = 'yes' | 'not yet' | 'as without a swarm' | 'as without managed plugins';

/** Rooms in which everything is there and nothing happens. */
const anything: unknown = new Proxy(() => anything, { get: (_, key) => (key === 'then' ? undefined : anything) });

const router = new Router(routesOf(anything as RouteDeps));

/**
 * What the engine's own table of routes does with an endpoint. What is not built throws at once, whatever the rooms say;
 * what is built meets rooms that know nothing, and how it fails there does not matter.
 */
function stateOf(endpoint: string): State {
  const [method, path] = endpoint.split(' ') as [string, string];
  const found = router.find(method, path);
  if (!found) return 'not yet';
  try {
    const answer = found.route.handle({ params: found.params, query: new URLSearchParams() } as never);
    if (answer instanceof Promise) answer.catch(() => {});
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'unsupported') return 'not yet';
    if (error instanceof EngineError && error.kind === 'unavailable') return 'as without a swarm';
    if (path.startsWith('/plugins/')) return 'as without managed plugins';
  }
  return 'yes';
}

/** What only our own CLI has, and the test that holds it: a file below the project, and what the test is called. */
export const ownCommands: readonly (readonly [command: string, heldBy: string])[] = [
  ['quickstart', 'test/vm/systemd.test.ts: a page is served while systemd stops and starts the engine'],
  ['ports', 'test/system/cli-ports.test.ts: each published port, its container, and who can reach it by which address'],
  ['why', 'test/system/cli-why.test.ts: one that ended by itself: exit code, last output, events, advice'],
  [
    'debug',
    'test/system/cli-debug.test.ts: a shell of another image in the processes and the network of the target, with its files',
  ],
  ['inspect --as run|compose', 'test/system/cli-recreate.test.ts: what is no container, or no form, is refused'],
  [
    'exec ls, exec kill',
    'test/system/cli-exec.test.ts: --keep and --detach leave it running; exec ls shows it, exec kill ends it with what it started',
  ],
  ['df', 'test/system/cli-df.test.ts: its rooms add up to what du says, and know what is in which'],
  ['prune', 'test/system/cli-upkeep.test.ts: prune shows what it will remove, asks, and removes that and nothing else'],
  ['ps', 'test/system/cli-verbs.test.ts: ps says how long a stop waits, and that its first process ignores the signal'],
  [
    'logs, of what was removed',
    'test/system/removed-logs.test.ts: are shown by logs and why, with the last of a name first; docker does not see them',
  ],
  [
    'run --on-unhealthy',
    'test/system/cli-unhealthy.test.ts: restart: it is started again until it is well, without a restart policy',
  ],
  ['adopt', 'src/adopt/plan.test.ts: a plan names what is taken and its size, a layer of two images once'],
  [
    'engine',
    'test/system/cli.test.ts: engine start, status, stop and a second start, with settings from the environment and flags',
  ],
  ['doctor', 'test/system/cli.test.ts: version and doctor'],
  [
    'completion',
    'test/system/cli-completion.test.ts: bash: commands, flags, names; an image behind its colon as readline wants it',
  ],
  [
    '-H ssh://user@host',
    'test/system/ssh.test.ts: berth -H and BERTH_HOST reach it, with what is said on both outputs and the exit code',
  ],
  [
    '--json',
    'test/system/cli-verbs.test.ts: --json gives one JSON value on stdout, and errors with codes as JSON on stderr',
  ],
];

/** docs/compatibility.md, from the table of routes. `node scripts/compatibility-docs.ts` writes it; test/docs.test.ts holds it. */
export function compatibilityDocs(): string {
  const states = new Map(Object.values(endpoints).flatMap((all) => all.map((one) => [one, stateOf(one)] as const)));
  const isBuilt = (endpoint: string) => {
    const state = states.get(endpoint);
    if (state === undefined) throw new Error(`${endpoint} is in no list`);
    return state === 'yes' || endpoint === 'GET /plugins';
  };
  const rows = commands.map(([command, needs, heldBy = '']) => {
    const missing = needs.filter((endpoint) => !isBuilt(endpoint));
    if ((missing.length === 0) !== (heldBy !== '')) throw new Error(`docker ${command}: what works is held by a test`);
    const works = missing.length === 0 ? 'yes' : `not yet: ${missing.map((one) => `\`${one}\``).join(', ')}`;
    const at = heldBy.indexOf(': ');
    return `| \`docker ${command}\` | ${works} | ${heldBy && `\`${heldBy.slice(0, at)}\`: ${heldBy.slice(at + 2)}`} |`;
  });
  const own = ownCommands.map(([command, heldBy]) => {
    const at = heldBy.indexOf(': ');
    return `| \`berth ${command.replace('|', '\\|')}\` | yes | \`${heldBy.slice(0, at)}\`: ${heldBy.slice(at + 2)} |`;
  });
  const tables = Object.entries(endpoints).map(
    ([title, all]) =>
      `### ${title}\n\n| endpoint | answers |\n| --- | --- |\n${all.map((one) => `| \`${one}\` | ${states.get(one)} |`).join('\n')}\n`,
  );
  return `# Compatibility

Written from the engine's own table of routes by \`node scripts/compatibility-docs.ts\`, and held by a test. What "yes" means in
detail is what \`test/compat/\` asks of this engine and of Docker alike; what differs on purpose stands in [differences.md](differences.md).
"Not yet" answers 501 with a plain message.

## Commands of the docker CLI

The last column names a test of \`test/compat/\` that holds the command: its file, and what the test is called.

| command | works | held by |
| --- | --- | --- |
${rows.join('\n')}

## Commands of our own CLI

\`berth\` has docker's verbs for one host with docker's flags (\`test/system/cli-flags.test.ts\`); this is what it has besides, or in
its own way ([cli.md](cli.md)).

| command | works | held by |
| --- | --- | --- |
${own.join('\n')}

## Endpoints of the Engine API 1.51

${tables.join('\n')}`;
}

if (import.meta.main) writeFileSync(new URL('../docs/compatibility.md', import.meta.url), compatibilityDocs());
