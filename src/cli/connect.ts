import { join } from 'node:path';
import { codeOf, EngineError } from '../base/errors.ts';
import { type EngineAddress, readAddress } from '../client/address.ts';
import { EngineClient } from '../client/client.ts';
import { withHolder } from './conflicts.ts';
import { engineConfig } from './engine-config.ts';
import { withNearName } from './missing.ts';

/** The engine that commands talk to: `-H` or BERTH_HOST, BERTH_SOCKET, the configuration file, or the usual place. */
export function engineAddress(): EngineAddress {
  const { BERTH_HOST: host, BERTH_SOCKET: socket, BERTH_CERT_PATH: certificates } = process.env;
  if (host) {
    const tls = certificates && {
      ca: join(certificates, 'ca.pem'),
      cert: join(certificates, 'cert.pem'),
      key: join(certificates, 'key.pem'),
    };
    return readAddress(host, tls || undefined);
  }
  return { kind: 'unix', path: socket ?? engineConfig(undefined).socket };
}

/** Runs `use` with a client, and says in plain words when there is no engine. */
export async function withEngine<T>(use: (client: EngineClient) => Promise<T>): Promise<T> {
  const address = engineAddress();
  await using client = new EngineClient({ socket: address });
  try {
    return await use(client);
  } catch (error) {
    throw explain(await withHolder(client, await withNearName(client, error)), address);
  }
}

function explain(error: unknown, address: EngineAddress): unknown {
  if (address.kind !== 'unix') return error;
  const code = codeOf(error) ?? codeOf(error instanceof Error ? error.cause : undefined);
  const { path } = address;
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return new EngineError('unavailable', `no engine answers on ${path}`, {
      cause: error,
      hint: 'berth engine start',
      code: 'E_NO_ENGINE',
    });
  if (code === 'EACCES')
    return new EngineError('forbidden', `${path} is not yours to use`, {
      cause: error,
      hint: 'run this as root, or join the group that the engine is configured with',
    });
  return error;
}
