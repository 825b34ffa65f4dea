/** Tests in a virtual machine with another kernel: cgroup v2, systemd, AppArmor, no EROFS over files, and real reboots. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import type { Outcome } from './file.ts';

/** Files of one boot each; the second boot finds what the first one left. */
export const boots: readonly (readonly string[])[] = [['test/vm/systemd.test.ts'], ['test/vm/rebooted.test.ts']];

const kernelFlags = 'console=ttyS0 root=/dev/vda rw panic=-1 loglevel=4 apparmor=1 security=apparmor mitigations=off';

export interface VmRun {
  readonly root: string;
  /** For everything, seconds. */
  readonly seconds: number;
}

export async function runVm({ root, seconds }: VmRun): Promise<Outcome> {
  const place = `${root}.cache/vm`;
  const until = performance.now() + seconds * 1000;
  const failed = (what: string, output: string): Outcome => ({
    passed: 0,
    failed: [`vm: ${what}\n${output}`],
    skipped: [],
  });
  const built = spawnSync('sh', [`${root}test/vm/build.sh`, place], { encoding: 'utf8', timeout: seconds * 1000 });
  if (built.status !== 0) return failed('could not be built', `${built.stdout}${built.stderr}`);
  const outcomes = new Map<string, Outcome>();
  for (const files of boots) {
    await boot(place, files, until);
    for (const line of readLines(`${place}/results`)) {
      if (!line.startsWith('{')) continue;
      const { file, outcome } = JSON.parse(line) as { file: string; outcome: Outcome };
      outcomes.set(file, outcome);
    }
    const missing = files.filter((file) => !outcomes.has(file));
    if (missing.length > 0)
      return failed(
        `${missing.join(', ')} came to no end`,
        [...readLines(`${place}/results`), ...readLines(`${place}/console`).slice(-30)].join('\n'),
      );
  }
  const all = [...outcomes.values()];
  return {
    passed: all.reduce((sum, { passed }) => sum + passed, 0),
    failed: all.flatMap((outcome) => outcome.failed),
    skipped: all.flatMap((outcome) => outcome.skipped),
  };
}

/** One life of the machine, from its start until it has switched itself off. */
async function boot(place: string, files: readonly string[], until: number): Promise<void> {
  for (const name of ['console', 'results']) rmSync(`${place}/${name}`, { force: true });
  const log = openSync(`${place}/qemu`, 'w');
  // tcg always: /dev/kvm may be there and hang.
  const machine = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-accel',
        'tcg,thread=multi',
        '-smp',
        '2',
        '-m',
        '3072',
        '-cpu',
        'max',
        '-display',
        'none',
        '-monitor',
        'none',
      ],
      ...['-no-reboot', '-nic', 'none', '-kernel', `${place}/vmlinuz`, '-initrd', `${place}/initrd.gz`],
      ...['-append', `${kernelFlags} berth.files=${files.join(',')}`],
      ...['-drive', `file=${place}/disk.img,if=virtio,format=raw,cache=unsafe`],
      ...['-serial', `file:${place}/console`, '-serial', `file:${place}/results`],
    ],
    { stdio: ['ignore', log, log] },
  );
  const stop = () => machine.kill('SIGKILL');
  process.once('exit', stop);
  const limit = setTimeout(stop, Math.max(1, until - performance.now()));
  await new Promise<void>((resolve) => {
    machine.once('exit', () => resolve());
    machine.once('error', () => resolve());
  });
  clearTimeout(limit);
  process.off('exit', stop);
}

const readLines = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').split(/\r?\n/) : []);
