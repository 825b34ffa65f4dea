import type { SeccompProfile, SeccompProfileRule } from './seccomp.ts';

/**
 * The system calls that a container may make when nothing else was asked for: what Docker 28 allows, with one family less
 * (see `sockets`). Everything that is not named fails with EPERM. Names that a machine's libseccomp does not know are
 * skipped by the runtimes.
 */
export function defaultSeccompProfile(): SeccompProfile {
  const rules: SeccompProfileRule[] = [{ names: Object.values(always).flatMap(words), action: allow }];
  const allowed = (names: string, rest: Partial<SeccompProfileRule> = {}) =>
    rules.push({ names: words(names), action: allow, ...rest });

  // Before 4.8 a tracer could change a call after the filter had passed it.
  allowed('process_vm_readv process_vm_writev ptrace', { includes: { minKernel: '4.8' } });
  for (const args of sockets) allowed('socket', { args: [args] });
  for (const value of personas) allowed('personality', { args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }] });
  for (const [names, arches] of byArchitecture) allowed(names, { includes: { arches: words(arches) } });
  for (const [capability, names] of Object.entries(byCapability))
    allowed(names, { includes: { caps: [`CAP_${capability}`] } });

  // clone may make processes and threads, not namespaces; s390 has its first two arguments the other way round.
  const noNamespaces = (index: number) => [{ index, value: newNamespaces, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }];
  const unprivileged = ['CAP_SYS_ADMIN'];
  allowed('clone', { args: noNamespaces(0), excludes: { caps: unprivileged, arches: ['s390', 's390x'] } });
  allowed('clone', {
    args: noNamespaces(1),
    includes: { arches: ['s390', 's390x'] },
    excludes: { caps: unprivileged },
  });
  // Its flags are behind a pointer where no filter sees them; with ENOSYS, libc falls back to clone.
  rules.push({ names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38, excludes: { caps: unprivileged } });

  return { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1, archMap, syscalls: rules };
}

const allow = 'SCMP_ACT_ALLOW';
const words = (text: string) => text.trim().split(/\s+/);

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const newNamespaces = 0x7e020000;

const always = {
  files: `access chdir chmod chown chown32 close close_range creat dup dup2 dup3 faccessat faccessat2 fchdir fchmod
    fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 flock fstat fstat64 fstatat64 fstatfs fstatfs64 ftruncate
    ftruncate64 futimesat getcwd getdents getdents64 ioctl lchown lchown32 link linkat listmount lseek _llseek lstat
    lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 readlink readlinkat rename
    renameat renameat2 rmdir stat stat64 statfs statfs64 statmount statx symlink symlinkat truncate truncate64 umask
    unlink unlinkat utime utimensat utimensat_time64 utimes`,
  attributes: `fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
    lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat`,
  transfer: `copy_file_range fadvise64 fadvise64_64 fallocate fdatasync fsync pipe pipe2 pread64 preadv preadv2 pwrite64
    pwritev pwritev2 read readahead readv sendfile sendfile64 splice sync sync_file_range syncfs tee vmsplice write
    writev io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit`,
  waiting: `epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll ppoll_time64
    pselect6 pselect6_time64 select`,
  network: `accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair`,
  processes: `execve execveat exit exit_group fork getpgid getpgrp getpid getppid getsid gettid kill pidfd_open
    pidfd_send_signal prctl process_mrelease set_robust_list get_robust_list set_thread_area get_thread_area
    set_tid_address setpgid setsid tgkill tkill vfork wait4 waitid waitpid`,
  identity: `capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
    getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
    setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32`,
  signals: `alarm pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask
    sigreturn uretprobe`,
  memory: `brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap
    mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages`,
  locks: 'futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake rseq',
  ipc: `ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget`,
  scheduling: `getcpu getpriority ioprio_get ioprio_set sched_getaffinity sched_getattr sched_getparam
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpriority`,
  // Setting the clock needs CAP_SYS_TIME beside the call.
  time: `adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 times`,
  system: `getrandom getrlimit getrusage prlimit64 setrlimit sysinfo ugetrlimit uname riscv_hwprobe`,
  // Only ever takes rights away from the caller.
  sandboxing: 'landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp',
};

/**
 * Address families: all but AF_ALG (38, the kernel's ciphers, a way in that no container needs) and AF_VSOCK (40, which
 * reaches the hypervisor and neighbouring machines from any network namespace). Only "less than" and "equal" are safe
 * here: the filter compares 64 bits and the kernel then drops the upper 32, so 2^32 + 38 is "greater than 40" and AF_ALG.
 */
const sockets = [
  { index: 0, value: 38, op: 'SCMP_CMP_LT' },
  ...[39, 41, 42, 43, 44, 45].map((value) => ({ index: 0, value, op: 'SCMP_CMP_EQ' })),
];

/** PER_LINUX and PER_LINUX32, each with and without UNAME26, and asking what it is. */
const personas = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

const byArchitecture = [
  ['sync_file_range2 swapcontext', 'ppc64le'],
  ['arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls', 'arm arm64'],
  ['arch_prctl', 'amd64 x32'],
  ['modify_ldt', 'amd64 x32 x86'],
  ['s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr', 's390 s390x'],
  ['riscv_flush_icache', 'riscv64'],
] as const;

const byCapability: Readonly<Record<string, string>> = {
  DAC_READ_SEARCH: 'open_by_handle_at',
  SYS_ADMIN: `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
    lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd
    setdomainname sethostname setns syslog umount umount2 unshare`,
  SYS_BOOT: 'reboot',
  SYS_CHROOT: 'chroot',
  SYS_MODULE: 'delete_module finit_module init_module',
  SYS_PACCT: 'acct',
  SYS_PTRACE: 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace',
  SYS_RAWIO: 'ioperm iopl',
  SYS_TIME: 'clock_settime clock_settime64 settimeofday stime',
  SYS_TTY_CONFIG: 'vhangup',
  SYS_NICE: 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node',
  SYSLOG: 'syslog',
  BPF: 'bpf',
  PERFMON: 'perf_event_open',
};

const archMap = [
  { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
  { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
  { architecture: 'SCMP_ARCH_S390X', subArchitectures: ['SCMP_ARCH_S390'] },
  { architecture: 'SCMP_ARCH_RISCV64', subArchitectures: [] },
];
