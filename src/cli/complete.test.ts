import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Command } from './command.ts';
import { type CompletionDeps, complete, splitLine } from './complete.ts';
import { nearest } from './missing.ts';

const command = (usage: string, options: Command['options'] = {}, passThrough = false): Command => ({
  usage,
  about: '',
  options,
  operands: { least: 0, most: 9 },
  passThrough,
  run: async () => 0,
});
const entry = (given: Command) => ({ about: `does ${given.usage.split(' ')[0]}`, load: async () => given });
const deps: CompletionDeps = {
  commands: {
    run: entry(
      command(
        'run [OPTIONS] IMAGE [COMMAND] [ARG...]',
        {
          detach: { short: '-d', about: 'leave it' },
          name: { short: '-n', value: 'NAME', about: 'x' },
          network: { value: 'MODE', about: 'y' },
        },
        true,
      ),
    ),
    rm: entry(command('rm [OPTIONS] CONTAINER...')),
    stop: entry(command('stop [OPTIONS] CONTAINER...', { signal: { short: '-s', value: 'SIGNAL', about: '' } })),
    engine: entry(command('engine [start | stop | restart] [OPTIONS]')),
    volume: {
      about: 'volumes',
      otherwise: 'ls',
      commands: {
        ls: entry(command('volume ls [OPTIONS]', { quiet: { short: '-q', about: '' } })),
        rm: entry(command('volume rm [OPTIONS] VOLUME...')),
        stop: entry(command('stop [OPTIONS] CONTAINER...')),
      },
    },
    inspect: entry(command('inspect NAME...', { as: { value: 'run|compose', about: '' } })),
  },
  names: async (kind) =>
    ({
      containers: ['web', 'db'],
      running: ['web'],
      stopped: ['db'],
      images: ['bb:1', 'big/app:2'],
      networks: ['bridge'],
      volumes: ['data'],
    })[kind],
};
const words = async (line: string) => (await complete(line, deps)).map(({ word }) => word);

test('commands with what they do; names by the usage line; flags', async () => {
  assert.deepEqual(await complete('berth r', deps), [
    { word: 'run', about: 'does run' },
    { word: 'rm', about: 'does rm' },
  ]);
  assert.deepEqual(await words('berth rm '), ['web', 'db']);
  assert.deepEqual(await words('berth rm web d'), ['db']);
  assert.deepEqual(await words('berth stop '), ['web']);
  assert.deepEqual(await words('berth engine st'), ['start', 'stop']);
  assert.deepEqual(await words('berth inspect '), ['web', 'db', 'bb:1', 'big/app:2', 'bridge', 'data']);
  assert.deepEqual(await words('berth run --n'), ['--name', '--network']);
  assert.deepEqual(await words('berth help in'), ['inspect']);
  assert.deepEqual(await words('berth nosuch '), []);
});

test('a value belongs to its option, what follows the image to its program', async () => {
  assert.deepEqual(await words('berth run '), ['bb:1', 'big/app:2']);
  assert.deepEqual(await words('berth run -d b'), ['bb:1', 'big/app:2']);
  assert.deepEqual(await words('berth run --name '), []);
  assert.deepEqual(await words('berth run -dn x bb'), ['bb:1']);
  assert.deepEqual(await words('berth run --network '), ['bridge']);
  assert.deepEqual(await words('berth run --network=br'), ['--network=bridge']);
  assert.deepEqual(await words('berth run bb:1 -'), []);
  assert.deepEqual(await words('berth inspect --as c'), ['compose']);
  assert.deepEqual(await words('berth stop -s SIGTER'), ['SIGTERM']);
});

test('below a word: its commands, then as theirs', async () => {
  assert.deepEqual(await complete('berth volume r', deps), [{ word: 'rm', about: 'does volume' }]);
  assert.deepEqual(await words('berth volume ls -'), ['--quiet', '--help']);
  assert.deepEqual(await words('berth volume rm '), ['data']);
  assert.deepEqual(await words('berth volume stop '), ['web']);
  assert.deepEqual(await words('berth volume nosuch '), []);
});

test('a line is read as a shell reads it', () => {
  assert.deepEqual(splitLine('berth run  -e "a b" c\\ d'), ['berth', 'run', '-e', 'a b', 'c d']);
  assert.deepEqual(splitLine('berth ps '), ['berth', 'ps', '']);
});

test('the name that was meant: images without their registry and tag too', () => {
  assert.equal(nearest('wbe', ['web', 'db']), 'web');
  assert.equal(nearest('postgress', ['db', 'postgres:latest']), 'postgres:latest');
  assert.equal(nearest('quite-other', ['web', 'db']), undefined);
});
