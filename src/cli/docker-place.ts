import { EngineError } from '../base/errors.ts';
import { servicePath, serviceUnit, socketUnit, socketUnitPath } from './engine-units.ts';

/** What `install --as-docker --replace` changed of Docker, for `uninstall` to give back. */
export const recordPath = '/etc/berth/docker-replaced.json';

export interface DockerUnit {
  readonly name: string;
  readonly enabled: boolean;
  readonly active: boolean;
}

/** The machine as it is, as far as Docker's usual place goes. A dockerd with other sockets is nobody's business. */
export interface PlaceFacts {
  /** systemd runs here. */
  readonly systemd: boolean;
  /** Who answers on /var/run/docker.sock: `berth`, another engine's name, or nobody. */
  readonly answers: string | undefined;
  /** Those that exist. */
  readonly units: readonly DockerUnit[];
  readonly dockerGroup: boolean;
  readonly dockerCommand: boolean;
  /** What an install before changed; undefined when there was none, or it changed nothing. */
  readonly record: readonly DockerUnit[] | undefined;
  /** Ours that are there: `berth.service`, `berth.socket`. */
  readonly own: readonly string[];
}

export type Step =
  | { readonly do: 'write'; readonly path: string; readonly text: string; readonly about: string }
  | { readonly do: 'remove'; readonly path: string; readonly about: string }
  | { readonly do: 'systemctl'; readonly args: readonly string[]; readonly about: string };

export interface PlacePlan {
  readonly steps: readonly Step[];
  /** For who reads the plan. */
  readonly notes: readonly string[];
}

/** Throws `conflict`, in plain words, while Docker is in its place. */
export function refuseDocker({ answers, units }: PlaceFacts, hint: string): void {
  const enabled = units.filter((unit) => unit.enabled).map(({ name }) => name);
  const active = units.filter((unit) => unit.active).map(({ name }) => name);
  const why =
    active.length > 0
      ? `Docker runs here (${active.join(', ')})`
      : answers !== undefined && answers !== 'berth'
        ? `${answers} answers on /var/run/docker.sock`
        : enabled.length > 0
          ? `Docker would be started at the next boot (${enabled.join(', ')})`
          : undefined;
  if (why !== undefined) throw new EngineError('conflict', `Docker's place is taken: ${why}`, { hint });
}

/** What an install does, in order. With `asDocker` it starts the engine too. Throws `conflict` while Docker is in its place. */
export function planInstall(
  facts: PlaceFacts,
  { asDocker, replace, configFile }: { asDocker: boolean; replace: boolean; configFile: string | undefined },
): PlacePlan {
  const service: Step = {
    do: 'write',
    path: servicePath,
    text: serviceUnit({ configFile, asDocker }),
    about: 'the unit of the engine',
  };
  const reload: readonly Step[] = facts.systemd
    ? [{ do: 'systemctl', args: ['daemon-reload'], about: 'takes it up' }]
    : [];
  if (!asDocker)
    return {
      steps: [service, ...reload],
      notes: [
        facts.systemd
          ? 'next: systemctl enable --now berth'
          : 'systemd is not running here; until it is: berth engine start',
      ],
    };
  const busy = facts.units.filter(({ enabled, active }) => enabled || active);
  if (!replace)
    refuseDocker(facts, 'berth engine install --as-docker --replace stops and disables it; --dry-run shows how');
  else if (busy.length === 0)
    // Nothing of systemd's: whoever started it has to stop it.
    refuseDocker(facts, 'stop that engine where it was started, then do this again');
  const names = busy.map(({ name }) => name);
  const replaced: readonly Step[] =
    busy.length === 0
      ? []
      : [
          {
            do: 'write',
            path: recordPath,
            // What an install before has replaced stays what is given back.
            text: `${JSON.stringify({ units: facts.record ?? busy }, undefined, 2)}\n`,
            about: 'remembers what is given back by berth engine uninstall',
          },
          { do: 'systemctl', args: ['disable', ...names], about: 'Docker is not started at boot' },
          {
            do: 'systemctl',
            args: ['stop', ...names],
            about: 'Docker stops, and its containers if it has no live-restore',
          },
        ];
  const group = facts.dockerGroup ? 'docker' : 'root';
  return {
    steps: [
      ...replaced,
      service,
      {
        do: 'write',
        path: socketUnitPath,
        text: socketUnit(group),
        about: `Docker's socket, for root${group === 'root' ? '' : ` and the group ${group}`} (660)`,
      },
      ...reload,
      ...(facts.systemd
        ? ([
            ...(facts.own.includes('berth.service')
              ? [{ do: 'systemctl', args: ['stop', 'berth.service'], about: 'containers run on' } as const]
              : []),
            { do: 'systemctl', args: ['enable', 'berth.socket', 'berth.service'], about: 'started at boot' },
            { do: 'systemctl', args: ['start', 'berth.socket', 'berth.service'], about: 'started now' },
          ] satisfies Step[])
        : []),
    ],
    notes: [
      'images, containers and volumes of Docker stay where they are, untouched',
      ...(facts.systemd ? [] : ['systemd is not running here; until it is: berth engine start --as-docker']),
      ...(facts.dockerCommand
        ? []
        : [
            'there is no docker command here: apt-get install docker-cli (Debian 13, Ubuntu), or docker-ce-cli of download.docker.com',
          ]),
    ],
  };
}

/** Takes away what installs made, and gives Docker back what the record says. */
export function planUninstall({ own, record, systemd }: PlaceFacts): PlacePlan {
  const enabled = (record ?? []).filter((unit) => unit.enabled).map(({ name }) => name);
  const active = (record ?? []).filter((unit) => unit.active).map(({ name }) => name);
  const ctl = (args: readonly string[], about: string): readonly Step[] =>
    systemd ? [{ do: 'systemctl', args, about }] : [];
  const paths = [
    ...(own.includes('berth.socket') ? [socketUnitPath] : []),
    ...(own.includes('berth.service') ? [servicePath] : []),
  ];
  if (paths.length === 0 && record === undefined) return { steps: [], notes: ['nothing is installed'] };
  return {
    steps: [
      ...(own.length > 0 ? ctl(['disable', '--now', ...own], 'the engine ends; containers run on') : []),
      ...paths.map((path): Step => ({ do: 'remove', path, about: 'ours' })),
      ...ctl(['daemon-reload'], 'takes it up'),
      ...(enabled.length > 0 ? ctl(['enable', ...enabled], 'as it was before') : []),
      ...(active.length > 0 ? ctl(['start', ...active], 'as it was before') : []),
      ...(record
        ? [{ do: 'remove', path: recordPath, about: 'what was to be given back is given back' } as const]
        : []),
    ],
    notes: ['images, containers and volumes stay; containers that run go on'],
  };
}

/** The plan as people read it. */
export function renderPlan({ steps, notes }: PlacePlan): string {
  const lines = steps.map((step) => {
    const what = step.do === 'systemctl' ? `systemctl ${step.args.join(' ')}` : `${step.do} ${step.path}`;
    return `  ${what}   (${step.about})`;
  });
  return `${[...lines, ...notes].join('\n')}\n`;
}
