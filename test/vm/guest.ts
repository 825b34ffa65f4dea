/**
 * Runs inside the virtual machine after each boot: the test files that the kernel's command line names. Tells each outcome as a
 * line of JSON on the second serial line, and shuts the machine down as a person would.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { runFile } from '../../scripts/test/file.ts';

const root = '/berth/';
const files = /\bberth\.files=(\S+)/.exec(readFileSync('/proc/cmdline', 'utf8'))?.[1]?.split(',') ?? [];
process.chdir(root);
for (const name of files) {
  const outcome = await runFile({ file: root + name, name, cwd: root, seconds: 1200 });
  process.stdout.write(`${JSON.stringify({ file: name, outcome })}\n`);
}
execFileSync('systemctl', ['poweroff']);
