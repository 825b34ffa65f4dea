import { existsSync } from 'node:fs';
import { EngineError } from '../../base/errors.ts';
import { isDockerSocket } from '../../daemon/listen-places.ts';
import { type Command, didYouMean, type Parsed, UsageError } from '../command.ts';
import { planInstall, planUninstall, refuseDocker, renderPlan } from '../docker-place.ts';
import { applyPlan, lookAtPlace, realSystemctl } from '../docker-place-apply.ts';
import { engineConfig, engineOptions, engineSources } from '../engine-config.ts';
import { engineStatus, startInBackground, stopEngine } from '../engine-process.ts';
import { servicePath } from '../engine-units.ts';
import { plain, printJson } from '../terminal.ts';

/** `berth engine [start|stop|status|install]`; without a word it runs in the foreground, as a service manager wants it. */
export const engine: Command = {
  usage: 'engine [start | stop | restart | status | install | uninstall] [OPTIONS]',
  about:
    "Runs the engine in the foreground; start, stop and status run it in the background where there is no systemd;\ninstall writes a systemd unit, with --as-docker one that takes Docker's place. Stopping the engine never stops a container.",
  options: {
    ...engineOptions,
    replace: { about: "of install --as-docker: stops and disables Docker's units; uninstall gives them back" },
    'dry-run': { about: 'of install and uninstall: shows what would be done' },
    destdir: { value: 'DIR', about: 'of install and uninstall: below DIR, for packages; starts nothing' },
    validate: { about: 'of start: read the configuration, say what is wrong, and end' },
    json: { about: 'of start, stop, restart and status: the state as JSON' },
  },
  operands: { least: 0, most: 1 },
  examples: [
    'berth engine start',
    'berth engine --log-level debug',
    'berth engine install && systemctl enable --now berth',
    'berth engine install --as-docker --replace --dry-run',
  ],
  async run(parsed) {
    const [what] = parsed.operands;
    const config = engineConfig(parsed);
    const configFile = parsed.value('config');
    const say = (text: string) => {
      if (parsed.flag('json')) printJson({ ...engineStatus(config), root: config.root });
      else process.stdout.write(text);
    };
    switch (what) {
      case undefined: {
        const { runEngine } = await import('../../daemon/run.ts');
        return await runEngine(engineSources(parsed));
      }
      case 'start': {
        if (parsed.flag('validate')) {
          process.stdout.write('configuration OK\n');
          return 0;
        }
        if (config.asDocker && config.hosts.some((host) => isDockerSocket(host.replace(/^unix:\/\//, '')))) {
          const deps = { destination: '', systemctl: realSystemctl, systemd: existsSync('/run/systemd/system') };
          refuseDocker(await lookAtPlace(deps), 'stop it, or berth engine install --as-docker --replace');
        }
        const before = engineStatus(config);
        const { pid, socket } = await startInBackground(config, configFile);
        say(`engine ${before.running ? 'already runs' : 'started'}: pid ${pid}, ${socket}\n`);
        return 0;
      }
      case 'stop':
        say((await stopEngine(config)) ? 'engine stopped; containers run on\n' : 'engine is not running\n');
        return 0;
      case 'restart': {
        await stopEngine(config);
        const { pid, socket } = await startInBackground(config, configFile);
        say(`engine restarted: pid ${pid}, ${socket}\n`);
        return 0;
      }
      case 'status': {
        const { running, pid, socket } = engineStatus(config);
        say(
          running
            ? `engine runs: pid ${pid}, ${socket}, data in ${config.root}\n`
            : `engine is not running (data in ${config.root})\n`,
        );
        return running ? 0 : 3;
      }
      case 'install':
      case 'uninstall':
        return await place(parsed, what);
      default:
        throw new UsageError(
          `no such engine command: ${plain(what)}${didYouMean(what, ['start', 'stop', 'restart', 'status', 'install', 'uninstall'])}`,
          'berth engine --help',
        );
    }
  },
};

/** Writes and removes units; shows first what it will do. */
async function place(parsed: Parsed, what: 'install' | 'uninstall'): Promise<number> {
  const destination = parsed.value('destdir') ?? '';
  const asDocker = parsed.flag('as-docker');
  const dryRun = parsed.flag('dry-run');
  if (parsed.flag('replace') && !(asDocker && what === 'install'))
    throw new UsageError('--replace belongs to install --as-docker', 'berth engine --help');
  if (process.getuid?.() !== 0 && !dryRun && destination === '')
    throw new EngineError('forbidden', `writing ${servicePath} needs root`, { hint: `sudo berth engine ${what}` });
  if (destination === '' && !existsSync('/etc/systemd/system'))
    throw new EngineError('unsupported', 'this machine has no systemd: there is no /etc/systemd/system', {
      hint: asDocker ? 'berth engine start --as-docker' : 'berth engine start',
    });
  const deps = {
    destination,
    systemctl: realSystemctl,
    systemd: destination === '' && existsSync('/run/systemd/system'),
  };
  const facts = await lookAtPlace(deps);
  const plan =
    what === 'uninstall'
      ? planUninstall(facts)
      : planInstall(facts, { asDocker, replace: parsed.flag('replace'), configFile: parsed.value('config') });
  process.stdout.write(renderPlan(plan));
  if (dryRun) return 0;
  const undo = asDocker && what === 'install' ? async () => planUninstall(await lookAtPlace(deps)) : undefined;
  await applyPlan(plan, deps, undo);
  process.stdout.write(plan.steps.length > 0 ? 'done\n' : '');
  return 0;
}
