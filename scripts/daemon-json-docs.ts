import { writeFileSync } from 'node:fs';
import { dockerKeys } from '../src/daemon/docker-keys.ts';

/** docs/daemon-json.md, from the one table. `node scripts/daemon-json-docs.ts` writes it; test/docs.test.ts holds it. */
export function daemonJsonDocs(): string {
  const heads = { setting: 'yes', always: 'as it is', no: 'no' } as const;
  const rows = dockerKeys.map(({ key, honoured, about }) => `| \`${key}\` | ${heads[honoured]} | ${about} |`);
  return `# Docker's daemon.json

In Docker's place (\`--as-docker\`) the engine reads \`/etc/docker/daemon.json\`, where it exists; else the file that the setting
\`daemonJson\` names. Flags, the environment and Berth's own file stand above it. What dockerd refuses is refused: a file that
is not JSON (with line and column), keys that are none, values of another form, and a key that a flag says too. The engine's log
and \`berth doctor\` name every key in the file that does nothing. \`berth engine start --validate\` reads it and ends.

SIGHUP (\`systemctl reload berth\`) reads the files again: \`labels\`, \`debug\`, \`log-level\`, \`default-runtime\`, \`insecure-registries\`,
\`registry-mirrors\`, \`max-concurrent-downloads\`, \`max-concurrent-uploads\` and \`shutdown-timeout\` change at once, everything else at the next start of the engine, which no container notices. A file with
a mistake changes nothing and is named in the log. \`docker events\` shows \`daemon reload\`.

\`data-root\` and \`exec-root\` mean a folder \`berth\` in them: nothing of dockerd's is touched. A port in \`hosts\` is served with TLS
only.

Every key of Docker 28.5: *yes* is a setting of the engine ([all of them](configuration.md)), *as it is* is how Berth works anyway, *no* is
read and does nothing.

| key | honoured | how, or why not |
| --- | --- | --- |
${rows.join('\n')}
`;
}

if (import.meta.main) writeFileSync(new URL('../docs/daemon-json.md', import.meta.url), daemonJsonDocs());
