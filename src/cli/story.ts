import type { RemovedContainer } from '../containers/removed-logs.ts';
import { onUnhealthyLabel } from '../protocol/own-labels.ts';
import { adviceFor } from './advice.ts';
import type { ContainerInfo } from './container-info.ts';
import { type Ending, endingOf, milliseconds, type PastEvent, pastExits } from './history.ts';
import { humanMemory } from './terminal.ts';
import { clock, count, exitMeaning, exitWord, moment, signalName, signalOf, span } from './words.ts';

export interface StoryFacts {
  readonly container: ContainerInfo;
  /** Of this container, oldest first. */
  readonly events: readonly PastEvent[];
  /** The last lines that it wrote; undefined when they cannot be had. */
  readonly log: readonly string[] | undefined;
  /** Bytes that it uses now, where the engine tells. */
  readonly memory: number | undefined;
  readonly now: number;
}

/** Why a container is in the state that it is in. */
export interface Story {
  readonly name: string;
  readonly state: string;
  readonly headline: string;
  readonly facts: readonly { readonly label: string; readonly text: string }[];
  readonly log: readonly string[] | undefined;
  readonly events: readonly { readonly at: string; readonly what: string }[];
  /** What to try next: commands, or sentences. */
  readonly advice: readonly string[];
}

const shownEvents = 12;
/** They say nothing of why; a health check is an exec of every few seconds. */
const dull = /^(?:attach|detach|resize|top|exec_die|exec_detach|exec_(?:create|start): .*)$/s;

export function tell({ container, events, log, memory, now }: StoryFacts): Story {
  const name = container.Name.slice(1);
  const ending = endingOf(container.State, events);
  const facts = [
    ...endFacts(container, ending, events),
    ...timeFacts(container, now),
    ...exitFacts(container, ending),
    ...[restartFact(container, ending, now)],
    ...healthFacts(container),
    ...memoryFacts(container, memory),
    ...pastFacts(container, events),
  ].map(([label, text]) => ({ label, text }));
  return {
    name,
    state: container.State.Status,
    headline: headline(container, ending, now),
    facts,
    log,
    events: shown(events),
    advice: adviceFor(container, ending),
  };
}

export interface RemovedFacts {
  readonly name: string;
  /** Of all that had this name, oldest first. */
  readonly events: readonly PastEvent[];
  /** What is kept with its log. */
  readonly kept: RemovedContainer | undefined;
  /** The last lines that it wrote; undefined when they cannot be had. */
  readonly log: readonly string[] | undefined;
  readonly now: number;
}

/** Of a container that was removed, by what the engine remembers and what is kept; undefined when that is nothing. */
export function tellOfRemoved({ name, events, kept, log, now }: RemovedFacts): Story | undefined {
  const removed = events.findLast(({ Action }) => Action === 'destroy');
  const at = removed ? milliseconds(removed) : kept ? Date.parse(kept.removed) : undefined;
  if (at === undefined) return undefined;
  const own = events.filter(({ Actor }) => Actor.ID === (removed?.Actor.ID ?? kept?.id));
  const exit =
    pastExits(own).at(-1)?.code ?? (kept && moment(kept.finishedAt) !== undefined ? kept.exitCode : undefined);
  const code = exit === undefined ? '' : `, after it had ended with exit code ${exit}`;
  return {
    name,
    state: 'removed',
    headline: `${name} is gone: it was removed ${span(now - at)} ago${code}`,
    facts: [
      { label: 'removed', text: clock(at) },
      { label: 'image', text: kept?.image ?? removed?.Actor.Attributes['image'] ?? '?' },
      ...(exit === undefined ? [] : [{ label: 'exit code', text: `${exit}: ${exitMeaning(exit)}` }]),
      ...(kept?.oomKilled ? [{ label: 'memory', text: 'the kernel ended it: it needed more than its limit' }] : []),
    ],
    log,
    events: shown(own),
    advice: [],
  };
}

function shown(events: readonly PastEvent[]): Story['events'] {
  return events
    .filter(({ Action }) => !dull.test(Action))
    .slice(-shownEvents)
    .map((event, index, all) => ({
      at: new Date(milliseconds(event)).toISOString(),
      what: eventWords(event, byEngine(all.slice(0, index))),
    }));
}

type Fact = readonly [label: string, text: string];

function headline({ Name, State, RestartCount }: ContainerInfo, ending: Ending, now: number): string {
  const name = Name.slice(1);
  const started = moment(State.StartedAt);
  const finished = moment(State.FinishedAt);
  const ago = (at: number | undefined) => (at === undefined ? '' : ` ${span(now - at)} ago`);
  switch (State.Status) {
    case 'running':
      return [
        `${name} runs since ${started === undefined ? 'just now' : clock(started)}, for ${span(now - (started ?? now))}`,
        ...(State.Health && State.Health.Status !== 'none' ? [State.Health.Status] : []),
        ...(RestartCount > 0 ? [count(RestartCount, 'restart')] : []),
      ].join(', ');
    case 'paused':
      return `${name} is paused: its processes are frozen until somebody lets them go on`;
    case 'created':
      return ending.by === 'start' ? `${name} could not be started` : `${name} was created and never started`;
    case 'restarting':
      return `${name} ended${ago(finished)} (${cause(State.ExitCode, ending)}) and waits for its next start`;
    case 'removing':
      return `${name} is being removed`;
    default:
      return ending.by === 'start'
        ? `${name} could not be started again`
        : `${name} ended${ago(finished)}: ${cause(State.ExitCode, ending)}`;
  }
}

function cause(code: number, ending: Ending): string {
  switch (ending.by) {
    case 'memory':
      return `out of memory, exit code ${code}`;
    case 'client':
      return `${ending.how === 'stop' ? 'stopped' : 'killed'} by a client, exit code ${code}`;
    case 'health':
      return `ended because it was unhealthy, exit code ${code}`;
    case 'start':
      return 'it could not be started';
    default: {
      const word = exitWord(code);
      return code === 0 ? 'done, exit code 0' : `exit code ${code}${word ? `, ${word}` : ''}`;
    }
  }
}

function endFacts({ State, HostConfig }: ContainerInfo, ending: Ending, events: readonly PastEvent[]): Fact[] {
  switch (ending.by) {
    case 'nothing':
      return [];
    case 'memory':
      return [
        [
          'ended by',
          HostConfig.Memory > 0
            ? `the kernel: its processes needed more than its limit of ${humanMemory(HostConfig.Memory)} of memory${swapWords(HostConfig)}`
            : 'the kernel: this machine had no memory left, and the container has no limit of its own',
        ],
      ];
    case 'start':
      return [['the error', ending.error]];
    case 'client': {
      const died = events.findLast(({ Action }) => Action === 'die');
      const signals = ending.sent.map(({ signal, at }) => `${signalName(signal)} at ${clock(at)}`).join(', then ');
      const forced =
        ending.how === 'stop' && ending.sent.length > 1 && signalOf(State.ExitCode) === 9
          ? `: it did not end within ${span(ending.sent.at(-1)!.at - ending.sent[0]!.at)}`
          : '';
      const late = died ? milliseconds(died) - ending.sent.at(-1)!.at : 0;
      return [
        [
          'ended by',
          `a client of the engine (as docker ${ending.how} does): ${signals}${forced}${late > 1000 ? `, and it took ${span(late)} to end` : ''}`,
        ],
      ];
    }
    case 'health':
      return [
        [
          'ended by',
          `the engine: it was unhealthy, and on that stands ${ending.action}: ${ending.sent.map(({ signal, at }) => `${signalName(signal)} at ${clock(at)}`).join(', then ')}`,
        ],
      ];
    case 'signal':
      return [
        [
          'ended by',
          ending.remembered
            ? `${signalName(ending.signal)}, which no client sent: a fault of the program, a process beside it, or somebody on this machine`
            : `${signalName(ending.signal)}; who sent it is not known, the engine was started again since`,
        ],
      ];
    case 'itself':
      return [['ended by', 'itself: its program returned, nobody stopped it']];
  }
}

function swapWords({ Memory, MemorySwap }: ContainerInfo['HostConfig']): string {
  if (MemorySwap < 0) return ' and all swap';
  return MemorySwap > Memory ? ` and ${humanMemory(MemorySwap - Memory)} of swap` : '';
}

function timeFacts({ State, Created }: ContainerInfo, now: number): Fact[] {
  const started = moment(State.StartedAt);
  const finished = moment(State.FinishedAt);
  if (started === undefined) return [['created', clock(moment(Created) ?? now)]];
  if (State.Status === 'running' || State.Status === 'paused') return [['started', clock(started)]];
  if (finished === undefined || finished < started) return [['started', clock(started)]];
  return [['ran', `${span(finished - started)}, from ${clock(started)} to ${clock(finished)}`]];
}

function exitFacts({ State, Path, Args }: ContainerInfo, ending: Ending): Fact[] {
  if (ending.by === 'nothing') return [];
  return [
    ['exit code', `${State.ExitCode}: ${exitMeaning(State.ExitCode)}`],
    ['command', [Path, ...Args].join(' ')],
  ];
}

const shortestWait = 100;
const longestWait = 60_000;

function restartFact(container: ContainerInfo, ending: Ending, now: number): Fact {
  const { State, RestartCount, HostConfig } = container;
  const { Name: policy, MaximumRetryCount: most } = HostConfig.RestartPolicy;
  const words = [
    policy === 'no' || policy === '' ? 'never (policy no)' : `policy ${policy}${most > 0 ? `:${most}` : ''}`,
  ];
  const unhealthy = container.Config.Labels[onUnhealthyLabel];
  if (unhealthy !== undefined && unhealthy !== 'none') words.push(`${unhealthy} when it is unhealthy`);
  if (RestartCount > 0) words.push(`restarted ${count(RestartCount, 'time')}${most > 0 ? ` of ${most}` : ''}`);
  if (State.Status === 'restarting') words.push(nextAttempt(container, now));
  else if (policy !== 'no' && policy !== '' && State.Status === 'exited') {
    if (ending.by === 'client') words.push('not started again: a client ended it');
    else if (policy === 'on-failure' && State.ExitCode === 0) words.push('not started again: it ended with success');
    else if (most > 0 && RestartCount >= most) words.push('given up');
    else if (ending.by === 'start') words.push('not started again: the start itself failed');
  }
  return ['restarts', words.join(', ')];
}

/** By the engine's own rule: 0.1 s, doubled with each try up to a minute; from the beginning when it ran for 10 s. */
function nextAttempt({ State, RestartCount }: ContainerInfo, now: number): string {
  const started = moment(State.StartedAt) ?? now;
  const finished = moment(State.FinishedAt) ?? now;
  const wait =
    finished - started >= 10_000
      ? shortestWait
      : Math.min(longestWait, shortestWait * 2 ** Math.min(Math.max(RestartCount - 1, 0), 20));
  const left = finished + wait - now;
  return left > 0 ? `next start in ${span(Math.max(left, 1000))}` : 'next start at any moment';
}

function healthFacts({ State }: ContainerInfo): Fact[] {
  const { Health: health } = State;
  if (!health || health.Status === 'none') return [];
  const last = health.Log?.at(-1);
  const failing = health.FailingStreak > 0 ? `, failed ${count(health.FailingStreak, 'time')} in a row` : '';
  const said = last?.Output.trim();
  return [
    ['health', `${health.Status}${failing}`],
    ...(last && said ? [['last check', `exit code ${last.ExitCode}: ${said.split('\n').at(-1)}`] satisfies Fact] : []),
  ];
}

function memoryFacts({ HostConfig }: ContainerInfo, memory: number | undefined): Fact[] {
  if (memory === undefined) return [];
  const { Memory: limit } = HostConfig;
  const share = limit > 0 ? ` of ${humanMemory(limit)} (${Math.round((memory / limit) * 100)} %)` : '';
  return [['memory', `${humanMemory(memory)}${share}`]];
}

function pastFacts({ State }: ContainerInfo, events: readonly PastEvent[]): Fact[] {
  const exits = pastExits(events);
  const before = State.Status === 'exited' || State.Status === 'restarting' ? exits.slice(0, -1) : exits;
  if (before.length === 0) return [];
  const codes = before.slice(-8).map(({ code }) => code);
  return [
    [
      'before',
      `ended ${count(before.length, 'time')} since ${clock(before[0]!.at)}, exit ${codes.length === 1 ? 'code' : 'codes'} ${codes.join(', ')}`,
    ],
  ];
}

/** Whether what is sent now comes from the engine, which ends it because it is unhealthy. */
function byEngine(before: readonly PastEvent[]): boolean {
  const last = before.findLast(({ Action }) => Action.startsWith('health_action: ') || Action === 'start');
  return last !== undefined && last.Action !== 'start';
}

function eventWords({ Action, Actor: { Attributes } }: PastEvent, byHealth: boolean): string {
  if (Action.startsWith('health_action: ')) return `unhealthy, so: ${Action.slice('health_action: '.length)}`;
  if (Action === 'die')
    return `ended, exit code ${Attributes['exitCode']}${Attributes['execDuration'] ? ` after ${count(Number(Attributes['execDuration']), 'second')}` : ''}`;
  if (Action === 'kill')
    return `${byHealth ? 'the engine' : 'a client'} sent ${signalName(Number(Attributes['signal']))}`;
  if (Action === 'destroy') return 'removed';
  if (Action === 'oom') return 'out of memory';
  if (Action === 'rename') return `renamed from ${Attributes['oldName'] ?? '?'}`;
  return Action;
}
