import { isIP } from 'node:net';
import { EngineError } from '../base/errors.ts';
import type { ContainerConfig, HostConfig, MountSpec } from './container.ts';
import { checkLogOptions } from './log-options.ts';
import { parseHostPort } from './ports.ts';
import { parseSignal } from './signals.ts';
import type { ApiVersion } from './version.ts';
import { checkVolumeName, cleanPath, parseBind } from './volume-spec.ts';

/** What Docker refuses when a container is made, in its words. Limits of memory and CPU are checked where they are set. */

function invalid(message: string): EngineError {
  return new EngineError('invalid', message);
}

export function checkConfig(config: ContainerConfig): void {
  if (config.WorkingDir !== '' && !config.WorkingDir.startsWith('/'))
    throw invalid(`the working directory '${config.WorkingDir}' is invalid, it needs to be an absolute path`);
  for (const variable of config.Env)
    if (variable === '' || variable.startsWith('=')) throw invalid(`invalid environment variable: ${variable}`);
  if (config.StopSignal) parseSignal(config.StopSignal);
  if (config.Hostname.length > 64 || !/^[\w.-]*$/.test(config.Hostname))
    throw invalid(`invalid hostname: ${JSON.stringify(config.Hostname)}`);
  const health = config.Healthcheck;
  if (health) {
    for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
      const duration = health[field] ?? 0;
      if (duration !== 0 && duration < 1_000_000) throw invalid(`${field} in Healthcheck cannot be less than 1ms`);
    }
    if ((health.Retries ?? 0) < 0) throw invalid('Retries in Healthcheck cannot be negative');
    const kind = health.Test?.[0];
    if (kind !== undefined && !['', 'NONE', 'CMD', 'CMD-SHELL'].includes(kind))
      throw invalid(`Unknown healthcheck type '${kind}' (expected 'CMD', 'CMD-SHELL' or 'NONE')`);
  }
  for (const path of Object.keys(config.Volumes ?? {})) {
    const target = path.includes(':') ? parseBind(path).target : path;
    if (!target.startsWith('/'))
      throw invalid(
        `invalid volume specification: '${path}': invalid mount config for type "volume": invalid mount path: '${path}' mount path must be absolute`,
      );
    if (cleanPath(target) === '/')
      throw invalid(
        `invalid volume specification: '${path}': invalid mount config for type "volume": invalid specification: destination can't be '/'`,
      );
  }
}

export function checkHostConfig(host: HostConfig, version: ApiVersion): void {
  const { Name, MaximumRetryCount } = host.RestartPolicy;
  if (!['no', 'always', 'on-failure', 'unless-stopped'].includes(Name))
    throw invalid(
      `invalid restart policy: unknown policy '${Name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  if (MaximumRetryCount < 0) throw invalid('invalid restart policy: maximum retry count cannot be negative');
  if (MaximumRetryCount !== 0 && Name !== 'on-failure')
    throw invalid(`invalid restart policy: maximum retry count can only be used with 'on-failure'`);
  if (host.AutoRemove && Name !== 'no') throw invalid(`can't create 'AutoRemove' container with restart policy`);
  for (const bindings of Object.values(host.PortBindings))
    for (const { HostIp, HostPort } of bindings ?? []) {
      parseHostPort(HostPort);
      if (HostIp !== '' && isIP(HostIp.replace(/^\[(.*)\]$/, '$1')) === 0)
        throw invalid(`invalid IP address: ${HostIp}`);
    }
  for (const entry of host.ExtraHosts ?? []) {
    const match = /^([^:=]+)[:=](.+)$/.exec(entry);
    if (!match) throw invalid(`bad format for add-host: "${entry}"`);
    if (match[2] !== 'host-gateway' && isIP(match[2]!.replace(/^\[(.*)\]$/, '$1')) === 0)
      throw invalid(`invalid IP address in add-host: "${match[2]}"`);
  }
  for (const server of host.Dns) if (isIP(server) === 0) throw invalid(`invalid IP address: ${server}`);
  if (host.Isolation !== '' && host.Isolation !== 'default')
    throw invalid(`invalid isolation (${host.Isolation}): linux only supports 'default'`);
  if (host.ShmSize < 0) throw invalid('SHM size can not be less than 0');
  if (host.OomScoreAdj < -1000 || host.OomScoreAdj > 1000)
    throw invalid(`Invalid value ${host.OomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  if (host.Annotations && version >= 1043)
    for (const name of Object.keys(host.Annotations))
      if (name === '') throw invalid('invalid Annotations: the empty string is not permitted as an annotation key');
  checkCapabilities('CapAdd', host.CapAdd);
  checkCapabilities('CapDrop', host.CapDrop);
  checkNamespaces(host);
  checkLogOptions(host.LogConfig);
  for (const { Name: name, Soft, Hard } of host.Ulimits ?? []) {
    if (!ulimits.has(name)) throw invalid(`invalid ulimit type: ${name}`);
    if (Hard !== -1 && (Soft > Hard || Soft === -1))
      throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`);
  }
  for (const { PathOnHost, CgroupPermissions } of host.Devices) {
    if (PathOnHost === '') throw invalid('invalid device specification: no path on the host');
    if (!/^[rwm]{1,3}$/.test(CgroupPermissions)) throw invalid(`invalid device mode: ${CgroupPermissions}`);
  }
  checkMounts(host, version);
}

const ulimits = new Set(
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' '),
);

const capabilities = new Set(
  `ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH
  FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE
  NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE
  SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`.split(/\s+/),
);

function checkCapabilities(field: string, names: readonly string[] | null): void {
  for (const name of names ?? []) {
    const upper = name.trim().toUpperCase();
    const known = upper.replace(/^CAP_/, '');
    if (!capabilities.has(known)) throw invalid(`invalid ${field}: unknown capability: "CAP_${known}"`);
  }
}

function checkNamespaces(host: HostConfig): void {
  const shared = (mode: string) => mode.startsWith('container:') && mode.length > 'container:'.length;
  if (!['private', 'none', 'host', 'shareable'].includes(host.IpcMode) && !shared(host.IpcMode))
    throw invalid(`invalid IPC mode: ${host.IpcMode}`);
  if (!['', 'host'].includes(host.PidMode) && !shared(host.PidMode)) throw invalid(`invalid PID mode: ${host.PidMode}`);
  if (!['', 'host'].includes(host.UTSMode)) throw invalid(`invalid UTS mode: ${host.UTSMode}`);
  // `auto` is Berth's own.
  if (!['', 'host', 'auto'].includes(host.UsernsMode)) throw invalid(`invalid user namespace mode: ${host.UsernsMode}`);
  if (!['', 'private', 'host'].includes(host.CgroupnsMode))
    throw invalid(`invalid cgroup namespace mode: ${host.CgroupnsMode}`);
}

/** What cannot go together with the network that was chosen. */
export function checkNetworkMode(config: ContainerConfig, host: HostConfig): void {
  const mode = host.NetworkMode;
  if (host.UTSMode === 'host' && config.Hostname !== '')
    throw invalid('conflicting options: hostname and the UTS mode');
  const shared = mode.startsWith('container:');
  const links = (host.Links ?? []).length > 0;
  if (mode === 'host' && links)
    throw invalid(
      `conflicting options: host type networking can't be used with links. This would result in undefined behavior`,
    );
  if (!shared) return;
  if (mode === 'container:') throw invalid('invalid network mode: invalid container format container:<name|id>');
  if (config.Hostname !== '') throw invalid('conflicting options: hostname and the network mode');
  if (links)
    throw invalid(
      `conflicting options: container type network can't be used with links. This would result in undefined behavior`,
    );
  if (host.Dns.length > 0) throw invalid('conflicting options: dns and the network mode');
  if ((host.ExtraHosts ?? []).length > 0)
    throw invalid('conflicting options: custom host-to-IP mapping and the network mode');
  if (config.MacAddress) throw invalid('conflicting options: mac-address and the network mode');
  if (Object.keys(host.PortBindings).length > 0 || host.PublishAllPorts)
    throw invalid('conflicting options: port publishing and the container type network mode');
  if (Object.keys(config.ExposedPorts ?? {}).length > 0)
    throw invalid('conflicting options: port exposing and the container type network mode');
}

function checkMounts(host: HostConfig, version: ApiVersion): void {
  const targets = new Set<string>();
  const claim = (target: string) => {
    if (targets.has(target)) throw invalid(`Duplicate mount point: ${target}`);
    targets.add(target);
  };
  for (const bind of host.Binds ?? []) claim(parseBind(bind).target);
  for (const mount of host.Mounts ?? []) {
    checkMount(mount, version);
    claim(cleanPath(mount.Target));
  }
  for (const target of Object.keys(host.Tmpfs ?? {})) {
    if (!target.startsWith('/')) throw invalid(`invalid mount path: '${target}' mount path must be absolute`);
    claim(cleanPath(target));
  }
  for (const from of host.VolumesFrom ?? []) {
    const mode = from.includes(':') ? from.slice(from.indexOf(':') + 1) : 'rw';
    if (from === '' || from.startsWith(':')) throw invalid('malformed volumes-from specification: ""');
    if (!['rw', 'ro', 'z', 'Z'].includes(mode)) throw invalid(`invalid mode: ${mode}`);
  }
}

function checkMount(mount: MountSpec, version: ApiVersion): void {
  const bad = (why: string) => invalid(`invalid mount config for type "${mount.Type ?? ''}": ${why}`);
  if (!['bind', 'volume', 'tmpfs', 'image'].includes(mount.Type)) throw bad(`mount type unknown`);
  if (mount.Type === 'image' && version < 1048) throw invalid('Mount type "Image" needs API v1.48 or newer');
  if (mount.Target === '') throw bad('field Target must not be empty');
  if (!mount.Target.startsWith('/')) throw bad(`invalid mount path: '${mount.Target}' mount path must be absolute`);
  if (cleanPath(mount.Target) === '/') throw bad(`invalid specification: destination can't be '/'`);
  const ofOthers = (field: string) => invalid(`${field} must not be specified on mount type "${mount.Type}"`);
  if (mount.Type !== 'bind' && mount.BindOptions) throw ofOthers('BindOptions');
  if (mount.Type !== 'volume' && mount.VolumeOptions) throw ofOthers('VolumeOptions');
  if (mount.Type !== 'tmpfs' && mount.TmpfsOptions) throw ofOthers('TmpfsOptions');
  if (mount.Type !== 'image' && mount.ImageOptions) throw bad('field ImageOptions must not be specified');
  switch (mount.Type) {
    case 'bind': {
      if (!mount.Source) throw bad('field Source must not be empty');
      if (!mount.Source.startsWith('/')) throw bad(`invalid mount path: '${mount.Source}' mount path must be absolute`);
      const propagation = mount.BindOptions?.Propagation ?? '';
      if (!['', 'private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'].includes(propagation))
        throw bad(`invalid propagation mode: ${propagation}`);
      if (mount.BindOptions?.IDMap && /shared|slave/.test(propagation))
        throw bad(`IDMap cannot be combined with the propagation mode ${propagation}`);
      break;
    }
    case 'volume':
      if (mount.Source) checkVolumeName(mount.Source);
      else if (mount.VolumeOptions?.Subpath) throw bad('must not set Subpath when using anonymous volumes');
      if (mount.VolumeOptions?.Subpath && !isLocal(mount.VolumeOptions.Subpath))
        throw bad('subpath must be a relative path within the volume');
      break;
    case 'tmpfs':
      if (mount.Source) throw bad('field Source must not be specified');
      if ((mount.TmpfsOptions?.SizeBytes ?? 0) < 0) throw bad('size must not be negative');
      break;
    case 'image':
      if (!mount.Source) throw bad('field Source must not be empty');
      if (mount.ImageOptions?.Subpath && !isLocal(mount.ImageOptions.Subpath))
        throw bad('subpath must be a relative path within the volume');
  }
}

function isLocal(path: string): boolean {
  let depth = 0;
  for (const part of path.split('/')) {
    if (part === '..') depth--;
    else if (part !== '' && part !== '.') depth++;
    if (depth < 0) return false;
  }
  return !path.startsWith('/');
}
