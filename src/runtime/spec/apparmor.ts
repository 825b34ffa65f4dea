import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { EngineError, messageOf } from '../../base/errors.ts';

export const appArmorProfileName = 'berth-default';

/**
 * Equal in effect to Docker's docker-default: everything but writes to /proc and /sys that reach the kernel or the host,
 * mounting, and tracing processes outside. A runtime and the engine may signal what is confined.
 */
export const appArmorProfile = `#include <tunables/global>

profile ${appArmorProfileName} flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,

  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (send,receive) peer=${appArmorProfileName},

  # Only the processes' own files below /proc are writable.
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,

  deny mount,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,

  ptrace (trace,read,tracedby,readby) peer=${appArmorProfileName},
}
`;

/**
 * Loads the default profile where it is not loaded: system upgrades unload profiles that are not in /etc/apparmor.d, so
 * this is asked before each start. Does nothing where the kernel has no AppArmor.
 */
export async function ensureAppArmorProfile(securityfs = '/sys/kernel/security/apparmor'): Promise<void> {
  let loaded: string;
  try {
    loaded = await readFile(`${securityfs}/profiles`, 'utf8');
  } catch {
    return;
  }
  if (loaded.split('\n').some((line) => line.startsWith(`${appArmorProfileName} (`))) return;
  try {
    const parser = promisify(execFile)('apparmor_parser', ['-Kr'], { timeout: 10_000 });
    parser.child.stdin?.end(appArmorProfile);
    await parser;
  } catch (cause) {
    throw new EngineError('unavailable', `load AppArmor profile ${appArmorProfileName}: ${messageOf(cause)}`, {
      cause,
      hint: 'apt-get install apparmor, or run without it: --security-opt apparmor=unconfined',
    });
  }
}
