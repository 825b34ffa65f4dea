import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startError } from './start-error.ts';

const run =
  'failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: ';
const cases: [said: string, program: string, exitCode: 125 | 126 | 127, message: string][] = [
  [
    'executable file `nosuch` not found in $PATH: No such file or directory',
    'nosuch',
    127,
    'unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown',
  ],
  [
    'executable file `/nosuch` not found in $PATH: No such file or directory',
    '/nosuch',
    127,
    'unable to start container process: exec: "/nosuch": stat /nosuch: no such file or directory: unknown',
  ],
  [
    'open executable: Permission denied',
    '/etc/x',
    126,
    'unable to start container process: exec: "/etc/x": permission denied: unknown',
  ],
  [
    'open executable: Operation not permitted',
    '/bin',
    126,
    'unable to start container process: exec: "/bin": permission denied: unknown',
  ],
  [
    'chdir `/root/x`: Permission denied',
    'sh',
    126,
    'unable to start container process: error during container init: chdir to cwd ("/root/x") set in config.json failed: permission denied: unknown',
  ],
  [
    'runc run failed: unable to start container process: exec: "nosuch": executable file not found in $PATH',
    'nosuch',
    127,
    'unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown',
  ],
  [
    'runc run failed: unable to start container process: error during container init: error mounting "/a" to rootfs at "/b": not a directory',
    'sh',
    127,
    'unable to start container process: error during container init: error mounting "/a" to rootfs at "/b": not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type',
  ],
  [
    'mount `/a` to `b`: Invalid argument',
    'sh',
    125,
    'unable to start container process: error during container init: mount `/a` to `b`: invalid argument: unknown',
  ],
  [
    'the runtime exited with status 1',
    'sh',
    125,
    'unable to start container process: error during container init: the runtime exited with status 1: unknown',
  ],
];

for (const [said, program, exitCode, message] of cases)
  test(`Docker's words for: ${said}`, () => {
    const error = startError({ kind: 'run', program, cwd: '/' }, said);
    assert.equal(error.message, run + message);
    assert.equal(error.exitCode, exitCode);
  });

test('an exec that fails has its own beginning', () => {
  const error = startError(
    { kind: 'exec', program: 'x', cwd: '/' },
    'exec failed: unable to start container process: exec: "x": executable file not found in $PATH',
  );
  assert.equal(
    error.message,
    'OCI runtime exec failed: exec failed: unable to start container process: exec: "x": executable file not found in $PATH: unknown',
  );
});
