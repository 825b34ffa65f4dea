/** Tests in a virtual machine with another kernel: cgroup v2, systemd, AppArmor, no EROFS over files, and real reboots. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { type Outcome, secondTime } from './file.ts';

/** Files of one boot each; a later boot finds what the first one left. */
const lives: readonly (readonly string[])[] = [
  ['test/vm/systemd.test.ts'],
  ['test/vm/rebooted.test.ts'],
  ['test/vm/limits.test.ts'],
];

const kernelFlags = 'console=ttyS0 root=/dev/vda rw panic=-1 loglevel=4 apparmor=1 security=apparmor mitigations=off';

export interface VmRun {
  readonly root: string;
  /** For making its disk, seconds. */
  readonly building: number;
  /** For all boots together, seconds. */
  readonly boots: number;
  /** Whether a machine that cannot be had, or does not come to its end in time, is a failure; else it was not run. */
  readonly required: boolean;
}

export async function runVm({ root, building, boots, required }: VmRun): Promise<Outcome> {
  const place = `${root}.cache/vm`;
  const none = (why: string, output: string): Outcome =>
    required
      ? { passed: 0, failed: [`vm: ${why}\n${output}`], skipped: [] }
      : { passed: 0, failed: [], skipped: [`vm: ${why}${output ? `: ${output.trim().split('\n').at(-1)}` : ''}`] };
  if (boots < 120) return none('too little time was left for it', '');
  const lacking = spawnSync('sh', [`${root}scripts/test/packages.sh`, 'missing', 'vm'], {
    encoding: 'utf8',
  }).stdout.trim();
  if (lacking) return none(`needs ${lacking.split('\n').join(', ')}`, '');
  const from = performance.now();
  const built = spawnSync('sh', [`${root}test/vm/build.sh`, place], { encoding: 'utf8', timeout: building * 1000 });
  if (built.status !== 0) return none('its disk could not be made', `${built.stdout}${built.stderr}`);
  const began = performance.now();
  const outcome = await live(place, began + boots * 1000, none);
  const ended = performance.now();
  const left = boots - (ended - began) / 1000;
  // As every other file: what fails once, and not on a new disk, is told by name.
  if (required || outcome.failed.length === 0 || left < ((ended - from) / 1000) * 1.2) return outcome;
  process.stdout.write(`${outcome.failed.join('\n').replaceAll(/^/gm, '    ')}\n  once more\n`);
  const second = await runVm({ root, building, boots: left, required });
  return second.passed + second.failed.length > 0 ? secondTime(outcome, second) : outcome;
}

/** All boots, one after the other. */
async function live(place: string, until: number, none: (why: string, output: string) => Outcome): Promise<Outcome> {
  const all: Outcome[] = [];
  for (const files of lives) {
    await boot(place, files, until);
    const told = new Map(
      readLines(`${place}/results`)
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as { file: string; outcome: Outcome })
        .map(({ file, outcome }) => [file, outcome]),
    );
    all.push(...told.values());
    const missing = files.filter((file) => !told.has(file));
    if (missing.length > 0) {
      const output = [...readLines(`${place}/results`), ...readLines(`${place}/console`).slice(-30)].join('\n');
      all.push(none(`${missing.join(', ')} came to no end in time`, output));
      break;
    }
  }
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
