/**
 * The search of the first registry protocol, as Docker Hub has it; run inside an engine's network namespace, with the port
 * as argument. It says `ready` when it listens. `/seen` tells what was searched for.
 */
import { createServer } from 'node:http';

const port = Number(process.argv[2]);
const all = [
  { name: 'web', description: 'the one that is meant', star_count: 900, is_official: true, is_automated: false },
  { name: 'ann/web', description: 'built from the one above', star_count: 12, is_official: false, is_automated: false },
  { name: 'bob/web-tools', description: '', star_count: 0, is_official: false, is_automated: false },
];
const seen: { term: string; limit: string | null; authorization: string | undefined }[] = [];

createServer((request, response) => {
  const url = new URL(request.url!, `http://127.0.0.1:${port}`);
  response.setHeader('x-docker-registry-version', '0.6.0');
  response.setHeader('content-type', 'application/json');
  if (url.pathname === '/seen') return void response.end(JSON.stringify(seen));
  if (url.pathname === '/v1/_ping') return void response.end('{"standalone":true,"version":"0.6.0"}');
  if (url.pathname !== '/v1/search') return void response.writeHead(404).end();
  const term = url.searchParams.get('q') ?? '';
  seen.push({ term, limit: url.searchParams.get('n'), authorization: request.headers.authorization });
  if (term === 'fails') return void response.writeHead(500).end('{}');
  const results = all.filter(({ name }) => name.includes(term)).slice(0, Number(url.searchParams.get('n')));
  response.end(JSON.stringify({ query: term, num_results: results.length, results }));
}).listen(port, '127.0.0.1', () => process.stdout.write('ready\n'));
