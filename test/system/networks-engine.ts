import { join } from 'node:path';
import { silentLog } from '../../src/base/log.ts';
import { defaultNetworksConfig } from '../../src/networks/host-networks.ts';
import { newId, openNetworks, port } from './networks-lab.ts';

/**
 * An engine as far as networks go, to be killed: `hold` opens one container, tells it as a line of JSON, and stays;
 * `churn` opens and closes containers without end.
 */
const [root = '', mode = 'hold'] = process.argv.slice(2);
const networks = await openNetworks({
  root: join(root, 'state'),
  runDir: join(root, 'run'),
  config: { ...defaultNetworksConfig, helperLingerMs: 500 },
  events: { emit: () => {}, history: () => [], listen: () => ({ [Symbol.dispose]() {} }), listeners: 0 },
  log: silentLog,
});
await networks.recover([]);

if (mode === 'hold') {
  const id = newId();
  const opened = await networks.open(id, {
    joins: [{ network: 'bridge' }],
    ports: [port(80, 8080), port(80, 8081, { hostAddress: '127.0.0.1' }), port(53, 5353, { protocol: 'udp' })],
  });
  // The places made ahead are there too when it is killed.
  setTimeout(() => process.stdout.write(`${JSON.stringify(opened)}\n`), 400);
  setInterval(() => {}, 1_000);
} else {
  process.stdout.write('churning\n');
  for (;;) {
    const ids = Array.from({ length: 4 }, newId);
    await Promise.all(ids.map((id) => networks.open(id, { joins: [{ network: 'bridge' }], ports: [port(80, 0)] })));
    await Promise.all(ids.map((id) => networks.close(id)));
  }
}
