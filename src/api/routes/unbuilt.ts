import { EngineError } from '../../base/errors.ts';
import { json } from '../reply.ts';
import { del, get, head, post, put, type Route } from '../router.ts';

/** What clients know and this engine does not do yet: it says so, in words of its own or in Docker's where clients look for them. */
export function unbuiltRoutes(): Route[] {
  const not = (what: string) => () => {
    throw new EngineError('unsupported', `Berth does not do ${what} yet`);
  };
  const noSwarm = () => {
    throw new EngineError(
      'unavailable',
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
    );
  };
  const noPlugin = ({ params }: { params: Readonly<Record<string, string>> }) => {
    throw new EngineError('not-found', `plugin "${params['name']}" not found`);
  };
  const family = (name: string, handle: () => never): Route[] =>
    [get, post, put, del].flatMap((method) => [method(`/${name}`, handle), method(`/${name}/*rest`, handle)]);
  return [
    get('/containers/:id/changes', not('the list of changed files (docker diff)')),
    get('/containers/:id/export', not('export of containers')),
    get('/containers/:id/stats', not('container statistics')),
    head('/containers/:id/archive', not('copying files (docker cp)')),
    get('/containers/:id/archive', not('copying files (docker cp)')),
    put('/containers/:id/archive', not('copying files (docker cp)')),
    post('/containers/:id/update', not('update of containers')),
    get('/containers/:id/checkpoints', not('checkpoints')),
    post('/containers/:id/checkpoints', not('checkpoints')),
    del('/containers/:id/checkpoints/:checkpoint', not('checkpoints')),
    post('/containers/prune', not('pruning of containers')),
    get('/images/search', not('search of images')),
    post('/images/prune', not('pruning of images')),
    get('/images/get', not('save of images')),
    get('/images/*name/get', not('save of images')),
    post('/images/*name/push', not('push of images')),
    get('/images/*name/attestations', not('attestations')),
    post('/commit', not('commit of containers')),
    post('/build', not('build of images')),
    post('/build/prune', not('build of images')),
    post('/build/cancel', not('build of images')),
    post('/session', not('BuildKit sessions')),
    post('/grpc', not('BuildKit')),
    get('/distribution/*name/json', not('look-ups of images in a registry')),
    post('/networks/create', not('networks of your own: there are bridge, host and none')),
    post('/networks/prune', not('pruning of networks')),
    post('/networks/:id/connect', not('connecting of networks')),
    post('/networks/:id/disconnect', not('connecting of networks')),
    del('/networks/:id', not('networks of your own: there are bridge, host and none')),
    post('/volumes/prune', not('pruning of volumes')),
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
