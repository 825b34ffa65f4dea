import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultCapabilities } from './capabilities.ts';
import { parseSeccompProfile, resolveSeccomp, type SeccompFacts } from './seccomp.ts';
import { defaultSeccompProfile } from './seccomp-table.ts';
import { parseSecurityOptions, seccompFor } from './security.ts';

const facts: SeccompFacts = { architecture: 'x64', kernel: [6, 12], capabilities: defaultCapabilities };
const resolved = (change: Partial<SeccompFacts> = {}) =>
  resolveSeccomp(defaultSeccompProfile(), { ...facts, ...change })!;
const allowed = (name: string, change?: Partial<SeccompFacts>) =>
  resolved(change).syscalls!.some(
    (rule) => rule.names.includes(name) && rule.action === 'SCMP_ACT_ALLOW' && !rule.args,
  );

describe('defaultSeccompProfile', () => {
  it('S20 keeps from a container what opens the kernel to it', () => {
    const refused = `mount umount2 unshare setns pivot_root keyctl add_key request_key bpf perf_event_open io_uring_setup
      io_uring_enter io_uring_register kexec_load kexec_file_load reboot init_module finit_module delete_module
      open_by_handle_at userfaultfd swapon swapoff settimeofday clock_settime  iopl ioperm acct quotactl syslog
      fsopen fsmount move_mount open_tree mount_setattr lookup_dcookie kcmp clone3 vhangup`;
    for (const name of refused.split(/\s+/)) assert.equal(allowed(name), false, name);
  });

  it('allows what programs use', () => {
    for (const name of 'read openat2 execve futex epoll_wait statx rseq chroot arch_prctl prctl'.split(' '))
      assert.equal(allowed(name), true, name);
  });

  it('opens calls with the capability they belong to', () => {
    const opened: Record<string, string[]> = {
      CAP_SYS_ADMIN: ['mount', 'unshare', 'setns', 'clone3', 'clone', 'bpf'],
      CAP_SYS_PTRACE: ['kcmp', 'pidfd_getfd', 'process_madvise'],
      CAP_SYS_BOOT: ['reboot'],
      CAP_SYS_MODULE: ['finit_module'],
      CAP_SYS_TIME: ['settimeofday', 'clock_settime'],
      CAP_DAC_READ_SEARCH: ['open_by_handle_at'],
      CAP_SYS_NICE: ['mbind'],
      CAP_SYSLOG: ['syslog'],
      CAP_PERFMON: ['perf_event_open'],
    };
    for (const [capability, names] of Object.entries(opened))
      for (const name of names) {
        assert.equal(allowed(name), false, name);
        assert.equal(allowed(name, { capabilities: [capability] }), true, name);
      }
  });

  it('S20 lets clone make no namespace, on s390 too, and clone3 only say that it is not there', () => {
    const clone = (architecture: string) =>
      resolved({ architecture }).syscalls!.filter((rule) => rule.names[0] === 'clone');
    const args = (index: number) => [{ index, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }];
    assert.deepEqual(
      clone('x64').map((rule) => rule.args),
      [args(0)],
    );
    assert.deepEqual(
      clone('s390x').map((rule) => rule.args),
      [args(1)],
    );
    const clone3 = resolved().syscalls!.find((rule) => rule.names.includes('clone3'));
    assert.deepEqual(clone3, { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 });
  });

  it('S20 refuses AF_ALG and AF_VSOCK also with high bits that the kernel drops', () => {
    const rules = resolved().syscalls!.filter((rule) => rule.names.includes('socket'));
    const passes = (family: number) =>
      rules.some(({ args }) =>
        args!.every(({ value, op }) => (op === 'SCMP_CMP_LT' ? family < value : family === value)),
      );
    assert.ok(rules.every(({ args }) => args!.every(({ op }) => op === 'SCMP_CMP_LT' || op === 'SCMP_CMP_EQ')));
    for (const family of [1, 2, 10, 16, 17, 37, 39, 41, 45]) assert.equal(passes(family), true, String(family));
    for (const family of [38, 40, 2 ** 32 + 38, 2 ** 32 + 40, 46]) assert.equal(passes(family), false, String(family));
  });

  it('knows architectures and kernels', () => {
    assert.deepEqual(resolved().architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']);
    assert.deepEqual(resolved({ architecture: 'arm64' }).architectures, ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']);
    assert.equal(allowed('arch_prctl', { architecture: 'arm64' }), false);
    assert.equal(allowed('cacheflush', { architecture: 'arm64' }), true);
    assert.equal(allowed('ptrace', { kernel: [4, 7] }), false);
    assert.equal(allowed('ptrace', { kernel: [4, 8] }), true);
  });

  it('names no call twice without reason', () => {
    const names = defaultSeccompProfile().syscalls[0]!.names;
    assert.equal(new Set(names).size, names.length);
  });
});

describe('parseSeccompProfile', () => {
  it("takes a user's profile with conditions", () => {
    const text = JSON.stringify({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
      syscalls: [
        { name: 'read', action: 'SCMP_ACT_ALLOW', comment: 'x' },
        { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['open'], action: 'SCMP_ACT_ALLOW', excludes: { caps: ['CAP_CHOWN'] } },
        { names: ['write'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '99.1' }, excludes: {} },
        { names: ['close'], action: 'SCMP_ACT_LOG', args: [{ index: 1, value: 5, op: 'SCMP_CMP_EQ' }], includes: null },
      ],
    });
    assert.deepEqual(resolveSeccomp(parseSeccompProfile(text), facts), {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
      syscalls: [
        { names: ['read'], action: 'SCMP_ACT_ALLOW' },
        { names: ['close'], action: 'SCMP_ACT_LOG', args: [{ index: 1, value: 5, op: 'SCMP_CMP_EQ' }] },
      ],
    });
  });

  it("refuses in Docker's words", () => {
    const refused: [unknown, RegExp][] = [
      [
        { architectures: ['x'], archMap: [{ architecture: 'x', subArchitectures: [] }] },
        /^'architectures' and 'archMap' were/,
      ],
      [{ syscalls: [{ name: 'a', names: ['b'], action: 'SCMP_ACT_ALLOW' }] }, /^'name' and 'names' were specified/],
      [{ defaultAction: 'SCMP_ACT_NOTIFY' }, /not an action that can be used here$/],
      [{ syscalls: 5 }, /^Decoding seccomp profile failed: syscalls must be a list$/],
      [{ syscalls: [{ names: ['a'], includes: { minKernel: '4' } }] }, /invalid kernel version "4"/],
      [{ syscalls: [{ names: ['a'], args: [{ index: 9, op: 'SCMP_CMP_EQ' }] }] }, /args.index/],
      [[], /the profile must be an object/],
    ];
    for (const [json, message] of refused)
      assert.throws(() => parseSeccompProfile(JSON.stringify(json)), { kind: 'invalid', message });
    assert.throws(() => parseSeccompProfile('{'), { kind: 'invalid', message: /^Decoding seccomp profile failed: / });
  });
});

describe('seccompFor', () => {
  const machine = { seccomp: true, architecture: 'x64', kernel: [6, 12] as const };
  const of = (options: string[], Privileged = false, at = machine) =>
    seccompFor(parseSecurityOptions(options), { Privileged, bounding: defaultCapabilities }, at);
  const own = 'seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}';

  it('confines unless told otherwise', () => {
    assert.equal(of([])?.defaultAction, 'SCMP_ACT_ERRNO');
    assert.equal(of(['seccomp=builtin'])?.defaultAction, 'SCMP_ACT_ERRNO');
    assert.equal(of(['seccomp=unconfined']), undefined);
    assert.equal(of(['seccomp:unconfined']), undefined);
    assert.equal(of([own])?.defaultAction, 'SCMP_ACT_ALLOW');
    assert.equal(of([], true), undefined);
    assert.equal(of([own], true)?.defaultAction, 'SCMP_ACT_ALLOW');
  });

  it('refuses a profile where the kernel has no seccomp', () => {
    const without = { ...machine, seccomp: false };
    assert.equal(of([], false, without), undefined);
    assert.throws(() => of([own], false, without), {
      message: 'seccomp is not enabled in your kernel, cannot run a custom seccomp profile',
    });
  });
});

describe('parseSecurityOptions', () => {
  it('reads every option', () => {
    assert.deepEqual(
      parseSecurityOptions([
        'label=type:x',
        'label:disable',
        'apparmor=a=b',
        'systempaths=unconfined',
        'writable-cgroups=true',
      ]),
      {
        noNewPrivileges: false,
        seccomp: undefined,
        appArmor: 'a=b',
        labels: ['type:x', 'disable'],
        systemPathsUnconfined: true,
        writableCgroups: true,
      },
    );
  });

  it("refuses in Docker's words", () => {
    const refused: [string, string][] = [
      ['foo', 'invalid --security-opt 1: "foo"'],
      ['foo=bar', 'invalid --security-opt 2: "foo=bar"'],
      ['no-new-privileges=maybe', 'invalid --security-opt 2: "no-new-privileges=maybe"'],
      ['systempaths=x', 'invalid --security-opt 2: "systempaths=x"'],
    ];
    for (const [option, message] of refused)
      assert.throws(() => parseSecurityOptions([option]), { kind: 'invalid', message });
  });
});
