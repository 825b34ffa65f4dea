import { join } from 'node:path';
import { silentLog } from '../../src/base/log.ts';
import { defaultNetworksConfig } from '../../src/networks/host-networks.ts';
import { newId, openNetworks, port } from './networks-lab.ts';

/**
 * An engine as far as networks go, to be killed: `hold` opens one container, tells it as a line of JSON, and stays;
 * `churn` opens and closes containers without end; `own` makes networks, moves containers between them, and removes them;
 * `parent` does so with networks that stand on lan0.
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
} else if (mode === 'own') {
  process.stdout.write('churning\n');
  const request = { driver: '', internal: false, attachable: false, ipv4: true, ipv6: true, labels: {}, options: {} };
  const ipam = { driver: '', options: undefined, configs: [] };
  for (;;) {
    const names = ['one', 'two'].map((name) => `${name}-${newId().slice(0, 6)}`);
    await Promise.all(names.map((name) => networks.create({ ...request, name, ipam })));
    const [first = '', second = ''] = names;
    const ids = Array.from({ length: 3 }, newId);
    await Promise.all(
      ids.map((id) => networks.open(id, { joins: [{ network: first, names: [id] }], ports: [port(80, 0)] })),
    );
    await Promise.all(ids.map((id) => networks.connect(id, { network: second, names: [id] }, { ports: [] })));
    await Promise.all(ids.map((id) => networks.disconnect(id, first)));
    await Promise.all(ids.map((id) => networks.close(id)));
    await Promise.all(names.map((name) => networks.remove(name)));
  }
} else if (mode === 'parent') {
  process.stdout.write('churning\n');
  const request = { driver: 'macvlan', internal: false, attachable: false, ipv4: true, ipv6: false, labels: {} };
  const ipam = { driver: '', options: undefined, configs: [{ subnet: '10.98.0.0/24' }] };
  for (;;) {
    const name = `lan-${newId().slice(0, 6)}`;
    await networks.create({ ...request, options: { parent: 'lan0' }, name, ipam });
    const ids = Array.from({ length: 3 }, newId);
    // Two on it alone, one that comes and goes beside the bridge.
    const join = (network: string, address?: string) => ({ joins: [{ network, address }], ports: [] });
    await Promise.all([
      networks.open(ids[0]!, join(name, '10.98.0.50')),
      networks.open(ids[1]!, join(name)),
      networks.open(ids[2]!, join('bridge')),
    ]);
    await networks.connect(ids[2]!, { network: name }, { ports: [] });
    await networks.disconnect(ids[2]!, name);
    await Promise.all(ids.map((id) => networks.close(id)));
    await networks.remove(name);
  }
} else {
  process.stdout.write('churning\n');
  for (;;) {
    const ids = Array.from({ length: 4 }, newId);
    await Promise.all(ids.map((id) => networks.open(id, { joins: [{ network: 'bridge' }], ports: [port(80, 0)] })));
    await Promise.all(ids.map((id) => networks.close(id)));
  }
}
