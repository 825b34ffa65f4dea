import { spawn } from 'node:child_process';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import type { Login } from './credentials.ts';
import { plain } from './terminal.ts';

/** What helpers answer who is not signed in; every one of them in these words. */
const notFound = /credentials not found/i;
/** As user name: the secret is an identity token. */
const tokenUser = '<token>';
const mostOutput = 1024 * 1024;

/** A program `docker-credential-NAME` that keeps credentials. It is spawned by its arguments, and secrets go by its stdin. */
export class CredentialHelper {
  readonly program: string;
  readonly #environment: NodeJS.ProcessEnv;

  constructor(name: string, environment: NodeJS.ProcessEnv) {
    if (!/^[\w][\w.-]*$/.test(name))
      throw new EngineError('invalid', `${JSON.stringify(name)} is no name of a credential helper`);
    this.program = `docker-credential-${name}`;
    this.#environment = environment;
  }

  async get(server: string): Promise<Login | undefined> {
    const { status, output } = await this.#run('get', server);
    if (status !== 0) {
      if (notFound.test(output)) return undefined;
      throw this.#failed('get', output);
    }
    let answer: unknown;
    try {
      answer = JSON.parse(output);
    } catch (error) {
      throw new EngineError('corrupt', `${this.program} get: the answer is not JSON`, { cause: error });
    }
    const { Username, Secret } = (answer ?? {}) as { Username?: unknown; Secret?: unknown };
    if (typeof Username !== 'string' || typeof Secret !== 'string')
      throw new EngineError('corrupt', `${this.program} get: the answer has no Username and Secret`);
    return Username === tokenUser
      ? { username: '', password: '', identityToken: Secret }
      : { username: Username, password: Secret, identityToken: '' };
  }

  async store(server: string, { username, password, identityToken }: Login): Promise<void> {
    const kept = identityToken
      ? { Username: tokenUser, Secret: identityToken }
      : { Username: username, Secret: password };
    const { status, output } = await this.#run('store', JSON.stringify({ ServerURL: server, ...kept }));
    if (status !== 0) throw this.#failed('store', output);
  }

  async erase(server: string): Promise<void> {
    const { status, output } = await this.#run('erase', server);
    if (status !== 0 && !notFound.test(output)) throw this.#failed('erase', output);
  }

  #failed(action: string, output: string): EngineError {
    return new EngineError('unavailable', `${this.program} ${action}: ${plain(output.trim()).slice(0, 300)}`, {
      hint: `try by hand: echo SERVER | ${this.program} get`,
    });
  }

  #run(action: 'get' | 'store' | 'erase', input: string): Promise<{ status: number | null; output: string }> {
    return new Promise((resolve, reject) => {
      const helper = spawn(this.program, [action], {
        env: this.#environment,
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const chunks: Buffer[] = [];
      let length = 0;
      helper.stdout.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > mostOutput) helper.kill('SIGKILL');
        else chunks.push(chunk);
      });
      helper.once('error', (error) =>
        reject(
          new EngineError('unavailable', `${this.program} cannot be run: ${codeOf(error) ?? messageOf(error)}`, {
            cause: error,
            hint: 'install it, or take credsStore and credHelpers out of the docker configuration',
          }),
        ),
      );
      helper.once('close', (status) => resolve({ status, output: Buffer.concat(chunks).toString() }));
      // It may end without having read.
      helper.stdin.on('error', () => {});
      helper.stdin.end(input);
    });
  }
}
