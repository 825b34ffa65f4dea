import type { ContainerInfo } from './container-info.ts';
import type { Ending } from './history.ts';
import { signalOf } from './words.ts';

/** What to try next, most promising first. */
export function adviceFor(container: ContainerInfo, ending: Ending): string[] {
  const { State, HostConfig } = container;
  const name = container.Name.slice(1);
  const again = `berth inspect --as run ${name}   (its command line, to change and run again)`;
  switch (State.Status) {
    case 'paused':
      return [`berth unpause ${name}`];
    case 'running':
      return State.Health?.Status === 'unhealthy'
        ? [`berth logs -n 50 ${name}`, `berth exec ${name} COMMAND   (the check's own, to see what it says)`]
        : [];
    case 'removing':
      return [`berth rm -f ${name}`];
  }
  if (ending.by === 'start') return [...startAdvice(container, ending.error), again];
  if (State.Status === 'created') return [`berth start ${name}`];
  const tries = State.Status === 'restarting' ? [`berth stop ${name}   (ends the tries)`] : [];
  if (ending.by === 'memory') {
    return HostConfig.Memory > 0
      ? [`give it more: ${again}`, 'or make its program use less, as with a smaller heap or fewer workers', ...tries]
      : ['free memory on this machine, or give its containers limits (berth run --memory)', ...tries];
  }
  if (ending.by === 'health')
    return [`berth logs -n 50 ${name}`, ...(ending.action === 'stop' ? [`berth start ${name}`] : []), again];
  if (ending.by === 'client') {
    const ignored = ending.how === 'stop' && ending.sent.length > 1 && signalOf(State.ExitCode) === 9;
    return [
      `berth start ${name}`,
      ...(ignored
        ? [
            HostConfig.Init
              ? 'its program does not end on SIGTERM: a longer time (berth stop -t 60), or another StopSignal'
              : 'its first process does not end on SIGTERM: an init passes it on (docker run --init; berth run has one)',
          ]
        : []),
    ];
  }
  const look = `berth logs -n 50 ${name}`;
  switch (State.ExitCode) {
    case 0:
      return ['a container lives as long as its program: for a service, run it in the foreground', ...tries];
    case 126:
    case 127:
      return [`${look}   (which command its script could not run)`, `berth debug ${name}   (what is in it)`, ...tries];
    case 139:
      return [look, 'a fault in the program or a library of another processor or C library', ...tries];
    default:
      return [look, again, ...tries];
  }
}

function startAdvice({ Name }: ContainerInfo, error: string): string[] {
  if (/executable file not found|no such file or directory/i.test(error))
    return ['the command is not in the image: a typing error, or another image'];
  if (/permission denied/i.test(error)) return ['the command is not executable: chmod +x in the image'];
  if (/port is already allocated|address already in use/i.test(error))
    return ['berth ports   (who has which port)', `berth start ${Name.slice(1)}   (once the port is free)`];
  if (/bind source path does not exist|mount/i.test(error)) return ['make the missing directory, or mount another one'];
  return ['berth doctor'];
}
