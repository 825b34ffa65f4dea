import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cache } from '../test/lib/engines.ts';
import { minbaseTar } from '../test/lib/minbase.ts';
import type { Contestant } from './engines.ts';
import { call, cli, inParallel, numbers, timed, withTalker } from './measure.ts';
import type { Row } from './rows.ts';

const image = 'bench/debian:1';
const pushed = 'bench/pushed:1';

/** A request whose body is a file; its answer is read to the end. Bytes that came. */
function exchange({ engine }: Contestant, method: string, path: string, file?: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const length = file === undefined ? 0 : statSync(file).size;
    const headers = { 'content-type': 'application/x-tar', 'content-length': length };
    const sent = request({ socketPath: engine.socket, method, path: `/v1.41${path}`, headers }, (answer) => {
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode! < 400) resolve(bytes);
        else reject(new Error(`${method} ${path}: ${answer.statusCode}`));
      });
    });
    sent.on('error', reject);
    if (file === undefined) sent.end();
    else createReadStream(file, { highWaterMark: 1024 * 1024 }).pipe(sent);
  });
}

/** One file of 100 MiB in a tar; made once. */
function bigTar(): string {
  const path = join(cache, 'bench-big.tar');
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'berth-bench-'));
  execFileSync('sh', ['-c', `head -c 104857600 /dev/urandom >'${work}/big' && tar -C '${work}' -cf '${path}.tmp' big`]);
  renameSync(`${path}.tmp`, path);
  rmSync(work, { recursive: true });
  return path;
}

const withImage = (contestant: Contestant, archive: string) => {
  if (contestant.engine.docker(['image', 'inspect', image]).status !== 0)
    contestant.engine.must('load', '-q', '-i', archive);
};
const withSleeper = ({ engine }: Contestant) => {
  if (engine.docker(['inspect', 'everyday']).status !== 0)
    engine.must('run', '-d', '--name', 'everyday', 'bb:1', 'sleep', '3600');
};
const withTree = (contestant: Contestant, archive: string) => {
  withImage(contestant, archive);
  if (contestant.engine.docker(['inspect', 'tree']).status !== 0)
    contestant.engine.must('create', '--name', 'tree', image, 'true');
};

/** What people do all day besides running containers. */
export const everydayRows: readonly Row[] = [
  {
    name: 'stats',
    about: 'API: stats of one container, once',
    unit: 'ms',
    better: 'less',
    bar: '<= 1',
    rounds: 5,
    prepare: withSleeper,
    measure: (contestant) => timed(() => call(contestant, 'GET', '/containers/everyday/stats?stream=0&one-shot=1')),
  },
  {
    name: 'top',
    about: 'API: top',
    unit: 'ms',
    better: 'less',
    bar: '<= 1',
    rounds: 10,
    cpu: true,
    prepare: withSleeper,
    measure: (contestant) => timed(() => call(contestant, 'GET', '/containers/everyday/top')),
  },
  {
    name: 'tail',
    about: 'API: the last 10 lines of 50 MB of log',
    unit: 'ms',
    better: 'less',
    bar: '<= 2',
    rounds: 10,
    prepare: withTalker,
    measure: (contestant) => timed(() => exchange(contestant, 'GET', '/containers/talker/logs?stdout=1&tail=10')),
  },
  {
    name: 'cp-in',
    about: 'API: put an archive of 100 MiB into a running container',
    unit: 'MB/s',
    better: 'more',
    bar: '>= 1',
    rounds: 5,
    prepare: withSleeper,
    measure: async (contestant) =>
      104_857.6 / (await timed(() => exchange(contestant, 'PUT', '/containers/everyday/archive?path=/tmp', bigTar()))),
  },
  {
    name: 'cp-out',
    about: 'API: get it back',
    unit: 'MB/s',
    better: 'more',
    bar: '>= 1',
    rounds: 5,
    prepare: (contestant) => {
      withSleeper(contestant);
      return exchange(contestant, 'PUT', '/containers/everyday/archive?path=/tmp', bigTar()).then(() => {});
    },
    measure: async (contestant) =>
      104_857.6 / (await timed(() => exchange(contestant, 'GET', '/containers/everyday/archive?path=/tmp/big'))),
  },
  {
    name: 'export',
    about: 'API: export 210 MB of Debian',
    unit: 'MB/s',
    better: 'more',
    bar: '>= 2',
    rounds: 3,
    cpu: true,
    prepare: (contestant, { archive }) => withTree(contestant, archive),
    measure: async (contestant) => {
      let bytes = 0;
      const ms = await timed(async () => {
        bytes = await exchange(contestant, 'GET', '/containers/tree/export');
      });
      return bytes / 1000 / ms;
    },
  },
  {
    name: 'commit',
    about: '`docker commit` of 50 MB and 500 files',
    unit: 's',
    better: 'less',
    bar: '<= 0.5',
    rounds: 3,
    cpu: true,
    prepare: (contestant) => {
      if (contestant.engine.docker(['inspect', 'written']).status !== 0)
        contestant.engine.must(
          ...['run', '--name', 'written', 'bb:1', 'sh', '-c'],
          'head -c 50000000 /dev/urandom >/big; mkdir /many; for n in $(seq 500); do echo $n >/many/$n; done',
        );
    },
    measure: async (contestant) =>
      (await timed(() => cli(contestant, ['commit', 'written', 'bench/written:1']))) / 1000,
    clean: (contestant) => void contestant.engine.docker(['rmi', '-f', 'bench/written:1']),
  },
  {
    name: 'import',
    about: '`docker import` of 170 MB',
    unit: 's',
    better: 'less',
    bar: '<= 0.2',
    rounds: 3,
    cpu: true,
    measure: async (contestant) =>
      (await timed(() => cli(contestant, ['import', minbaseTar(), 'bench/imported:1']))) / 1000,
    clean: (contestant) => void contestant.engine.docker(['rmi', '-f', 'bench/imported:1']),
  },
  {
    name: 'save',
    about: 'API: save 210 MB of Debian',
    unit: 's',
    better: 'less',
    bar: '<= 0.4',
    rounds: 3,
    cpu: true,
    prepare: (contestant, { archive }) => withImage(contestant, archive),
    measure: async (contestant) => (await timed(() => exchange(contestant, 'GET', `/images/${image}/get`))) / 1000,
  },
  {
    name: 'push',
    about: '`docker push` of it to an empty registry on loopback',
    unit: 's',
    better: 'less',
    bar: '<= 0.5',
    rounds: 3,
    cpu: true,
    prepare: async (contestant, surroundings) => {
      withImage(contestant, surroundings.archive);
      contestant.engine.must('tag', image, `${await surroundings.emptyRegistryFor(contestant)}/${pushed}`);
    },
    measure: async (contestant) =>
      (await timed(() => cli(contestant, ['push', '-q', `127.0.0.1:5006/${pushed}`]))) / 1000,
    clean: (contestant) => void contestant.engine.docker(['rmi', `127.0.0.1:5006/${pushed}`]),
  },
  ...madeAndRemoved('volumes', 200, createVolumes, removeVolumes),
  ...madeAndRemoved('networks', 50, createNetworks, removeNetworks),
];

function createVolumes(contestant: Contestant): Promise<void> {
  return inParallel(200, 1, (index) => call(contestant, 'POST', '/volumes/create', { Name: `bench${index}` }));
}

async function removeVolumes({ engine }: Contestant): Promise<void> {
  for (const index of numbers(200)) await engine.api('DELETE', `/volumes/bench${index}`);
}

// Chosen ranges: Docker's own pools hold some thirty.
function createNetworks(contestant: Contestant): Promise<void> {
  return inParallel(50, 1, (index) =>
    call(contestant, 'POST', '/networks/create', {
      Name: `bench${index}`,
      IPAM: { Config: [{ Subnet: `10.77.${index}.0/24` }] },
    }),
  );
}

async function removeNetworks({ engine }: Contestant): Promise<void> {
  for (const index of numbers(50)) await engine.api('DELETE', `/networks/bench${index}`);
}

/** Two rows: how long many of them take to make, and to remove. */
function madeAndRemoved(
  what: string,
  count: number,
  create: (contestant: Contestant) => Promise<void>,
  remove: (contestant: Contestant) => Promise<void>,
): Row[] {
  const row = (verb: string): Omit<Row, 'measure'> => ({
    name: `${what}-${verb}`,
    about: `API: ${verb} ${count} ${what}, one after the other`,
    unit: 's',
    better: 'less',
    bar: '<= 1',
    rounds: 3,
    cpu: true,
    clean: remove,
  });
  const seconds = async (work: () => Promise<void>) => (await timed(work)) / 1000;
  return [
    { ...row('create'), measure: (contestant) => seconds(() => create(contestant)) },
    {
      ...row('remove'),
      prepare: create,
      measure: (contestant) => seconds(() => remove(contestant)),
    },
  ];
}
