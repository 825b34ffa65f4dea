import { EngineError } from '../../base/errors.ts';
import type { Capabilities } from '../../oci/runtime-spec.ts';
import type { HostConfig } from '../../protocol/container.ts';
import type { Machine } from './input.ts';

/** linux/capability.h, in its order: the place in the list is the capability's number. */
export const capabilityNames: readonly string[] = `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID
  SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
  SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE
  AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`
  .split(/\s+/)
  .map((name) => `CAP_${name}`);

/** Docker's fourteen. */
export const defaultCapabilities: readonly string[] =
  `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP
  SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE`
    .split(/\s+/)
    .map((name) => `CAP_${name}`);

/** The set behind a mask such as CapBnd of /proc/self/status. */
export function capabilitiesOfMask(hex: string): ReadonlySet<string> {
  const mask = BigInt(`0x${hex}`);
  return new Set(capabilityNames.filter((_, bit) => (mask >> BigInt(bit)) & 1n));
}

type CapabilityRequest = Pick<HostConfig, 'CapAdd' | 'CapDrop' | 'Privileged'>;

/** The container's bounding set. Throws `invalid` in Docker's words on a name that is unknown or cannot be given. */
export function boundingSet(request: CapabilityRequest, machine: Pick<Machine, 'capabilities'>): readonly string[] {
  const add = normalized(request.CapAdd ?? [], 'CapAdd', machine);
  const drop = normalized(request.CapDrop ?? [], 'CapDrop', machine);
  const all = capabilityNames.filter((name) => machine.capabilities.has(name));
  if (request.Privileged) return all;
  if (add.includes('ALL')) return all.filter((name) => !drop.includes(name));
  // What the engine itself was started without cannot be given; Docker's default set is only what is given where it can.
  const basis = drop.includes('ALL') ? [] : defaultCapabilities.filter((name) => machine.capabilities.has(name));
  return [...new Set([...basis.filter((name) => !drop.includes(name)), ...add])];
}

function normalized(names: readonly string[], field: string, machine: Pick<Machine, 'capabilities'>) {
  return names.map((given) => {
    const upper = given.toUpperCase();
    if (upper === 'ALL') return upper;
    const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
    if (!capabilityNames.includes(name))
      throw new EngineError('invalid', `invalid ${field}: unknown capability: "${name}"`);
    // Dropping what is not there is what was asked for.
    if (field === 'CapAdd' && !machine.capabilities.has(name))
      throw new EngineError(
        'invalid',
        `invalid ${field}: capability not supported by your kernel or not available in the current environment: "${name}"`,
      );
    return name;
  });
}

/**
 * What the first process has. A user other than root gets none until it executes a program that grants some, as execve
 * would have it. Inheritable and ambient stay empty: inheritable ones would turn file capabilities of the image into
 * capabilities of any user (CVE-2022-24769).
 */
export function processCapabilities(bounding: readonly string[], uid: number): Capabilities {
  const now = uid === 0 ? bounding : [];
  return { bounding, effective: now, permitted: now, inheritable: [], ambient: [] };
}
