import { EngineError } from '../../base/errors.ts';
import type { Containers } from '../../containers/containers.ts';
import { noSwarmManager } from '../../networks/definition.ts';
import { json } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { del, get, post, put, type Route } from '../router.ts';

/** What clients know and this engine does not do yet: it says so, in words of its own or in Docker's where clients look for them. */
export function unbuiltRoutes({ containers }: { containers: Containers }): Route[] {
  const not = (what: string) => () => {
    throw new EngineError('unsupported', `Berth does not do ${what} yet`);
  };
  /** What is not there is told first: that is what programs ask for. */
  const notOf = (what: string) => (request: ApiRequest) => {
    containers.get(request.params['id']!);
    return not(what)();
  };
  const noSwarm = () => {
    throw new EngineError('unavailable', noSwarmManager);
  };
  const noPlugin = ({ params }: { params: Readonly<Record<string, string>> }) => {
    throw new EngineError('not-found', `plugin "${params['name']}" not found`);
  };
  const family = (name: string, handle: () => never): Route[] =>
    [get, post, put, del].flatMap((method) => [method(`/${name}`, handle), method(`/${name}/*rest`, handle)]);
  return [
    get('/containers/:id/checkpoints', notOf('checkpoints')),
    post('/containers/:id/checkpoints', notOf('checkpoints')),
    del('/containers/:id/checkpoints/:checkpoint', not('checkpoints')),
    get('/images/*name/attestations', not('attestations')),
    post('/build', not('build of images')),
    post('/build/cancel', not('build of images')),
    post('/session', not('BuildKit sessions')),
    post('/grpc', not('BuildKit')),
    put('/volumes/:name', noSwarm),
    get('/plugins', () => json(200, [])),
    get('/plugins/privileges', not('managed plugins')),
    get('/plugins/*name/json', noPlugin),
    del('/plugins/*name', noPlugin),
    post('/plugins/*rest', not('managed plugins')),
    post('/swarm/leave', () => {
      throw new EngineError('unavailable', 'This node is not part of a swarm');
    }),
    post('/swarm/init', not('clusters')),
    post('/swarm/join', not('clusters')),
    ...['swarm', 'nodes', 'services', 'tasks', 'secrets', 'configs'].flatMap((name) => family(name, noSwarm)),
  ];
}
