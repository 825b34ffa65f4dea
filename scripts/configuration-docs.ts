import { writeFileSync } from 'node:fs';
import { defaultConfigFile, flagOf, settings, variableOf } from '../src/daemon/config.ts';

/** docs/configuration.md, from the one schema. `node scripts/configuration-docs.ts` writes it; test/docs.test.ts holds it. */
export function configurationDocs(): string {
  const rows = Object.values(settings).map(({ key, default: fallback, form, about }) => {
    const text = typeof fallback === 'string' ? fallback : JSON.stringify(fallback);
    const shown = text === '' || text === '[]' || text === '{}' ? 'none' : `\`${text}\``;
    return `| \`${key}\` | \`${flagOf(key)}\` | \`${variableOf(key)}\` | ${shown} | ${about}; ${form} |`;
  });
  return `# Configuration

Every setting can stand in the file, in the environment and among the flags of \`berth engine\`; flags win over the
environment, the environment over the file, the file over the defaults. The file is JSON, \`${defaultConfigFile}\` where it
exists, or the one that \`--config\` or \`BERTH_CONFIG\` names:

\`\`\`json
{ "logLevel": "debug", "insecureRegistries": ["registry.example:5000", "10.0.0.0/8"], "stopTimeout": 20 }
\`\`\`

The proxy settings have a last resort below the file: HTTP_PROXY, HTTPS_PROXY and NO_PROXY (or in small letters) of the engine's
own environment, as for other programs. A setting that is there and empty means no proxy. This machine (localhost, 127.0.0.0/8,
::1) is never reached through one. \`docker info\` shows them without user and password.

What is wrong is refused before anything is opened, with its source and what it may be:

\`\`\`
berth: /etc/berth/berth.json: logLevel: expected one of debug, info, warn, error, got "loud"
\`\`\`

The CLI finds the engine by \`-H\` or \`BERTH_HOST\`, by \`BERTH_SOCKET\`, else by \`socket\` in the file, else in the usual place.

| key in the file | flag | variable | default | what it is |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`;
}

if (import.meta.main) writeFileSync(new URL('../docs/configuration.md', import.meta.url), configurationDocs());
