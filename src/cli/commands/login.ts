import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { EngineError } from '../../base/errors.ts';
import { type Command, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { Credentials, serverNamed } from '../credentials.ts';
import { plain, printJson } from '../terminal.ts';

export const login: Command = {
  usage: 'login [OPTIONS] [SERVER]',
  about: 'Signs in to a registry, Docker Hub when none is named; kept where docker keeps it.',
  options: {
    username: { short: '-u', value: 'NAME', about: 'who' },
    password: { short: '-p', value: 'TEXT', about: 'better by --password-stdin: others can read arguments' },
    'password-stdin': { about: 'reads the password from stdin' },
    json: { about: 'where, as whom and what keeps it, as JSON' },
  },
  operands: { least: 0, most: 1 },
  async run(parsed) {
    const server = serverNamed(parsed.operands[0]);
    const username = parsed.value('username') ?? (await ask('Username: ', false));
    const password = parsed.flag('password-stdin')
      ? (await readStdin()).replace(/\r?\n$/, '')
      : (parsed.value('password') ?? (await ask('Password: ', true)));
    if (username === '' || password === '')
      throw new UsageError('a name and a password are needed', 'berth login -u NAME --password-stdin');
    const { IdentityToken = '' } = await withEngine((client) =>
      client.json<{ IdentityToken?: string }>('POST', '/auth', { json: { username, password, serveraddress: server } }),
    );
    const credentials = await Credentials.open();
    const kept = await credentials.store(server, { username, password, identityToken: IdentityToken });
    if (parsed.flag('json')) printJson({ server, username, keptBy: kept });
    else process.stderr.write(`signed in to ${plain(server)} as ${plain(username)}; kept by ${plain(kept)}\n`);
    return 0;
  },
};

export const logout: Command = {
  usage: 'logout [OPTIONS] [SERVER]',
  about: 'Forgets the credentials for a registry, Docker Hub when none is named.',
  options: { json: { about: 'where, and whether there was a sign-in, as JSON' } },
  operands: { least: 0, most: 1 },
  async run(parsed) {
    const server = serverNamed(parsed.operands[0]);
    const known = await (await Credentials.open()).erase(server);
    if (parsed.flag('json')) printJson({ server, signedOut: known });
    else process.stderr.write(known ? `signed out of ${plain(server)}\n` : `not signed in to ${plain(server)}\n`);
    return 0;
  },
};

async function ask(question: string, secret: boolean): Promise<string> {
  if (!process.stdin.isTTY)
    throw new UsageError('there is no terminal to ask on', 'berth login -u NAME --password-stdin');
  process.stderr.write(question);
  // What is typed is not shown: the reader echoes to nowhere.
  const output = secret ? new Writable({ write: (_, __, done) => done() }) : process.stderr;
  const reader = createInterface({ input: process.stdin, output, terminal: true });
  try {
    return await reader.question('');
  } finally {
    reader.close();
    if (secret) process.stderr.write('\n');
  }
}

async function readStdin(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > 65_536) throw new EngineError('invalid', 'what stdin has is too long for a password');
  }
  return text;
}
