import { messageOf } from '../../base/errors.ts';
import { parseDaemonJson } from '../daemon-json.ts';
import type { Finding } from './finding.ts';
import type { Host } from './host.ts';

const name = 'docker.daemon-json';

/** dockerd's configuration file: whether an engine in Docker's place can read it, and what of it does nothing then. */
export async function daemonJsonChecks(host: Host, path: string): Promise<readonly Finding[]> {
  if (!(await host.stat(path))) return [{ name, state: 'ok', found: `${path} is not there` }];
  const text = await host.read(path);
  if (text === undefined) return [{ name, state: 'warn', found: `${path} cannot be read` }];
  try {
    const { keys, unheard } = parseDaemonJson(text, path);
    const heard = `${path}: ${Object.keys(keys).length} keys`;
    if (unheard.length === 0) return [{ name, state: 'ok', found: heard }];
    const left = unheard.map(({ key, why }) => `${key} (${why})`).join(', ');
    return [{ name, state: 'warn', found: `${heard}; these do nothing: ${left}`, cure: 'docs/daemon-json.md' }];
  } catch (error) {
    return [{ name, state: 'fail', found: messageOf(error), cure: `edit ${path}` }];
  }
}
