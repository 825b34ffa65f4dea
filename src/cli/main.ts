import { enableCompileCache } from 'node:module';

// Before anything else is loaded: compiled code is kept between runs, which halves the start of a command.
enableCompileCache();

// Whoever read the output has gone (`berth logs web | head -1`): that is the end, as of any program on SIGPIPE.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(141);
  });

const { runCli } = await import('./cli.ts');
process.exitCode = await runCli(process.argv.slice(2));
