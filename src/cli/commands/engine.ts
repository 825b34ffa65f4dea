import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { entryUrl } from '../../base/entry.ts';
import { EngineError } from '../../base/errors.ts';
import { longestShutdown } from '../../daemon/machine-shutdown.ts';
import { type Command, didYouMean, type Parsed, UsageError } from '../command.ts';
import { engineConfig, engineOptions } from '../engine-config.ts';
import { engineNodeFlags, engineStatus, startInBackground, stopEngine } from '../engine-process.ts';
import { plain, printJson } from '../terminal.ts';

/** `berth engine [start|stop|status|install]`; without a word it runs in the foreground, as a service manager wants it. */
export const engine: Command = {
  usage: 'engine [start | stop | restart | status | install] [OPTIONS]',
  about:
    'Runs the engine in the foreground; start, stop and status run it in the background where there is no systemd;\ninstall writes a systemd unit. Stopping the engine never stops a container.',
  options: { ...engineOptions, json: { about: 'of start, stop, restart and status: the state as JSON' } },
  operands: { least: 0, most: 1 },
  examples: [
    'berth engine start',
    'berth engine --log-level debug',
    'berth engine install && systemctl enable --now berth',
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
        return await runEngine(config);
      }
      case 'start': {
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
        return await install(parsed);
      default:
        throw new UsageError(
          `no such engine command: ${plain(what)}${didYouMean(what, ['start', 'stop', 'restart', 'status', 'install'])}`,
          'berth engine --help',
        );
    }
  },
};

const unitPath = '/etc/systemd/system/berth.service';

/** The unit for systemd. KillMode=process: systemd ends the engine only, never monitors and containers. */
function unit(configFile: string | undefined): string {
  const command = [
    process.execPath,
    ...engineNodeFlags,
    // By the link that every build swaps: a build's own folder goes with the third one after it.
    fileURLToPath(entryUrl('daemon/main')).replace(/\/\.build\/[^/]+\//, '/dist/'),
    ...(configFile ? ['--config', configFile] : []),
  ];
  return `[Unit]
Description=Berth container engine
Documentation=file:///usr/share/doc/berth
After=network-online.target nftables.service firewalld.service time-set.target
Wants=network-online.target

[Service]
Type=notify
ExecStart=${command.map(quoted).join(' ')}
# The engine alone is stopped and restarted; monitors, containers and the network helper live on.
KillMode=process
Restart=always
RestartSec=1
TimeoutStartSec=60
# When the machine goes down, containers get their time to stop.
TimeoutStopSec=${longestShutdown + 20}
Delegate=yes
OOMScoreAdjust=-500
LimitNOFILE=1048576
TasksMax=infinity
RuntimeDirectory=berth
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
`;
}

/** One word of a command in a unit (systemd.service, "Command lines"). */
function quoted(word: string): string {
  const plain = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /[\s"'\\;]/.test(plain) ? `"${plain.replace(/["\\]/g, '\\$&')}"` : plain;
}

async function install(parsed: Parsed): Promise<number> {
  if (process.getuid?.() !== 0)
    throw new EngineError('forbidden', `writing ${unitPath} needs root`, { hint: 'sudo berth engine install' });
  if (!existsSync('/etc/systemd/system')) {
    throw new EngineError('unsupported', 'this machine has no systemd: there is no /etc/systemd/system', {
      hint: 'berth engine start',
    });
  }
  const running = existsSync('/run/systemd/system');
  await writeFileAtomic(unitPath, unit(parsed.value('config')), { mode: 0o644 });
  if (running) execFileSync('/usr/bin/systemctl', ['daemon-reload'], { stdio: 'inherit' });
  process.stdout.write(`wrote ${unitPath}\n`);
  process.stdout.write(
    running ? 'next: systemctl enable --now berth\n' : 'systemd is not running here; until it is: berth engine start\n',
  );
  return 0;
}
