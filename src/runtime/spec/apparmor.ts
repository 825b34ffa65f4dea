import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { EngineError, messageOf } from '../../base/errors.ts';

export const appArmorProfileName = 'berth-default';

/**
 * Equal in effect to Docker's docker-default: a container may do everything that its capabilities let it, but write where
 * /proc and /sys reach the kernel or the host, mount, and trace or signal processes outside. (/proc/bus too, which Docker's
 * patterns miss.)
 */
export const appArmorProfile = `#include <tunables/global>

profile ${appArmorProfileName} flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,
  deny mount,

  # Signals come from the host, from runtimes that are confined themselves, and from each other.
  signal (receive) peer={unconfined,runc,crun},
  signal (send,receive) peer=${appArmorProfileName},
  ptrace (trace,read,tracedby,readby) peer=${appArmorProfileName},

  # Of /proc, only processes' own directories and sys are written, and of sys only kernel/shm*.
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9s]*,s[^y]*,sy[^s]*,sys?*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/{kcore,sysrq-trigger} rwklx,

  # Of /sys, only fs/cgroup is written.
  deny /sys/{[^f]*,f[^s]*,fs/[^c]*,fs/c[^g]*,fs/cg[^r]*}/** wklx,
  deny /sys/{firmware,kernel/security,devices/virtual/powercap}/** rwklx,
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
