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

/** The commands of the docker CLI, and the endpoints that each cannot do without. */
const commands: readonly (readonly [command: string, needs: readonly string[]])[] = [
  ['attach', ['POST /containers/ID/attach', 'POST /containers/ID/wait']],
  ['build (classic)', ['POST /build']],
  ['builder prune', ['POST /build/prune']],
  ['buildx', ['POST /grpc', 'POST /session']],
  ['commit', ['POST /commit']],
  ['container prune', ['POST /containers/prune']],
  ['cp', ['HEAD /containers/ID/archive', 'GET /containers/ID/archive', 'PUT /containers/ID/archive']],
  ['create', ['POST /containers/create']],
  ['diff', ['GET /containers/ID/changes']],
  ['events', ['GET /events']],
  ['exec', ['POST /containers/ID/exec', 'POST /exec/ID/start', 'GET /exec/ID/json']],
  ['export', ['GET /containers/ID/export']],
  ['history', ['GET /images/NAME/history']],
  ['image prune', ['POST /images/prune']],
  ['images', ['GET /images/json']],
  ['import', ['POST /images/create']],
  ['info', ['GET /info']],
  ['inspect', ['GET /containers/ID/json', 'GET /images/NAME/json', 'GET /networks/ID', 'GET /volumes/NAME']],
  ['kill', ['POST /containers/ID/kill']],
  ['load', ['POST /images/load']],
  ['login', ['POST /auth']],
  ['logs', ['GET /containers/ID/logs']],
  ['manifest inspect', ['GET /distribution/NAME/json']],
  ['network connect, disconnect', ['POST /networks/ID/connect', 'POST /networks/ID/disconnect']],
  ['network create, rm', ['POST /networks/create', 'DELETE /networks/ID']],
  ['network ls, inspect', ['GET /networks', 'GET /networks/ID']],
  ['network prune', ['POST /networks/prune']],
  ['pause, unpause', ['POST /containers/ID/pause', 'POST /containers/ID/unpause']],
  ['plugin ls', ['GET /plugins']],
  ['plugin install', ['POST /plugins/pull']],
  ['port', ['GET /containers/ID/json']],
  ['ps', ['GET /containers/json']],
  ['pull', ['POST /images/create']],
  ['push', ['POST /images/NAME/push']],
  ['rename', ['POST /containers/ID/rename']],
  ['restart', ['POST /containers/ID/restart']],
  ['rm', ['DELETE /containers/ID']],
  ['rmi', ['DELETE /images/NAME']],
  ['run', ['POST /containers/create', 'POST /containers/ID/attach', 'POST /containers/ID/start']],
  ['save', ['GET /images/get']],
  ['search', ['GET /images/search']],
  ['start, stop', ['POST /containers/ID/start', 'POST /containers/ID/stop']],
  ['stats', ['GET /containers/ID/stats']],
  ['swarm, node, service, stack, secret, config', ['POST /swarm/init']],
  ['system df', ['GET /system/df']],
  ['system prune', ['POST /containers/prune', 'POST /networks/prune', 'POST /images/prune', 'POST /build/prune']],
  ['tag', ['POST /images/NAME/tag']],
  ['top', ['GET /containers/ID/top']],
  ['update', ['POST /containers/ID/update']],
  ['version', ['GET /version']],
  ['volume create, rm', ['POST /volumes/create', 'DELETE /volumes/NAME']],
  ['volume ls, inspect', ['GET /volumes', 'GET /volumes/NAME']],
  ['volume prune', ['POST /volumes/prune']],
  ['wait', ['POST /containers/ID/wait']],
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

/** docs/compatibility.md, from the table of routes. `node scripts/compatibility-docs.ts` writes it; test/docs.test.ts holds it. */
export function compatibilityDocs(): string {
  const states = new Map(Object.values(endpoints).flatMap((all) => all.map((one) => [one, stateOf(one)] as const)));
  const isBuilt = (endpoint: string) => {
    const state = states.get(endpoint);
    if (state === undefined) throw new Error(`${endpoint} is in no list`);
    return state === 'yes' || endpoint === 'GET /plugins';
  };
  const rows = commands.map(([command, needs]) => {
    const missing = needs.filter((endpoint) => !isBuilt(endpoint));
    return `| \`docker ${command}\` | ${missing.length === 0 ? 'yes' : `not yet: ${missing.map((one) => `\`${one}\``).join(', ')}`} |`;
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

| command | works |
| --- | --- |
${rows.join('\n')}

## Endpoints of the Engine API 1.51

${tables.join('\n')}`;
}

if (import.meta.main) writeFileSync(new URL('../docs/compatibility.md', import.meta.url), compatibilityDocs());
