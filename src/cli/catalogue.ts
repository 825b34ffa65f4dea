import type { Entries } from './complete.ts';

const lifecycle = () => import('./commands/lifecycle.ts');
const files = () => import('./commands/files.ts');
const archives = () => import('./commands/image-archives.ts');
const images = () => import('./commands/images.ts');
const volumes = () => import('./commands/volume.ts');
const networks = () => import('./commands/network.ts');
const prunes = () => import('./commands/prune.ts');
const adoptions = () => import('./commands/adopt.ts');
const system = () => import('./commands/system.ts');

/** What works on containers: `berth stop` and `berth container stop` are one. */
const ofContainers = {
  run: {
    about: 'create a container from an image and start it',
    load: async () => (await import('./commands/run.ts')).run,
  },
  create: {
    about: 'create a container from an image, to be started later',
    load: async () => (await import('./commands/run.ts')).create,
  },
  ps: { about: 'list containers', load: async () => (await import('./commands/ps.ts')).ps },
  logs: { about: "show a container's output", load: async () => (await import('./commands/logs.ts')).logs },
  exec: { about: 'run a command in a running container', load: async () => (await import('./commands/exec.ts')).exec },
  attach: {
    about: 'connect this terminal with a running container',
    load: async () => (await import('./commands/attach.ts')).attach,
  },
  start: { about: 'start stopped containers', load: async () => (await import('./commands/attach.ts')).start },
  stop: { about: 'stop running containers', load: async () => (await lifecycle()).stop },
  restart: { about: 'stop containers and start them again', load: async () => (await lifecycle()).restart },
  kill: { about: 'send a signal to containers', load: async () => (await lifecycle()).kill },
  pause: { about: 'hold all processes of containers', load: async () => (await lifecycle()).pause },
  unpause: { about: 'let paused containers go on', load: async () => (await lifecycle()).unpause },
  wait: { about: 'wait for containers to end, print their exit codes', load: async () => (await lifecycle()).wait },
  rename: { about: 'give a container another name', load: async () => (await lifecycle()).rename },
  rm: { about: 'remove containers', load: async () => (await lifecycle()).rm },
  top: { about: "list a container's processes", load: async () => (await import('./commands/top.ts')).top },
  port: { about: "print a container's published ports", load: async () => (await import('./commands/top.ts')).port },
  stats: { about: 'show what containers use', load: async () => (await import('./commands/stats.ts')).stats },
  update: {
    about: 'change limits and the restart policy of containers',
    load: async () => (await import('./commands/update.ts')).update,
  },
  cp: { about: 'copy files between a container and this machine', load: async () => (await files()).cp },
  diff: { about: 'list what a container changed over its image', load: async () => (await files()).diff },
  export: { about: "write a container's files as a tar", load: async () => (await files()).exportFiles },
  commit: { about: 'make an image of a container', load: async () => (await files()).commit },
} satisfies Entries;

const ofImages = {
  pull: { about: 'get an image from a registry', load: async () => (await images()).pull },
  push: { about: 'put an image into a registry', load: async () => (await import('./commands/push.ts')).push },
  load: { about: 'get images from an archive', load: async () => (await archives()).load },
  save: { about: 'write images into an archive', load: async () => (await archives()).save },
  import: { about: 'make an image of a root file system', load: async () => (await archives()).importImage },
  tag: { about: 'give an image another name', load: async () => (await images()).tag },
  history: { about: 'list the steps that made an image', load: async () => (await system()).history },
} satisfies Entries;

const ofSystem = {
  df: { about: 'show what takes room on the disk', load: async () => (await import('./commands/df.ts')).df },
  events: { about: 'show what happens, as it happens', load: async () => (await system()).events },
  info: { about: 'show what the engine says of itself', load: async () => (await system()).info },
  prune: { about: 'remove what is not in use, after showing it', load: async () => (await prunes()).prune },
} satisfies Entries;

const inspect = async () => await import('./commands/inspect.ts');

/** Every command, loaded when it is asked for: starting `berth ps` reads none of the others. */
export const commands: Entries = {
  quickstart: {
    about: 'from nothing to a container that serves a page, step by step',
    load: async () => (await import('./commands/quickstart.ts')).quickstart,
  },
  ...ofContainers,
  ports: {
    about: 'say who can reach each published port, and what the firewall makes of it',
    load: async () => (await import('./commands/ports.ts')).ports,
  },
  why: {
    about: 'say why a container is in the state that it is in, and what to try',
    load: async () => (await import('./commands/why.ts')).why,
  },
  debug: {
    about: 'open a shell beside a container that has none',
    load: async () => (await import('./commands/debug.ts')).debug,
  },
  inspect: {
    about: 'show all that is known of a container, an image, a network or a volume',
    load: async () => (await inspect()).inspect,
  },
  images: { about: 'list images', load: async () => (await images()).images },
  rmi: { about: 'remove images', load: async () => (await images()).rmi },
  ...ofImages,
  search: { about: 'search a registry for images', load: async () => (await system()).search },
  login: { about: 'sign in to a registry', load: async () => (await import('./commands/login.ts')).login },
  logout: { about: 'forget a sign-in', load: async () => (await import('./commands/login.ts')).logout },
  ...ofSystem,
  container: {
    about: 'what works on containers: ls, inspect, prune and the verbs above',
    otherwise: 'ls',
    commands: {
      ls: ofContainers.ps,
      ...ofContainers,
      inspect: {
        about: 'show all that is known of containers',
        load: async () => (await inspect()).inspectOf('container'),
      },
      prune: { about: 'remove containers that do not run', load: async () => (await prunes()).pruneOf('container') },
    },
  },
  image: {
    about: 'what works on images: ls, inspect, prune, rm and the verbs above',
    otherwise: 'ls',
    commands: {
      ls: { about: 'list images', load: async () => (await images()).images },
      ...ofImages,
      inspect: { about: 'show all that is known of images', load: async () => (await inspect()).inspectOf('image') },
      rm: { about: 'remove images', load: async () => (await images()).rmi },
      prune: { about: 'remove images that nobody uses', load: async () => (await prunes()).pruneOf('image') },
    },
  },
  network: {
    about: 'what works on networks',
    otherwise: 'ls',
    commands: {
      ls: { about: 'list networks', load: async () => (await networks()).ls },
      create: { about: 'make a network', load: async () => (await networks()).create },
      connect: { about: 'put a container into a network', load: async () => (await networks()).connect },
      disconnect: { about: 'take a container out of a network', load: async () => (await networks()).disconnect },
      inspect: {
        about: 'show all that is known of networks',
        load: async () => (await inspect()).inspectOf('network'),
      },
      rm: { about: 'remove networks', load: async () => (await networks()).rm },
      prune: { about: 'remove networks that nobody uses', load: async () => (await prunes()).pruneOf('network') },
    },
  },
  volume: {
    about: 'what works on volumes',
    otherwise: 'ls',
    commands: {
      ls: { about: 'list volumes', load: async () => (await volumes()).ls },
      create: { about: 'make a volume', load: async () => (await volumes()).create },
      inspect: { about: 'show all that is known of volumes', load: async () => (await inspect()).inspectOf('volume') },
      rm: { about: 'remove volumes, with what is in them', load: async () => (await volumes()).rm },
      prune: {
        about: 'remove volumes that nobody uses, with what is in them',
        load: async () => (await prunes()).pruneOf('volume'),
      },
    },
  },
  system: {
    about: 'df, events, info and prune',
    commands: {
      ...ofSystem,
      'dial-stdio': {
        about: 'carry bytes between stdin, stdout and the engine, for ssh',
        load: async () => (await import('./commands/dial-stdio.ts')).dialStdio,
      },
    },
  },
  adopt: {
    about: 'take over what a Docker engine that is stopped has',
    commands: {
      docker: {
        about: 'show what of it would be taken, ask, and take it',
        load: async () => (await adoptions()).docker,
      },
      ls: { about: 'list what was adopted', load: async () => (await adoptions()).ls },
      undo: { about: 'remove what was adopted and not used since', load: async () => (await adoptions()).undo },
    },
  },
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

/** Words that people type because docker, or another, has them; the second where a group has such a word too. */
export const aliases: Readonly<Record<string, string>> = { ls: 'ps', remove: 'rm', status: 'ps', list: 'ls' };

/** What docker has and this has not: the engine answers to docker's own CLI. */
export const dockerOnly: readonly string[] =
  'build builder buildx checkpoint compose config context manifest node plugin secret service stack swarm trust'.split(
    ' ',
  );
