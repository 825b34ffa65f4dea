/**
 * An everyday use of Testcontainers; prints what happened, a line each, for the test to compare. Run in the engine's network
 * namespace, since Testcontainers connects to published ports.
 */
import { connect } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { GenericContainer, Network, Wait } from 'testcontainers';

const say = (...words: unknown[]) => console.log(JSON.stringify(words));
// Its streams do not keep a process going.
setInterval(() => {}, 1000);

/** What a server says to who connects; tried again until it says something. */
async function answer(host: string, port: number): Promise<string> {
  for (let tries = 0; tries < 100; tries++) {
    const text = await new Promise<string>((resolve) => {
      let got = '';
      const socket = connect(port, host);
      socket.on('data', (chunk) => {
        got += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(got));
    });
    if (text !== '') return text.trim();
    await sleep(100);
  }
  return '';
}

async function untilSaid(stream: Readable, wanted: RegExp): Promise<string> {
  let got = '';
  for await (const chunk of stream) {
    got += chunk;
    if (wanted.test(got)) break;
  }
  stream.destroy();
  return wanted.exec(got)?.[0] ?? `only ${got}`;
}

const sleeper = ['sh', '-c', 'trap exit TERM; echo up; sleep 1000 & wait'];

async function reaped(): Promise<void> {
  const network = await new Network().start();
  const left = await new GenericContainer('bb:1')
    .withCommand(sleeper)
    .withNetwork(network)
    .withWaitStrategy(Wait.forLogMessage('up'))
    .start();
  say('left', left.getId(), network.getId());
}

async function everything(): Promise<void> {
  const network = await new Network().start();
  const server = await new GenericContainer('bb:1')
    .withCommand(['sh', '-c', 'echo starting; sleep 0.3; echo ready now; exec nc -ll -p 8000 -e echo hello'])
    .withExposedPorts(8000)
    .withNetwork(network)
    .withNetworkAliases('server')
    .withLabels({ tier: 'web' })
    .withEnvironment({ A: '1' })
    .withWaitStrategy(Wait.forLogMessage(/ready (now|soon)/))
    .start();
  say('log', await answer(server.getHost(), server.getMappedPort(8000)), server.getLabels()['tier']);
  say('stream', await untilSaid(await server.logs(), /starting[^]*ready now/));

  const ports = await new GenericContainer('bb:1')
    .withCommand(['sh', '-c', 'sleep 0.5; exec nc -ll -p 8001 -e echo late'])
    .withExposedPorts(8001)
    .withWaitStrategy(Wait.forListeningPorts())
    .start();
  say('port', await answer(ports.getHost(), ports.getMappedPort(8001)));

  const healthy = await new GenericContainer('bb:1')
    .withCommand(['sh', '-c', 'sleep 0.5; touch /tmp/ok; exec sleep 1000'])
    .withHealthCheck({ test: ['CMD-SHELL', 'test -f /tmp/ok'], interval: 250, timeout: 20_000, retries: 1000 })
    .withWaitStrategy(Wait.forHealthCheck())
    .start();
  say('health', (await healthy.exec(['ls', '/tmp'])).output.trim());

  const client = await new GenericContainer('bb:1')
    .withCommand(sleeper)
    .withNetwork(network)
    .withCopyContentToContainer([{ content: 'before\n', target: '/given/before', mode: 0o644 }])
    .withTmpFs({ '/scratch': 'rw,size=1m' })
    .withUser('1000')
    .withWorkingDir('/tmp')
    .withAddedCapabilities('NET_ADMIN')
    .withWaitStrategy(Wait.forSuccessfulCommand('test -d /given'))
    .start();
  const inside = async (script: string) => {
    const { exitCode, output, stdout, stderr } = await client.exec(['sh', '-c', script]);
    return [exitCode, output, stdout, stderr];
  };
  say('exec', await inside('id -u; pwd; exit 3'));
  const [, , ...both] = await inside('echo out; echo err >&2');
  say('streams', ...both);
  say('missing', (await client.exec(['nosuch'])).exitCode);
  const asked = await client.exec(['env'], { env: { B: '2' }, user: '0', workingDir: '/' });
  say('options', asked.output.includes('B=2'));
  say('alias', await inside('nc -w 5 server 8000 </dev/null'));
  say('before', await inside('cat /given/before; stat -c %a /given/before'));
  await client.copyContentToContainer([{ content: 'after\n', target: '/tmp/after' }]);
  await client.copyFilesToContainer([
    { source: new URL('./python-sdk.py', import.meta.url).pathname, target: '/tmp/file' },
  ]);
  say('after', await inside('cat /tmp/after; head -c 3 /tmp/file'));
  let archived = '';
  for await (const chunk of await client.copyArchiveFromContainer('/tmp/after')) archived += chunk;
  say('archive', archived.includes('after\n'), archived.startsWith('after\0') || archived.includes('after\0'));

  const once = await new GenericContainer('bb:1')
    .withCommand(['sh', '-c', 'echo done'])
    .withWaitStrategy(Wait.forOneShotStartup())
    .start();
  say('once', await untilSaid(await once.logs(), /done/));
  await once.stop();
  await new GenericContainer('bb:1')
    .withCommand(['sh', '-c', 'echo no >&2; exit 3'])
    .withWaitStrategy(Wait.forLogMessage('never said'))
    .withStartupTimeout(20_000)
    .start()
    .catch((error: unknown) => say('failed', /Log stream ended|not received|exited/.test(String(error))));

  await server.restart();
  say('restarted', await answer(server.getHost(), server.getMappedPort(8000)));
  const image = await client.commit({ repo: 'committed', tag: '1', deleteOnExit: false });
  say('committed', image.startsWith('sha256:') || /^[0-9a-f]{64}$/.test(image) || image === 'committed:1');
  const stopped = await server.stop({ remove: false, timeout: 1000 });
  say('kept', (await stopped.copyArchiveFromContainer('/etc/passwd')) !== undefined);
  for (const one of [ports, healthy, client]) await one.stop({ timeout: 1000 });
  say('left', server.getId());
}

await (process.argv[2] === 'reaped' ? reaped() : everything());
process.exit(0);
