import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerInfo, ContainerState } from './container-info.ts';
import { endingOf, type PastEvent } from './history.ts';
import { tell } from './story.ts';

const start = Date.parse('2026-11-25T10:00:00Z');
const at = (seconds: number) => new Date(start + seconds * 1000).toISOString();

function state(changes: Partial<ContainerState>): ContainerState {
  return {
    Status: 'exited',
    Running: false,
    OOMKilled: false,
    Pid: 0,
    ExitCode: 0,
    Error: '',
    StartedAt: at(0),
    FinishedAt: at(60),
    ...changes,
  };
}

function event(Action: string, seconds: number, Attributes: Record<string, string> = {}): PastEvent {
  return { Type: 'container', Action, Actor: { ID: 'a', Attributes }, timeNano: (start + seconds * 1000) * 1e6 };
}

function story(changes: Partial<ContainerState>, events: readonly PastEvent[], host = {}, more = {}) {
  const container = {
    Id: 'a'.repeat(64),
    Name: '/web',
    Created: at(-1),
    Path: 'server',
    Args: ['--port', '80'],
    RestartCount: 0,
    Config: { Labels: {} },
    State: state(changes),
    HostConfig: { Memory: 0, MemorySwap: 0, RestartPolicy: { Name: 'no', MaximumRetryCount: 0 }, ...host },
    ...more,
  } as unknown as ContainerInfo;
  const { headline, facts, advice } = tell({ container, events, log: [], memory: undefined, now: start + 120_000 });
  const fact = (label: string) => facts.find((one) => one.label === label)?.text ?? '';
  return { headline, fact, advice };
}

test('who ended a container is told by the signals before its end and the stop behind it', () => {
  const begun = event('start', 0);
  const killed = (code: number) => state({ ExitCode: code });
  assert.deepEqual(endingOf(state({ Status: 'running', Running: true }), [begun]), { by: 'nothing' });
  assert.deepEqual(endingOf(killed(3), [begun, event('die', 60)]), { by: 'itself' });
  assert.deepEqual(endingOf(killed(139), [begun, event('die', 60)]), { by: 'signal', signal: 11, remembered: true });
  assert.deepEqual(endingOf(killed(137), []), { by: 'signal', signal: 9, remembered: false });
  assert.equal(endingOf(state({ OOMKilled: true, ExitCode: 137 }), [begun, event('die', 60)]).by, 'memory');
  const stop = [begun, event('kill', 58, { signal: '15' }), event('die', 60), event('stop', 60)];
  assert.deepEqual(endingOf(killed(0), stop), {
    by: 'client',
    how: 'stop',
    sent: [{ signal: 15, at: start + 58_000 }],
  });
  const kill = endingOf(killed(137), [begun, event('kill', 60, { signal: '9' }), event('die', 60)]);
  assert.equal(kill.by === 'client' && kill.how, 'kill');
});

test('a signal of long ago, or of an earlier run, has not ended it', () => {
  const hup = event('kill', 5, { signal: '1' });
  assert.deepEqual(endingOf(state({ ExitCode: 1 }), [event('start', 0), hup, event('die', 60)]), { by: 'itself' });
  const earlier = [event('start', -9), event('kill', -5, { signal: '9' }), event('die', -5), event('start', 0)];
  assert.deepEqual(endingOf(state({ ExitCode: 137 }), [...earlier, event('die', 60)]), {
    by: 'signal',
    signal: 9,
    remembered: true,
  });
});

test('out of memory is told with the limit, and the advice is more of it', () => {
  const { headline, fact, advice } = story({ OOMKilled: true, ExitCode: 137 }, [], {
    Memory: 64 * 1024 ** 2,
    MemorySwap: 128 * 1024 ** 2,
  });
  assert.equal(headline, 'web ended about a minute ago: out of memory, exit code 137');
  assert.match(fact('ended by'), /limit of 64 MiB of memory and 64 MiB of swap/);
  assert.match(fact('exit code'), /137: 128 \+ 9, ended by SIGKILL/);
  assert.match(advice[0]!, /give it more: berth inspect --as run web/);
  assert.match(story({ OOMKilled: true, ExitCode: 137 }, []).fact('ended by'), /this machine had no memory left/);
});

test('a stop that had to kill names both signals, the time between them and the init that would help', () => {
  const events = [
    event('start', 0),
    event('kill', 50, { signal: '15' }),
    event('kill', 60, { signal: '9' }),
    event('die', 60),
    event('stop', 60),
  ];
  const { headline, fact, advice } = story({ ExitCode: 137 }, events);
  assert.match(headline, /stopped by a client, exit code 137/);
  assert.match(fact('ended by'), /SIGTERM at .*, then SIGKILL at .*: it did not end within 10 seconds/);
  assert.match(advice[1]!, /an init passes it on/);
});

test('a restart policy is told with its count, and the next start or why there is none', () => {
  const policy = (Name: string, MaximumRetryCount = 0) => ({ RestartPolicy: { Name, MaximumRetryCount } });
  const waiting = story(
    { Status: 'restarting', Running: true, ExitCode: 1, StartedAt: at(119), FinishedAt: at(119.5) },
    [],
    policy('always'),
    { RestartCount: 5 },
  );
  assert.equal(waiting.fact('restarts'), 'policy always, restarted 5 times, next start in 1 second');
  assert.match(waiting.advice.at(-1)!, /berth stop web/);
  const given = story({ ExitCode: 1 }, [event('start', 0), event('die', 60)], policy('on-failure', 3), {
    RestartCount: 3,
  });
  assert.equal(given.fact('restarts'), 'policy on-failure:3, restarted 3 times of 3, given up');
  assert.match(story({}, [], policy('on-failure')).fact('restarts'), /it ended with success/);
});

test('a start that failed is told in the words of the runtime', () => {
  const error = 'exec: "nosuch": executable file not found in $PATH';
  const { headline, fact, advice } = story(
    { Status: 'created', StartedAt: '0001-01-01T00:00:00Z', Error: error, ExitCode: 127 },
    [],
  );
  assert.equal(headline, 'web could not be started');
  assert.equal(fact('the error'), error);
  assert.match(fact('exit code'), /^127: .*not found/);
  assert.match(advice[0]!, /not in the image/);
});

test('one that runs: since when, health, restarts and what it uses', () => {
  const health = { Status: 'unhealthy', FailingStreak: 3, Log: [{ End: '', ExitCode: 1, Output: 'refused\n' }] };
  const { headline, fact, advice } = story(
    { Status: 'running', Running: true, Health: health },
    [],
    {},
    { RestartCount: 2 },
  );
  assert.match(headline, /^web runs since .*, for 2 minutes, unhealthy, 2 restarts$/);
  assert.equal(fact('health'), 'unhealthy, failed 3 times in a row');
  assert.equal(fact('last check'), 'exit code 1: refused');
  assert.match(advice[0]!, /berth logs/);
});

test('what the engine ended because it was unhealthy is told so, with what its label says', () => {
  const events = [
    event('start', 0),
    event('health_status: unhealthy', 50),
    event('health_action: restart', 50),
    event('kill', 50, { signal: '15' }),
    event('die', 60, { exitCode: '143' }),
  ];
  const more = { Config: { Labels: { 'berth.on-unhealthy': 'restart' } } };
  const told = story({ Status: 'restarting', Running: true, ExitCode: 143 }, events, {}, more);
  assert.match(told.headline, /ended because it was unhealthy, exit code 143/);
  assert.match(told.fact('ended by'), /^the engine: it was unhealthy, and on that stands restart: SIGTERM at /);
  assert.match(told.fact('restarts'), /^never \(policy no\), restart when it is unhealthy/);
});
