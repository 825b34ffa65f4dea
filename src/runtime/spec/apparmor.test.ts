import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { appArmorProfile, ensureAppArmorProfile } from './apparmor.ts';

/** The profile's deny rules on paths, with AppArmor's globs as regular expressions (apparmor.d(5), globbing). */
const denials = [...appArmorProfile.matchAll(/^ {2}deny (\S+\/\S*) ([a-z]+),$/gm)].map(([, glob, access]) => {
  let depth = 0;
  const pattern = glob!.replace('@{PROC}', '/proc').replace(/\[\^[^\]]+\]|\*\*|[*?{},.]/g, (token) => {
    if (token === '{') depth++;
    if (token === '}') depth--;
    const plain = { '**': '.*', '*': '[^/]*', '?': '[^/]', '{': '(?:', '}': ')', '.': '\\.' }[token];
    return token === ',' ? (depth > 0 ? '|' : ',') : (plain ?? token);
  });
  return { pattern: new RegExp(`^${pattern}$`), access: access! };
});
const denied = (path: string, access: string) =>
  denials.some((rule) => rule.access.includes(access) && rule.pattern.test(path));

it('S20 the AppArmor profile denies writes that reach the kernel, and lets containers have their own', () => {
  const refused = `/proc/sysrq-trigger /proc/kcore /proc/mtrr /proc/sys/vm/drop_caches /proc/sys/kernel/core_pattern
    /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sys/fs/binfmt_misc/register /proc/acpi/wakeup /proc/bus/pci/00
    /proc/irq/1/smp_affinity /proc/scsi/scsi /proc/sysvipc/shm /proc/fs/ext4/x /proc/driver/x /proc/tty/drivers
    /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run /sys/power/state /sys/firmware/efi/efivars/x /sys/fs/ext4/x/y
    /sys/fs/bpf/x /sys/fs/fuse/connections/1 /sys/class/net/eth0/mtu /sys/devices/system/cpu/cpu0/online /sys/block/sda/x`;
  for (const path of refused.trim().split(/\s+/)) assert.equal(denied(path, 'w'), true, path);
  const own = `/proc/1/oom_score_adj /proc/4711/task/1/comm /proc/sys/kernel/shmmax /proc/sys/kernel/shmall
    /sys/fs/cgroup/memory/x /sys/fs/cgroup/cgroup.procs /tmp/x /etc/passwd /dev/null`;
  for (const path of own.trim().split(/\s+/)) assert.equal(denied(path, 'w'), false, path);
  for (const path of ['/proc/kcore', '/sys/firmware/x', '/sys/kernel/security/x', '/sys/devices/virtual/powercap/x'])
    assert.equal(denied(path, 'r'), true, path);
  assert.equal(denied('/proc/cpuinfo', 'r'), false);
  assert.match(appArmorProfile, /^ {2}deny mount,$/m);
});

it('nothing is loaded where the kernel has no AppArmor, or where the profile is there', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'apparmor-'));
  await ensureAppArmorProfile(join(directory, 'none'));
  writeFileSync(join(directory, 'profiles'), 'other (enforce)\nberth-default (enforce)\n');
  await ensureAppArmorProfile(directory);
  rmSync(directory, { recursive: true });
});
