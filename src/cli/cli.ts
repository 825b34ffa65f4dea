import { messageOf } from '../base/errors.ts';
import { didYouMean, helpFor, parseArguments, UsageError } from './command.ts';
import type { Entry } from './complete.ts';
import { plain, printError } from './terminal.ts';

/** Every command, loaded when it is asked for: starting `berth ps` reads none of the others. */
const commands: Readonly<Record<string, Entry>> = {
  quickstart: {
    about: 'from nothing to a container that serves a page, step by step',
    load: async () => (await import('./commands/quickstart.ts')).quickstart,
  },
  run: {
    about: 'create a container from an image and start it',
    load: async () => (await import('./commands/run.ts')).run,
  },
  ps: { about: 'list containers', load: async () => (await import('./commands/ps.ts')).ps },
  ports: {
    about: 'say who can reach each published port, and what the firewall makes of it',
    load: async () => (await import('./commands/ports.ts')).ports,
  },
  why: {
    about: 'say why a container is in the state that it is in, and what to try',
    load: async () => (await import('./commands/why.ts')).why,
  },
  logs: { about: "show a container's output", load: async () => (await import('./commands/logs.ts')).logs },
  exec: { about: 'run a command in a running container', load: async () => (await import('./commands/exec.ts')).exec },
  debug: {
    about: 'open a shell beside a container that has none',
    load: async () => (await import('./commands/debug.ts')).debug,
  },
  start: { about: 'start stopped containers', load: async () => (await import('./commands/lifecycle.ts')).start },
  stop: { about: 'stop running containers', load: async () => (await import('./commands/lifecycle.ts')).stop },
  restart: {
    about: 'stop containers and start them again',
    load: async () => (await import('./commands/lifecycle.ts')).restart,
  },
  kill: { about: 'send a signal to containers', load: async () => (await import('./commands/lifecycle.ts')).kill },
  rm: { about: 'remove containers', load: async () => (await import('./commands/lifecycle.ts')).rm },
  cp: {
    about: 'copy files between a container and this machine',
    load: async () => (await import('./commands/files.ts')).cp,
  },
  diff: {
    about: 'list what a container changed over its image',
    load: async () => (await import('./commands/files.ts')).diff,
  },
  export: {
    about: "write a container's files as a tar",
    load: async () => (await import('./commands/files.ts')).exportFiles,
  },
  commit: {
    about: 'make an image of a container',
    load: async () => (await import('./commands/files.ts')).commit,
  },
  stats: { about: 'show what containers use', load: async () => (await import('./commands/stats.ts')).stats },
  update: {
    about: 'change limits and the restart policy of containers',
    load: async () => (await import('./commands/update.ts')).update,
  },
  volume: {
    about: 'list, create, inspect and remove volumes',
    load: async () => (await import('./commands/volume.ts')).volume,
  },
  prune: { about: 'remove what is not in use', load: async () => (await import('./commands/prune.ts')).prune },
  inspect: {
    about: 'show all that is known of a container or an image',
    load: async () => (await import('./commands/inspect.ts')).inspect,
  },
  pull: { about: 'get an image from a registry', load: async () => (await import('./commands/images.ts')).pull },
  push: { about: 'put an image into a registry', load: async () => (await import('./commands/push.ts')).push },
  load: { about: 'get images from an archive', load: async () => (await import('./commands/image-archives.ts')).load },
  save: {
    about: 'write images into an archive',
    load: async () => (await import('./commands/image-archives.ts')).save,
  },
  import: {
    about: 'make an image of a root file system',
    load: async () => (await import('./commands/image-archives.ts')).importImage,
  },
  images: { about: 'list images', load: async () => (await import('./commands/images.ts')).images },
  tag: { about: 'give an image another name', load: async () => (await import('./commands/images.ts')).tag },
  rmi: { about: 'remove images', load: async () => (await import('./commands/images.ts')).rmi },
  image: { about: 'remove images that nobody uses', load: async () => (await import('./commands/images.ts')).image },
  login: { about: 'sign in to a registry', load: async () => (await import('./commands/login.ts')).login },
  logout: { about: 'forget a sign-in', load: async () => (await import('./commands/login.ts')).logout },
  engine: {
    about: 'run, start, stop, install the engine',
    load: async () => (await import('./commands/engine.ts')).engine,
  },
  doctor: {
    about: 'check this machine, say what is wrong and the cure',
    load: async () => (await import('./commands/doctor.ts')).doctor,
  },
  completion: {
    about: 'make a shell complete commands and names',
    load: async () => (await import('./commands/completion.ts')).completionOf(commands),
  },
  version: {
    about: 'show the versions of the CLI and the engine',
    load: async () => (await import('./commands/version.ts')).version,
  },
};

/** Aliases that people type because docker has them. */
const aliases: Readonly<Record<string, string>> = { ls: 'ps', remove: 'rm', status: 'ps' };

/** Runs one command line and returns its exit code. */
export async function runCli(args: readonly string[]): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined || first === 'help' || first === '--help' || first === '-h') {
    const asked = commands[rest[0] ?? ''];
    process.stdout.write(asked ? helpFor(await asked.load()) : overview());
    return 0;
  }
  const name = first === '--version' || first === '-v' ? 'version' : (aliases[first] ?? first);
  try {
    const entry = commands[name];
    if (!entry) throw unknownCommand(first);
    const command = await entry.load();
    const own = command.passThrough ? rest.slice(0, firstOperand(rest)) : rest;
    // -h is --hostname where docker has it so.
    const short = Object.values(command.options).some((option) => option.short === '-h') ? '--help' : '-h';
    if (own.includes('--help') || own.includes(short)) {
      process.stdout.write(helpFor(command));
      return 0;
    }
    return await command.run(
      parseArguments(name, command, first === '--version' || first === '-v' ? ['--short'] : rest),
    );
  } catch (error) {
    // Not by class: the bundles of the larger commands have classes of their own.
    const { hint, exitCode } = (error ?? {}) as { hint?: unknown; exitCode?: unknown };
    printError(messageOf(error), typeof hint === 'string' ? hint : undefined);
    return typeof exitCode === 'number' ? exitCode : 1;
  }
}

/** What docker has and this has not: the engine answers to docker's own CLI. */
const dockerOnly =
  'attach builder build buildx commit compose container context cp create diff events export history import info login logout network pause plugin port prune push rename save search stats swarm system top unpause update volume wait';

function unknownCommand(typed: string): UsageError {
  if (typed.startsWith('-')) return new UsageError(`unknown flag: ${plain(typed)}`, 'berth --help');
  if (dockerOnly.split(' ').includes(typed))
    return new UsageError(
      `no such command: ${typed}; it is docker's, whose CLI speaks to this engine too`,
      `DOCKER_HOST=unix:///run/berth/berth.sock docker ${typed}, or berth --help`,
    );
  return new UsageError(`no such command: ${plain(typed)}${didYouMean(typed, Object.keys(commands))}`, 'berth --help');
}

/** Where the options of a pass-through command surely end: at the first word without a dash that is no option's value. */
function firstOperand(words: readonly string[]): number {
  const at = words.findIndex((word, index) => !word.startsWith('-') && !(words[index - 1] ?? '').startsWith('-'));
  return at < 0 ? words.length : at;
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`);
  return `berth: containers, faster, and nothing is lost\n\nCommands:\n${lines.join('\n')}\n\n'berth COMMAND --help' tells more. Everything that speaks to Docker speaks to the engine:\n  export DOCKER_HOST=unix:///run/berth/berth.sock\n`;
}
