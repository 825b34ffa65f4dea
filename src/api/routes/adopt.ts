import type { Adoption } from '../../adopt/adoption.ts';
import { object, string, strings } from '../../protocol/decode.ts';
import { json } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { post, type Route } from '../router.ts';

const fields = object('AdoptOptions', { From: string, Only: strings });

/** A path of our own: what a Docker engine that is stopped left, taken over. */
export const adoptRoutes = ({ adoption }: { readonly adoption: Adoption }): Route[] => [
  post('/adopt/docker/plan', async (request) => json(200, await adoption.plan(await readRequest(request)))),
];

async function readRequest(request: ApiRequest) {
  const { From = '/var/lib/docker', Only = [] } = fields(await request.json()) ?? {};
  return { from: From, only: Only };
}
