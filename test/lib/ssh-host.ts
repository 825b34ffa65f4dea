import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * This machine as another one: an sshd of its own on loopback with keys of its own. Its sessions get `env` and find `programs`
 * (name to script) before all others; clients that run with `clientEnv` reach it as ssh://there.
 */
export class SshHost implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'berth-ssh-'));
  readonly #madeRun = !existsSync('/run/sshd');
  #sshd: ChildProcess | undefined;

  static async start(options: {
    readonly env: Readonly<Record<string, string>>;
    readonly programs: Readonly<Record<string, string>>;
  }): Promise<SshHost> {
    const host = new SshHost();
    try {
      await host.#start(options);
      return host;
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** For PATH: an ssh that knows where `there` is. */
  get clientPath(): string {
    return `${join(this.dir, 'client')}:${process.env.PATH}`;
  }

  /** Changes what the sessions find. */
  program(name: string, script: string): void {
    this.#write(`bin/${name}`, `#!/bin/sh\n${script}\n`, 0o755);
  }

  without(name: string): void {
    rmSync(join(this.dir, 'bin', name), { force: true });
  }

  async #start({ env, programs }: Parameters<typeof SshHost.start>[0]): Promise<void> {
    const at = (name: string) => join(this.dir, name);
    mkdirSync(at('bin'));
    mkdirSync(at('client'));
    // Where sshd keeps a part of itself that can do nothing; distributions make it at boot.
    mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    for (const key of ['host', 'user'])
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(key)], { stdio: 'ignore' });
    for (const [name, script] of Object.entries(programs)) this.program(name, script);
    const port = await freePort();
    const path = `${at('bin')}:/usr/sbin:/usr/bin:/sbin:/bin`;
    const set = Object.entries({ ...env, PATH: path }).map(([name, value]) => `"${name}=${value}"`);
    this.#write(
      'sshd_config',
      `ListenAddress 127.0.0.1
Port ${port}
HostKey ${at('host')}
AuthorizedKeysFile ${at('user.pub')}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
MaxSessions 200
SetEnv ${set.join(' ')}
`,
    );
    this.#write('known_hosts', `[127.0.0.1]:${port} ${readFileSync(at('host.pub'), 'utf8')}`);
    this.#write(
      'ssh_config',
      `Host there
  HostName 127.0.0.1
  Port ${port}
  User root
  IdentityFile ${at('user')}
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile ${at('known_hosts')}
  GlobalKnownHostsFile /dev/null
`,
    );
    this.#write('client/ssh', `#!/bin/sh\nexec /usr/bin/ssh -F ${at('ssh_config')} "$@"\n`, 0o755);
    this.#sshd = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', at('sshd_config')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    this.#sshd.stderr!.on('data', (chunk: Buffer) => {
      said += chunk;
    });
    const deadline = Date.now() + 30_000;
    while (!(await answers(port))) {
      if (this.#sshd.exitCode !== null || Date.now() > deadline) throw new Error(`sshd does not answer: ${said}`);
      await sleep(20);
    }
  }

  #write(name: string, text: string, mode = 0o600): void {
    writeFileSync(join(this.dir, name), text);
    chmodSync(join(this.dir, name), mode);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#sshd;
    if (child && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.dir, { recursive: true, force: true });
    try {
      if (this.#madeRun) rmdirSync('/run/sshd');
    } catch {
      // Another sshd took it up.
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
