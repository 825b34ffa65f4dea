import type { Adoption } from '../../adopt/adoption.ts';
import { boolean, object, string, strings } from '../../protocol/decode.ts';
import { progressReply } from '../progress.ts';
import { json } from '../reply.ts';
import type { ApiRequest } from '../request.ts';
import { get, post, type Route } from '../router.ts';

const fields = object('AdoptOptions', { From: string, Only: strings, Fingerprint: string, Start: boolean });

/** Paths of our own: what a Docker engine that is stopped left, taken over and given back. */
export const adoptRoutes = ({ adoption }: { readonly adoption: Adoption }): Route[] => [
  post('/adopt/docker/plan', async (request) => json(200, await adoption.plan(await readRequest(request)))),
  post('/adopt/docker', async (request) => {
    const asked = await readRequest(request);
    return progressReply(request, (signal) => adoption.apply(asked, signal));
  }),
  get('/adopt', () => json(200, adoption.list())),
  get('/adopt/undo', async () => json(200, await adoption.planUndo())),
  post('/adopt/undo', (request) => progressReply(request, (signal) => adoption.undo(signal))),
];

async function readRequest(request: ApiRequest) {
  const asked = fields(await request.json()) ?? {};
  const { From = '/var/lib/docker', Only = [], Fingerprint = '', Start = false } = asked;
  return { from: From, only: Only, fingerprint: Fingerprint, start: Start };
}
