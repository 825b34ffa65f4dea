import { compareDebianVersions } from './debian-version.ts';
import type { Finding } from './finding.ts';
import type { Host } from './host.ts';

interface Hole {
  readonly cve: string;
  /** What it lets a container do. */
  readonly what: string;
  /** The first version of each maintained line that has it closed, lowest line first. */
  readonly closed: readonly string[];
  /** Debian's package versions that have it closed in an older one, beside what their change logs say. */
  readonly debian?: readonly string[];
  /** Worth knowing, but it neither reads nor changes anything of the host. */
  readonly minor?: true;
  /** How the engine keeps every container from using it. */
  readonly closedByEngine?: string;
}

/**
 * Published holes through which a container reaches its host. crun's maintainers tried the reproducers of runc's three of
 * 2025 and found it not affected (containers/crun issue 1906).
 */
const holes: Readonly<Record<string, readonly Hole[]>> = {
  runc: [
    { cve: 'CVE-2019-5736', what: 'overwrites the runtime itself', closed: ['1.0.0-rc7'] },
    { cve: 'CVE-2021-30465', what: 'mounts over the host by racing on a shared volume', closed: ['1.0.0-rc95'] },
    { cve: 'CVE-2022-29162', what: 'inherits capabilities in exec', closed: ['1.1.2'] },
    { cve: 'CVE-2023-27561', what: 'mounts /proc elsewhere through a link', closed: ['1.1.5'] },
    {
      cve: 'CVE-2024-21626',
      what: 'reaches the host through a descriptor left open',
      closed: ['1.1.12'],
      debian: ['1.1.5+ds1-1+deb12u1'],
    },
    { cve: 'CVE-2024-45310', what: 'makes empty files on the host', closed: ['1.1.14', '1.2.0-rc3'], minor: true },
    {
      cve: 'CVE-2025-31133',
      what: 'unmasks /proc by replacing /dev/null',
      closed: ['1.2.8', '1.3.3', '1.4.0-rc3'],
    },
    { cve: 'CVE-2025-52565', what: 'mounts over files by /dev/console', closed: ['1.2.8', '1.3.3', '1.4.0-rc3'] },
    { cve: 'CVE-2025-52881', what: "redirects the runtime's writes to /proc", closed: ['1.2.8', '1.3.3', '1.4.0-rc3'] },
  ],
  crun: [
    { cve: 'CVE-2022-27650', what: 'starts with inheritable capabilities', closed: ['1.4.4'] },
    {
      cve: 'CVE-2025-24965',
      what: 'writes outside its root with the krun handler',
      closed: ['1.20'],
      closedByEngine: 'no container can choose a handler: run.oci annotations are dropped',
    },
  ],
};

/** A package that is installed, by dpkg. */
export interface Packages {
  /** Undefined on a machine without dpkg. */
  readonly installed: ReadonlyMap<string, string> | undefined;
}

/**
 * A finding for each runtime: its version, and the published holes that are open in it. A hole is closed by the version,
 * by Debian's package version, by Debian's change log naming it, or by a probe: `closedByProbe` are the CVE numbers that
 * were tried on this machine and did not work.
 */
export async function runtimeChecks(
  host: Host,
  { packages, closedByProbe }: { readonly packages: Packages; readonly closedByProbe: ReadonlySet<string> },
): Promise<{ readonly findings: readonly Finding[]; readonly crun: string | undefined }> {
  const there = (await Promise.all(['crun', 'runc'].map((name) => find(host, name)))).filter(
    (one) => one !== undefined,
  );
  const crun = there.find(({ name }) => name === 'crun')?.version;
  if (there.length === 0)
    return {
      findings: [
        { name: 'runtime', state: 'fail', found: 'neither crun nor runc is installed', cure: 'apt-get install crun' },
      ],
      crun,
    };
  const findings = await Promise.all(
    there.map(async ({ name, version, path }): Promise<Finding> => {
      // One that was built here is not the package's, whatever dpkg has installed beside it.
      const deb = path.startsWith('/usr/local/') ? undefined : packages.installed?.get(name);
      const log = deb === undefined ? undefined : await host.read(`/usr/share/doc/${name}/changelog.Debian.gz`);
      const open = holes[name]!.filter(
        (hole) => !hole.closedByEngine && !closedByProbe.has(hole.cve) && !isClosed(hole, { version, deb, log }),
      );
      const label = `runtime.${name}`;
      const found = deb === undefined ? version : `${version}, package ${deb}`;
      if (open.length === 0) return { name: label, state: 'ok', found };
      return {
        name: label,
        state: open.every(({ minor }) => minor) ? 'warn' : 'fail',
        found: `${found} has known holes: ${open.map(({ cve, what }) => `${cve} (${what})`).join(', ')}`,
        cure: cureFor(name, open, there.length > 1),
        holes: open.map(({ cve }) => cve),
      };
    }),
  );
  return { findings, crun };
}

const cureFor = (name: string, open: readonly Hole[], another: boolean) => {
  const wanted = open.at(-1)!.closed.join(', ');
  const instead = another ? `, or run without it: --runtime ${name === 'runc' ? 'crun' : 'runc'}` : '';
  return `apt-get update && apt-get install --only-upgrade ${name}; closed from ${wanted} on${instead}`;
};

async function find(host: Host, name: string) {
  const path = await host.which(name);
  const said = path === undefined ? undefined : await host.run(path, ['--version']);
  const version = /version (\d+\.\d+(?:\.\d+)?(?:-rc\.?\d+)?)/.exec(said ?? '')?.[1];
  return path === undefined || version === undefined ? undefined : { name, path, version };
}

export function isClosed(
  { cve, closed, debian }: Pick<Hole, 'cve' | 'closed' | 'debian'>,
  {
    version,
    deb,
    log,
  }: { readonly version: string; readonly deb?: string | undefined; readonly log?: string | undefined },
): boolean {
  if (closedByVersion(version, closed)) return true;
  if (log !== undefined && new RegExp(`\\b${cve}\\b`).test(log)) return true;
  // A newer revision of the same upstream version in the same suite keeps what an older one closed.
  return (
    deb !== undefined &&
    (debian ?? []).some((fixed) => upstream(fixed) === upstream(deb) && compareDebianVersions(deb, fixed) >= 0)
  );
}

const upstream = (version: string) => version.slice(0, version.lastIndexOf('-'));

/** Closed in the line (major and minor) that the version belongs to, or in every line from an older one on. */
function closedByVersion(version: string, closed: readonly string[]): boolean {
  const line = (of: string) => of.split('.').slice(0, 2).join('.');
  const own = closed.find((fixed) => line(fixed) === line(version));
  if (own !== undefined) return compareVersions(version, own) >= 0;
  return compareVersions(version, closed.at(-1)!) >= 0;
}

/** `1.1.5`, `1.2.0-rc3`: a release candidate comes before its release. */
function compareVersions(a: string, b: string): number {
  const normal = (version: string) => version.replace(/-rc\.?/, '~rc');
  return compareDebianVersions(normal(a), normal(b));
}
