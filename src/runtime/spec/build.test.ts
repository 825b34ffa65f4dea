import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EngineError } from '../../base/errors.ts';
import { buildSpec, userAnnotations, workingDirectory } from './build.ts';
import { capabilityNames, defaultCapabilities } from './capabilities.ts';
import { specJson } from './json.ts';
import { sampleInput } from './sample.ts';

const invalid = (message: string | RegExp) => (error: unknown) => {
  assert.ok(error instanceof EngineError);
  assert.equal(error.kind, 'invalid');
  if (typeof message === 'string') assert.equal(error.message, message);
  else assert.match(error.message, message);
  return true;
};

describe('buildSpec', () => {
  it('S20 confines a container that asked for nothing', () => {
    const { process, linux, root } = buildSpec(sampleInput());
    assert.deepEqual(new Set(process.capabilities?.bounding), new Set(defaultCapabilities));
    assert.equal(process.capabilities?.bounding?.length, 14);
    assert.equal(linux.seccomp?.defaultAction, 'SCMP_ACT_ERRNO');
    for (const path of [
      '/proc/kcore',
      '/proc/keys',
      '/proc/interrupts',
      '/sys/firmware',
      '/sys/devices/virtual/powercap',
    ])
      assert.ok(linux.maskedPaths?.includes(path), path);
    for (const path of ['/proc/sys', '/proc/sysrq-trigger', '/proc/bus', '/proc/fs', '/proc/irq'])
      assert.ok(linux.readonlyPaths?.includes(path), path);
    assert.deepEqual(linux.resources?.devices?.[0], { allow: false, access: 'rwm' });
    assert.deepEqual(
      linux.namespaces.map(({ type }) => type),
      ['mount', 'network', 'uts', 'pid', 'ipc'],
    );
    assert.equal(root.readonly, false);
    assert.equal(linux.cgroupsPath, '/berth/c1');
  });

  it('joins a user namespace that is made already, with its maps', () => {
    const gids = [{ inside: 0, outside: 200_000, count: 1000 }];
    const userNamespace = { path: '/bundle/user', uids: [{ inside: 0, outside: 100_000, count: 65_536 }], gids };
    const { linux } = buildSpec({ ...sampleInput(), userNamespace });
    assert.deepEqual(linux.namespaces[1], { type: 'user', path: '/bundle/user' });
    assert.deepEqual(linux.uidMappings, [{ containerID: 0, hostID: 100_000, size: 65_536 }]);
    assert.deepEqual(linux.gidMappings, [{ containerID: 0, hostID: 200_000, size: 1000 }]);
    // The kernel takes no group there that the namespace has not.
    assert.equal(linux.sysctl?.['net.ipv4.ping_group_range'], '0 999');
    assert.equal(buildSpec(sampleInput()).linux.uidMappings, undefined);
  });

  it('S19 gives nobody inheritable or ambient capabilities, and users other than root none at the start', () => {
    const of = (uid: number, host = {}) =>
      buildSpec(sampleInput({ user: { uid, gid: 5, additionalGids: [5] }, host })).process.capabilities!;
    for (const host of [{}, { CapAdd: ['ALL'] }, { Privileged: true }])
      for (const uid of [0, 1000]) {
        assert.deepEqual(of(uid, host).inheritable, []);
        assert.deepEqual(of(uid, host).ambient, []);
      }
    assert.equal(of(0).effective?.length, 14);
    assert.deepEqual([of(1000).effective, of(1000).permitted, of(1000).bounding?.length], [[], [], 14]);
  });

  it('S19 sets no_new_privs when asked', () => {
    for (const option of ['no-new-privileges', 'no-new-privileges:true', 'no-new-privileges=true'])
      assert.equal(buildSpec(sampleInput({ host: { SecurityOpt: [option] } })).process.noNewPrivileges, true);
    for (const SecurityOpt of [null, ['no-new-privileges=false']])
      assert.equal(buildSpec(sampleInput({ host: { SecurityOpt } })).process.noNewPrivileges, false);
  });

  it('gives a privileged container what the engine has', () => {
    const has = new Set(capabilityNames.filter((name) => name !== 'CAP_SYS_RESOURCE'));
    const spec = buildSpec(sampleInput({ host: { Privileged: true }, machine: { capabilities: has } }));
    assert.deepEqual(new Set(spec.process.capabilities?.bounding), has);
    assert.equal(spec.linux.seccomp, undefined);
    assert.deepEqual([spec.linux.maskedPaths, spec.linux.readonlyPaths], [[], []]);
    assert.deepEqual(spec.linux.resources?.devices, [{ allow: true, access: 'rwm' }]);
    const options = (destination: string) => spec.mounts.find((mount) => mount.destination === destination)?.options;
    assert.ok(!options('/sys')?.includes('ro') && !options('/sys/fs/cgroup')?.includes('ro'));
  });

  it('S18 drops annotations that would reach the runtime', () => {
    assert.deepEqual(
      userAnnotations({
        'run.oci.seccomp_bpf_data': 'x',
        'run.oci.hooks.stderr': '/x',
        'RUN.OCI.handler': 'krun',
        'io.katacontainers.config.hypervisor.path': '/x',
        'org.criu.config': '/x',
        'org.example.a': '1',
        'run.ocix': '2',
      }),
      { 'org.example.a': '1', 'run.ocix': '2' },
    );
    const { annotations } = buildSpec(sampleInput({ host: { Annotations: { 'run.oci.handler': 'krun' } } }));
    assert.equal(annotations, undefined);
  });

  it('S11 starts no process in a directory that leads to what others have open', () => {
    const leading = [
      '/proc/self/fd/7',
      '/proc/thread-self/fd/3',
      '/proc//self/./fd/9',
      '/proc/1/root',
      '/proc/1/task/1/cwd',
    ];
    for (const cwd of leading) assert.throws(() => workingDirectory(cwd), invalid(/leads out of the container$/), cwd);
    assert.equal(workingDirectory('/proc/1/fd/8/../..'), '/proc/1');
    assert.equal(workingDirectory(''), '/');
    assert.equal(workingDirectory('/srv/app/'), '/srv/app');
    assert.throws(
      () => workingDirectory('rel'),
      invalid("the working directory 'rel' is invalid, it needs to be an absolute path"),
    );
  });

  it('keeps every cgroup below the root of the tree', () => {
    const path = (CgroupParent: string) => buildSpec(sampleInput({ host: { CgroupParent } })).linux.cgroupsPath;
    assert.deepEqual([path('/a/b'), path('x'), path('/../../x'), path('..')], ['/a/b/c1', '/x/c1', '/x/c1', '/c1']);
  });

  it('puts init before the program, except where another process is the first', () => {
    const init = '/usr/bin/tini-static';
    const own = buildSpec(sampleInput({ init }));
    assert.deepEqual(own.process.args, ['/sbin/docker-init', '--', 'sh']);
    assert.deepEqual(own.mounts.at(-1), {
      destination: '/sbin/docker-init',
      type: 'bind',
      source: init,
      options: ['bind', 'ro', 'rprivate'],
    });
    const joined = buildSpec(
      sampleInput({ init, namespaces: { ...sampleInput().namespaces, pid: { path: '/proc/7/ns/pid' } } }),
    );
    assert.deepEqual(joined.process.args, ['sh']);
    assert.ok(!joined.mounts.some(({ destination }) => destination === '/sbin/docker-init'));
  });

  it('joins and shares namespaces as asked', () => {
    const spec = buildSpec(
      sampleInput({
        namespaces: {
          network: { path: '/proc/7/ns/net', own: false },
          ipc: { shm: '/run/x/shm', path: '/proc/7/ns/ipc' },
          pid: 'host',
          uts: 'host',
          cgroup: 'private',
        },
      }),
    );
    assert.deepEqual(spec.linux.namespaces, [
      { type: 'mount' },
      { type: 'network', path: '/proc/7/ns/net' },
      { type: 'ipc', path: '/proc/7/ns/ipc' },
      { type: 'cgroup' },
    ]);
    assert.equal(spec.hostname, undefined);
    assert.deepEqual(spec.linux.sysctl, {});
    assert.deepEqual(spec.mounts.find(({ destination }) => destination === '/dev/shm')?.source, '/run/x/shm');
  });

  it('writes unlimited limits as the kernel has them', () => {
    const host = { Ulimits: [{ Name: 'core', Soft: 0, Hard: -1 }] };
    const json = specJson(buildSpec(sampleInput({ host })));
    assert.match(json, /"rlimits":\[\{"type":"RLIMIT_CORE","soft":0,"hard":18446744073709551615\}\]/);
    assert.equal(specJson(JSON.parse(json)), json);
    const texts = specJson(buildSpec(sampleInput({ args: ['18446744073709551615', 'Infinity'] })));
    assert.deepEqual(JSON.parse(texts).process.args, ['18446744073709551615', 'Infinity']);
  });

  it('refuses a hard limit above its own by name when it cannot raise it', () => {
    const hardLimits = { RLIMIT_NOFILE: 20000 };
    const without = new Set(capabilityNames.filter((name) => name !== 'CAP_SYS_RESOURCE'));
    const ask = (Hard: number, capabilities: ReadonlySet<string>) => () =>
      buildSpec(
        sampleInput({ host: { Ulimits: [{ Name: 'nofile', Soft: 10, Hard }] }, machine: { hardLimits, capabilities } }),
      );
    assert.throws(
      ask(20001, without),
      invalid(/^ulimit nofile=10:20001 cannot be set: the engine's own hard limit is 20000/),
    );
    assert.throws(ask(-1, without), invalid(/nofile=10:-1/));
    assert.doesNotThrow(ask(20000, without));
    assert.doesNotThrow(ask(99999, new Set(capabilityNames)));
  });

  it('applies AppArmor and SELinux only where the kernel has them', () => {
    const profile = (appArmor: boolean, host = {}) =>
      buildSpec(sampleInput({ host, machine: { appArmor } })).process.apparmorProfile;
    assert.equal(profile(false, { SecurityOpt: ['apparmor=mine'] }), undefined);
    assert.equal(profile(true), 'berth-default');
    assert.equal(profile(true, { SecurityOpt: ['apparmor=docker-default'] }), 'berth-default');
    assert.equal(profile(true, { SecurityOpt: ['apparmor=mine'] }), 'mine');
    assert.equal(profile(true, { Privileged: true }), 'unconfined');
    const labelled = buildSpec(sampleInput({ labels: { process: 'p', mount: 'm' } }));
    assert.deepEqual([labelled.process.selinuxLabel, labelled.linux.mountLabel], ['p', 'm']);
  });
});
