import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cache, dockerCli, type TestEngine } from './engines.ts';

/** What servers are tested with: real ones, out of Debian's packages. */
const packages = ['busybox-static', 'nginx-light', 'postgresql', 'redis-server'];

/** Not needed by any of them, and a third of the whole. */
const left = [
  ...['doc', 'man', 'locale'].map((name) => `/usr/share/${name}/*`),
  ...['/usr/lib/llvm*', '/usr/lib/*/libLLVM*', '/usr/lib/postgresql/*/lib/bitcode/*'],
];

const sh = (script: string) => ['sh', '-ec', script];

/** Configurations over one layer, as the official images of these have them. */
const configs: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'web:1': {
    Cmd: sh(
      'ln -sf /dev/stdout /var/log/nginx/access.log; ln -sf /dev/stderr /var/log/nginx/error.log; exec nginx -g "daemon off;"',
    ),
    ExposedPorts: { '80/tcp': {} },
    StopSignal: 'SIGQUIT',
  },
  'database:1': {
    Entrypoint: sh(`
as='setpriv --reuid postgres --regid postgres --clear-groups'
mkdir -p "$PGDATA" /run/postgresql
chown postgres: "$PGDATA" /run/postgresql
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  $as initdb -D "$PGDATA" -U postgres -A trust --no-sync >/dev/null
  echo 'host all all all trust' >> "$PGDATA/pg_hba.conf"
fi
exec $as postgres -D "$PGDATA" -c listen_addresses='*' -c jit=off -c fsync=off`),
    Env: [
      `PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      'PGDATA=/var/lib/postgresql/data',
      'LC_ALL=C.UTF-8',
    ],
    ExposedPorts: { '5432/tcp': {} },
    Volumes: { '/var/lib/postgresql/data': {} },
    StopSignal: 'SIGINT',
    Healthcheck: { Test: ['CMD', 'psql', '-h', '127.0.0.1', '-U', 'postgres', '-c', 'select 1'], Interval: 1e9 },
  },
  'cache:1': {
    Cmd: ['redis-server', '--protected-mode', 'no', '--save', '', '--dir', '/data'],
    ExposedPorts: { '6379/tcp': {} },
    Volumes: { '/data': {} },
    WorkingDir: '/data',
  },
  'worker:1': { Cmd: ['bash'] },
};

/** A root file system with all of them, as a plain tar. Made once, by mmdebstrap, in some two minutes. */
function servicesTar(): string {
  const path = join(cache, 'services.tar');
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const suite = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable';
  const beside = join(cache, `services.${process.pid}.tar`);
  execFileSync(
    'mmdebstrap',
    [
      ...['--quiet', '--variant=minbase', `--include=${packages.join(',')}`],
      ...left.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
      '--customize-hook=rm -rf "$1"/var/lib/postgresql/* "$1"/etc/postgresql/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
      suite,
      beside,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  renameSync(beside, path);
  return path;
}

/** Loads `web:1` (nginx), `database:1` (postgresql), `cache:1` (redis) and `worker:1` (their clients, and busybox). */
export async function loadServices(engine: TestEngine): Promise<void> {
  const layer = servicesTar();
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(layer)) hash.update(chunk as Buffer);
  const diffId = `sha256:${hash.digest('hex')}`;
  const work = mkdtempSync(join(engine.dir, 'services-'));
  try {
    symlinkSync(layer, join(work, 'layer.tar'));
    const manifest = [];
    for (const [name, config] of Object.entries(configs)) {
      const image = {
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        created: '2023-11-14T22:13:20Z',
        config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], ...config },
        rootfs: { type: 'layers', diff_ids: [diffId] },
        history: [{ created: '2023-11-14T22:13:20Z', created_by: `${name} from Debian` }],
      };
      const file = `${name.replace(':', '-')}.json`;
      await writeFile(join(work, file), JSON.stringify(image));
      manifest.push({ Config: file, RepoTags: [name], Layers: ['layer.tar'] });
    }
    await writeFile(join(work, 'manifest.json'), JSON.stringify(manifest));
    execFileSync('sh', ['-c', 'tar -C "$1" -chf - . | "$2" load -q', 'sh', work, dockerCli()], {
      env: engine.env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  } finally {
    rmSync(work, { recursive: true });
  }
}
