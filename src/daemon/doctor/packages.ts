import type { Finding } from './finding.ts';
import type { Host } from './host.ts';
import type { Packages } from './runtimes.ts';

/** Debian packages, what they are for, and a file by which they are known where there is no dpkg. */
const wanted = [
  { name: 'libnftables1', state: 'fail', purpose: 'networks and published ports', file: 'libnftables.so.1' },
  { name: 'nftables', state: 'warn', purpose: 'looking at the rules of networks', file: 'nft' },
  { name: 'procps', state: 'warn', purpose: 'docker top with options', file: 'ps' },
  { name: 'tini', state: 'warn', purpose: 'docker run --init', file: 'tini-static' },
] as const;

const libraries = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib'];

export async function readPackages(host: Host): Promise<Packages> {
  const names = ['crun', 'runc', 'apparmor', ...wanted.map(({ name }) => name)];
  // It lists those that it knows also when it has never heard of others.
  const listed = await host.run('dpkg-query', ['-W', '-f=${Package} ${db:Status-Status} ${Version}\\n', ...names]);
  if (listed === undefined) return { installed: undefined };
  const lines = listed.split('\n').map((line) => line.split(' '));
  return {
    installed: new Map(
      lines.filter(([, state]) => state === 'installed').map(([name, , version]) => [name!, version!]),
    ),
  };
}

export async function packageChecks(host: Host, { installed }: Packages): Promise<readonly Finding[]> {
  const findings = await Promise.all(
    wanted.map(async ({ name, state, purpose, file }): Promise<Finding> => {
      const label = `package.${name}`;
      const version = installed?.get(name);
      if (version !== undefined) return { name: label, state: 'ok', found: version };
      if (await present(host, file)) return { name: label, state: 'ok', found: `${file}, not from a package` };
      return { name: label, state, found: `not installed: needed for ${purpose}`, cure: `apt-get install ${name}` };
    }),
  );
  const appArmor = await appArmorCheck(host);
  return appArmor ? [...findings, appArmor] : findings;
}

async function present(host: Host, file: string): Promise<boolean> {
  if (!file.includes('.so')) return (await host.which(file)) !== undefined;
  const facts = await Promise.all(libraries.map((directory) => host.stat(`${directory}/${file}`)));
  return facts.some((fact) => fact !== undefined);
}

/** Where the kernel has AppArmor, containers get a profile, and loading it takes a program. */
async function appArmorCheck(host: Host): Promise<Finding | undefined> {
  const enabled = await host.read('/sys/module/apparmor/parameters/enabled');
  if (!/^y/i.test(enabled ?? '')) return undefined;
  const name = 'package.apparmor';
  if (await host.which('apparmor_parser')) return { name, state: 'ok', found: 'apparmor_parser' };
  return {
    name,
    state: 'fail',
    found: 'the kernel has AppArmor, and there is no apparmor_parser to load the profile of containers with',
    cure: 'apt-get install apparmor',
  };
}
