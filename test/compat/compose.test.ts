import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import { newerDocker, type TestEngine } from '../lib/engines.ts';
import { loadServices } from '../lib/services.ts';

/** A project as people have them: nginx, postgresql, redis and a worker that takes jobs from one to the other. */
const project = `
services:
  web:
    image: web:1
    ports: ["127.0.0.1:8090:80"]
    volumes: ["./site:/var/www/html:ro"]
    networks: [front, back]
    healthcheck:
      test: ["CMD", "busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"]
      interval: 1s
      timeout: 20s
      retries: 60
    depends_on:
      database: { condition: service_healthy }
      cache: { condition: service_healthy }
  database:
    image: database:1
    volumes: ["rows:/var/lib/postgresql/data"]
    networks: { back: { aliases: [db] } }
    healthcheck:
      test: ["CMD-SHELL", "psql -h 127.0.0.1 -U postgres -c 'create table if not exists done (job text)'"]
      interval: 1s
      timeout: 20s
      retries: 60
  cache:
    image: cache:1
    networks: [back]
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 1s
      timeout: 20s
      retries: 60
  worker:
    image: worker:1
    init: true
    stop_grace_period: 2s
    environment: { QUEUE: jobs }
    command:
      - bash
      - -c
      - |
        while job=$$(redis-cli -h cache --raw blpop "$$QUEUE" 0 | tail -n 1); do
          psql -q -h db -U postgres -c "insert into done values ('$$job')" && echo "did $$job"
        done
    networks: [back]
    depends_on:
      database: { condition: service_healthy }
      cache: { condition: service_healthy }
networks:
  front: {}
  back: { internal: true }
volumes:
  rows: {}
`;

interface Compose {
  readonly name: string;
  readonly command: string | undefined;
  /** Between the parts of a container's name. */
  readonly joint: string;
}

const newer = newerDocker();
const composes: readonly Compose[] = [
  { name: 'Compose v2', command: newer && join(newer, 'usr/bin/docker-compose'), joint: '-' },
  { name: 'Compose v1', command: '/usr/bin/docker-compose', joint: '_' },
];

async function eventually<T>(look: () => T, right: (seen: T) => boolean): Promise<T> {
  const until = Date.now() + 60_000;
  for (;;) {
    const seen = look();
    if (right(seen)) return seen;
    assert.ok(Date.now() < until, `still ${JSON.stringify(seen)}`);
    await sleep(200);
  }
}

onBothEngines('Compose', { images: [] }, ({ same }) => {
  let loaded: TestEngine | undefined;
  for (const { name, command, joint } of composes)
    same(`${name}: a web server, a database, a cache and a worker`, async (engine) => {
      assert.ok(command && existsSync(command), `${name} is not here`);
      if (loaded !== engine) await loadServices(engine);
      loaded = engine;
      const directory = mkdtempSync(join(engine.dir, 'shop-'));
      mkdirSync(join(directory, 'site'));
      writeFileSync(join(directory, 'site/index.html'), 'the shop\n');
      writeFileSync(join(directory, 'docker-compose.yml'), project);
      const run = (...args: string[]) => {
        const { status, stdout, stderr } = spawnSync(command, ['-p', 'shop', ...args], {
          env: engine.env,
          cwd: directory,
          encoding: 'utf8',
          timeout: 240_000,
          input: '',
        });
        assert.equal(status, 0, `${name} ${args.join(' ')}: ${stderr}${stdout}`);
        return stdout.trim();
      };
      const page = () =>
        spawnSync('nsenter', [`--net=/run/netns/${engine.netns}`, 'curl', '-s', '-m', '5', 'http://127.0.0.1:8090/'], {
          encoding: 'utf8',
        }).stdout;
      const isPage = (seen: string) => seen === 'the shop\n';
      const called = (service: string, number = 1) => ['shop', service, number].join(joint);
      // Looked at again and again: not by way of Compose, which takes its time.
      const done = () =>
        engine
          .docker([
            'exec',
            called('database'),
            'psql',
            '-h',
            'db',
            '-U',
            'postgres',
            '-Atc',
            'select job from done order by 1',
          ])
          .stdout.trim()
          .replaceAll('\n', ' ');
      const states = () =>
        engine.must(
          'ps',
          '-a',
          '--format',
          '{{.Names}} {{.State}} {{.Status}}',
          '--filter',
          'label=com.docker.compose.project=shop',
        );
      try {
        run('up', '-d');
        // What others waited for was healthy before they were made.
        const before = engine.must('inspect', '-f', '{{.State.Health.Status}}', called('database'), called('cache'));
        assert.equal(before, 'healthy\nhealthy');
        await eventually(page, isPage);
        run('exec', '-T', 'cache', 'redis-cli', 'rpush', 'jobs', 'one', 'two');
        await eventually(done, (seen) => seen === 'one two');
        await eventually(
          () => engine.must('logs', called('worker')),
          (seen) => seen === 'did one\ndid two',
        );
        assert.match(run('logs', '--no-color'), /\| did one$[^]*\| did two$/m);
        assert.equal(run('ps', '-q').split('\n').length, 4);
        assert.match(run('ps'), new RegExp(`${called('web')}.*127\\.0\\.0\\.1:8090->80/tcp`));
        assert.equal(run('port', 'web', '80'), '127.0.0.1:8090');
        assert.match(
          run('exec', '-T', 'database', 'psql', '-h', 'db', '-U', 'postgres', '-Atc', 'select 6 * 7'),
          /^42$/,
        );

        run('up', '-d', '--no-recreate', '--scale', 'worker=3');
        const workers = () => states().match(/worker.(\d) running/g)?.length;
        assert.equal(workers(), 3);
        run('exec', '-T', 'cache', 'redis-cli', 'rpush', 'jobs', 'three', 'four', 'five');
        await eventually(done, (seen) => seen === 'five four one three two');
        run('up', '-d', '--no-recreate', '--scale', 'worker=1');
        assert.equal(workers(), 1);
        assert.doesNotMatch(states(), /worker.[23]/);

        run('restart', '-t', '60', 'database', 'web');
        await eventually(page, isPage);
        await eventually(
          () => engine.must('inspect', '-f', '{{.State.Health.Status}}', called('database')),
          (seen) => seen === 'healthy',
        );
        assert.equal(done(), 'five four one three two');
        run('kill', '-s', 'KILL', 'worker');
        await eventually(states, (seen) => /worker.1 exited Exited \(137\)/.test(seen));
        run('stop', '-t', '60');
        await eventually(states, (seen) => !seen.includes(' running '));
        // In the database's own time and not by force: it shuts down when it is asked.
        assert.match(states(), new RegExp(`${called('database')} exited Exited \\(0\\)`));

        run('down');
        assert.equal(engine.must('network', 'ls', '-q', '-f', 'type=custom'), '');
        assert.equal(engine.must('volume', 'ls', '-q', '-f', 'name=shop'), 'shop_rows');
        run('up', '-d', 'database');
        await eventually(
          () => engine.must('inspect', '-f', '{{.State.Health.Status}}', called('database')),
          (seen) => seen === 'healthy',
        );
        assert.equal(done(), 'five four one three two');
      } finally {
        run('down', '-v', '-t', '1');
      }
      assert.deepEqual(
        [
          engine.must('ps', '-aq'),
          engine.must('network', 'ls', '-q', '-f', 'type=custom'),
          engine.must('volume', 'ls', '-q', '-f', 'name=shop'),
        ],
        ['', '', ''],
      );
    });
});
