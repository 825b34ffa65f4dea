import { EngineError } from '../base/errors.ts';
import type { StartFailure } from './runtime.ts';

/** A container or an exec that did not come up, in Docker's words and with the exit status of `docker run`. */
export class StartError extends EngineError implements StartFailure {
  readonly exitCode: 125 | 126 | 127;

  constructor(exitCode: 125 | 126 | 127, message: string, options: { cause?: unknown; hint?: string } = {}) {
    // 400 for what the request named and is not there or may not be run; else it is ours.
    const code = exitCode === 125 ? undefined : exitCode === 126 ? 'E_COMMAND_NOT_EXECUTABLE' : 'E_COMMAND_NOT_FOUND';
    super(exitCode === 125 ? 'internal' : 'invalid', message, { ...options, ...(code && { code }) });
    this.exitCode = exitCode;
  }
}

const prefixes = {
  run: 'failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: ',
  exec: 'OCI runtime exec failed: exec failed: ',
};

/** What a runtime said went wrong, as Docker's engine says it. `program` is the first word of the command. */
export function startError(
  { kind, program, cwd }: { readonly kind: 'run' | 'exec'; readonly program: string; readonly cwd: string },
  said: string,
): StartError {
  const whole = inRuncsWords(said, program, cwd);
  // runc has no init of its own in an exec.
  const fact = kind === 'exec' ? whole.replace('error during container init: chdir to cwd', 'chdir to cwd') : whole;
  const exitCode = exitCodeOf(fact);
  // Docker adds this where a file and a directory met.
  const advice =
    kind === 'run' && /not a directory/i.test(fact) && !/chdir to cwd/.test(fact)
      ? ': Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type'
      : '';
  return new StartError(exitCode, `${prefixes[kind]}${fact}: unknown${advice}`);
}

/** Docker's engine and its CLI tell them apart by these words. */
function exitCodeOf(fact: string): 125 | 126 | 127 {
  if (/permission denied|is a directory/i.test(fact)) return 126;
  if (/executable file not found|no such file or directory|not a directory/i.test(fact)) return 127;
  return 125;
}

function inRuncsWords(said: string, program: string, cwd: string): string {
  const message = said.trim();
  const own = /^(?:runc|container_linux\.go:\d+:)?\s*(?:run|create|exec) failed: (.*)$/s.exec(message);
  if (own) return own[1]!;
  const start = 'unable to start container process: ';
  const init = `${start}error during container init: `;
  const quoted = JSON.stringify(program);

  const missing = /^executable file [`'"]?(.*?)['`"]? not found in \$PATH/s.exec(message);
  if (missing)
    return missing[1]!.includes('/')
      ? `${start}exec: ${quoted}: stat ${missing[1]}: no such file or directory`
      : `${start}exec: ${quoted}: executable file not found in $PATH`;

  // crun: also for a directory, which its open refuses as not permitted.
  if (/^open executable: /.test(message))
    return `${start}exec: ${quoted}: ${program === '' ? 'executable file not found in $PATH' : 'permission denied'}`;

  const changed = /^(?:cannot )?chdir [`'"](.*?)['`"]: (.*)$/s.exec(message);
  if (changed)
    return `${init}chdir to cwd (${JSON.stringify(changed[1] || cwd)}) set in config.json failed: ${lowered(changed[2]!)}`;

  return `${init}${lowered(message)}`;
}

/** crun ends its messages with strerror's words, Go with its own, which are the same in lower case. */
function lowered(message: string): string {
  return message.replace(
    /(^|: )([A-Z][a-z][^:]*)$/,
    (_, before: string, words: string) => before + words.toLowerCase(),
  );
}
