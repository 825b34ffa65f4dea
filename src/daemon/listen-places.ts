import type { FurtherPlace } from '../api/further-sockets.ts';
import { EngineError } from '../base/errors.ts';
import { type Config, dockerSocket } from './config.ts';

/** The first descriptor that systemd passes (sd_listen_fds(3)). */
const firstPassed = 3;

/**
 * What `hosts` names, in dockerd's forms. `passed` is how many sockets the service manager has opened for this process: they
 * stand for `fd://`, and in Docker's place for its socket. Throws `invalid`.
 */
export function listenPlaces(
  { hosts, tls, tlsVerify, tlsCert, tlsKey, tlsCaCert, socket, asDocker }: Config,
  { passed, gid }: { readonly passed: number; readonly gid: number | undefined },
): readonly FurtherPlace[] {
  const descriptors = Array.from(
    { length: passed },
    (_, index): FurtherPlace => ({ kind: 'descriptor', fd: firstPassed + index }),
  );
  let taken = false;
  const places = hosts.flatMap((host): readonly FurtherPlace[] => {
    const wrong = (why: string) => new EngineError('invalid', `hosts: ${JSON.stringify(host)}: ${why}`);
    const [scheme = '', rest = ''] = host.split(/:\/\/(.*)/s);
    if (scheme === 'fd') {
      if (passed === 0)
        throw wrong('no sockets found via socket activation: make sure the service was started by systemd');
      taken = true;
      return descriptors;
    }
    if (scheme === 'unix') {
      if (!/^\/[^\0]{1,106}$/.test(rest)) throw wrong('expected unix:///PATH of at most 107 bytes');
      if (rest === socket) return [];
      if (asDocker && passed > 0 && isDockerSocket(rest)) {
        taken = true;
        return descriptors;
      }
      return [{ kind: 'unix', path: rest, mode: 0o660, gid }];
    }
    if (scheme !== 'tcp') throw wrong('expected unix://PATH, tcp://HOST:PORT or fd://');
    if (!tls && !tlsVerify)
      throw wrong(
        'a port is served with TLS only: set tlsverify, tlscacert, tlscert and tlskey; or use docker -H ssh://',
      );
    const [, name, port] = /^(\[[\da-f:]+\]|[\w.-]*):(\d{1,5})\/?$/i.exec(rest) ?? [];
    if (name === undefined || Number(port) > 65535) throw wrong('expected tcp://HOST:PORT');
    return [
      {
        kind: 'tcp',
        host: name.replace(/^\[|\]$/g, '') || '127.0.0.1',
        port: Number(port),
        tls: { cert: tlsCert, key: tlsKey, ca: tlsVerify ? tlsCaCert : undefined },
      },
    ];
  });
  if (passed > 0 && !taken)
    throw new EngineError('invalid', 'systemd opened a socket that hosts does not name', {
      hint: 'add "fd://" to hosts, or disable berth.socket',
    });
  return places;
}

/** /var/run is a link to /run. */
export function isDockerSocket(path: string): boolean {
  const own = dockerSocket.slice('unix://'.length);
  return path === own || path === own.replace(/^\/var/, '');
}

/** How many sockets systemd opened for this process; what is for another one is not ours. */
export function passedSockets(env: Readonly<Record<string, string | undefined>>, pid: number): number {
  return env['LISTEN_PID'] === String(pid) && /^\d{1,3}$/.test(env['LISTEN_FDS'] ?? '') ? Number(env['LISTEN_FDS']) : 0;
}
