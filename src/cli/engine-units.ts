import { fileURLToPath } from 'node:url';
import { entryUrl } from '../base/entry.ts';
import { longestShutdown } from '../daemon/machine-shutdown.ts';
import { engineNodeFlags } from './engine-process.ts';

export const servicePath = '/etc/systemd/system/berth.service';
export const socketUnitPath = '/etc/systemd/system/berth.socket';

/** The unit for systemd. KillMode=process: systemd ends the engine only, never monitors and containers. */
export function serviceUnit({
  configFile,
  asDocker,
}: {
  readonly configFile: string | undefined;
  readonly asDocker: boolean;
}): string {
  const command = [
    process.execPath,
    ...engineNodeFlags,
    // By the link that every build swaps: a build's own folder goes with the third one after it.
    fileURLToPath(entryUrl('daemon/main')).replace(/\/\.build\/[^/]+\//, '/dist/'),
    ...(configFile ? ['--config', configFile] : []),
    ...(asDocker ? ['--as-docker', 'true'] : []),
  ];
  return `[Unit]
Description=Berth container engine${asDocker ? ", in Docker's place" : ''}
Documentation=file:///usr/share/doc/berth
After=network-online.target nftables.service firewalld.service time-set.target${asDocker ? ' berth.socket' : ''}
Wants=network-online.target
${asDocker ? 'Requires=berth.socket\nConflicts=docker.service\n' : ''}
[Service]
Type=notify
ExecStart=${command.map(quoted).join(' ')}
ExecReload=/bin/kill -HUP $MAINPID
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

/** Docker's socket, which systemd holds: a client that comes while the engine is started again waits and is served. */
export function socketUnit(group: string): string {
  return `[Unit]
Description=Docker's socket, served by Berth
Conflicts=docker.socket

[Socket]
ListenStream=/run/docker.sock
SocketMode=0660
SocketUser=root
SocketGroup=${group}

[Install]
WantedBy=sockets.target
`;
}

/** One word of a command in a unit (systemd.service, "Command lines"). */
function quoted(word: string): string {
  const plain = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /[\s"'\\;]/.test(plain) ? `"${plain.replace(/["\\]/g, '\\$&')}"` : plain;
}
