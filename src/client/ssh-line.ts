import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { Duplex, type Readable, type Writable } from 'node:stream';
import { EngineError } from '../base/errors.ts';
import { nameOf, type SshAddress } from './address.ts';

const mostSaid = 4096;

/** A connection through ssh(1) to the command over there that passes bytes on to its engine: `berth system dial-stdio`. */
export class SshLine extends Duplex {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #address: SshAddress;
  #said = '';
  #heard = false;

  constructor(address: SshAddress) {
    super({ allowHalfOpen: true });
    this.#address = address;
    this.#child = spawn('ssh', sshWords(address), { stdio: ['pipe', 'pipe', 'pipe'] });
    const { stdin, stdout, stderr } = this.#child;
    // Who writes is told by the end of what is read.
    stdin.on('error', () => {});
    stdout.on('data', (chunk: Buffer) => {
      this.#heard = true;
      if (!this.push(chunk)) stdout.pause();
    });
    stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-mostSaid);
    });
    this.#child.once('error', (error) =>
      this.destroy(
        new EngineError('unavailable', `${nameOf(address)}: ssh cannot be run: ${error.message}`, {
          cause: error,
          hint: 'apt-get install openssh-client',
        }),
      ),
    );
    // Not at 'exit': what it said last may still be on its way.
    this.#child.once('close', (code) => {
      if (this.destroyed) return;
      if (this.#heard || code === 0) this.push(null);
      else this.destroy(this.#failed(code));
    });
  }

  ref(): void {
    this.#each('ref');
  }

  unref(): void {
    this.#each('unref');
  }

  override _read(): void {
    this.#child.stdout.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#child.stdin.write(chunk, () => done());
  }

  override _final(done: () => void): void {
    this.#child.stdin.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#child.stdin.destroy();
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
    this.#child.kill('SIGTERM');
    done(error);
  }

  #each(act: 'ref' | 'unref'): void {
    this.#child[act]();
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr])
      (stream as unknown as Partial<Record<'ref' | 'unref', () => void>>)[act]?.();
  }

  #failed(code: number | null): EngineError {
    const said = this.#said.trim().split('\n').filter(Boolean).slice(-5).join('\n  ');
    return new EngineError(
      'unavailable',
      `${nameOf(this.#address)}: ssh ended with ${code ?? 'a signal'}${said ? `:\n  ${said}` : ''}`,
      { hint: `ssh ${sshWords(this.#address).slice(3, -1).join(' ')} true, which must work without a question` },
    );
  }
}

/** ssh's words. The command over there is ours, and docker's where ours is not on the PATH; both speak to whatever engine there is. */
export function sshWords({ user, host, port, path }: SshAddress): readonly string[] {
  const at = path === undefined ? '' : ` -H ${quoted(`unix://${path}`)}`;
  const script = `c=berth; command -v berth >/dev/null 2>&1 || c=docker; exec $c${at} system dial-stdio`;
  return [
    ...['-o', 'ConnectTimeout=30', '-T'],
    ...(user === undefined ? [] : ['-l', user]),
    ...(port === undefined ? [] : ['-p', port]),
    ...['--', host],
    // Whatever shell the user has over there.
    `sh -c ${quoted(script)}`,
  ];
}

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;
