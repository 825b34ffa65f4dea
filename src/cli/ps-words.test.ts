import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerState } from './container-info.ts';
import { healthText, isFailure, portsText, stateText, stoppingText } from './ps-words.ts';

const known = (changes: Partial<ContainerState>) => ({ OOMKilled: false, Error: '', ...changes }) as ContainerState;

test('a state says what an exit code means, and out of memory where that was it', () => {
  const exited = (Status: string, state?: ContainerState) => stateText({ State: 'exited', Status }, state);
  assert.equal(exited('Exited (0) 2 hours ago'), 'exited (0) 2 hours ago');
  assert.equal(exited('Exited (3) 2 hours ago'), 'exited (3) 2 hours ago');
  assert.equal(exited('Exited (143) 2 hours ago'), 'exited (143: terminated) 2 hours ago');
  assert.equal(exited('Exited (127) 1 second ago'), 'exited (127: command not found) 1 second ago');
  assert.equal(
    exited('Exited (137) 3 minutes ago', known({ OOMKilled: true })),
    'exited (137: killed, out of memory) 3 minutes ago',
  );
  assert.equal(
    stateText({ State: 'restarting', Status: 'Restarting (139) 4 seconds ago' }),
    'restarting (139: invalid memory access) 4 seconds ago',
  );
  assert.equal(stateText({ State: 'created', Status: 'Created' }), 'created');
  assert.equal(stateText({ State: 'created', Status: 'Created' }, known({ Error: 'no such port' })), 'could not start');
  assert.equal(stateText({ State: 'paused', Status: 'Up 3 minutes (Paused)' }), 'up 3 minutes, paused');
  assert.equal(stateText({ State: 'running', Status: 'Up About a minute (healthy)' }), 'up about a minute');
});

test('a restart says how often it was tried, and only an end to be asked about is a failure', () => {
  const listed = { State: 'restarting', Status: 'Restarting (1) 4 seconds ago' };
  assert.equal(stateText(listed, undefined, { count: 4, most: 5 }), 'restarting 4/5 (1) 4 seconds ago');
  assert.equal(stateText(listed, undefined, { count: 4, most: 0 }), 'restarting 4 (1) 4 seconds ago');
  assert.equal(isFailure(listed), true);
  for (const code of [0, 130, 143])
    assert.equal(isFailure({ State: 'exited', Status: `Exited (${code}) 1 second ago` }), false);
  assert.equal(isFailure({ State: 'exited', Status: 'Exited (0) now' }, known({ OOMKilled: true })), true);
  assert.equal(isFailure({ State: 'created', Status: 'Created' }, known({ Error: 'no such port' })), true);
  assert.equal(isFailure({ State: 'running', Status: 'Up 3 minutes (healthy)' }), false);
});

test('health comes from its field, or from the status of older versions', () => {
  assert.equal(healthText({ Status: 'Up 3 minutes (unhealthy)' }), 'unhealthy');
  assert.equal(healthText({ Status: 'Up 3 minutes (health: starting)' }), 'starting');
  assert.equal(healthText({ Status: 'Up 3 minutes', Health: { Status: 'healthy' } }), 'healthy');
  assert.equal(healthText({ Status: 'Up 3 minutes', Health: { Status: 'none' } }), '');
  assert.equal(healthText({ Status: 'Up 3 minutes (Paused)' }), '');
});

test('ports: both families of one are one, and who may come is told apart', () => {
  const port = (IP: string | undefined, PublicPort?: number, Type = 'tcp') => ({
    ...(IP !== undefined && { IP }),
    PrivatePort: 80,
    ...(PublicPort !== undefined && { PublicPort }),
    Type,
  });
  assert.equal(portsText([port('0.0.0.0', 8080), port('::', 8080)]), ':8080→80');
  assert.equal(
    portsText([port('127.0.0.1', 8080), port('10.0.0.1', 53, 'udp'), port(undefined)]),
    '8080→80 local, 10.0.0.1:53→80/udp, 80',
  );
  assert.equal(portsText([]), '-');
});

test('a stop that waits says since when, until when, and why nothing happens', () => {
  const stop = { id: 'x', signal: 15, elapsed: 7300, seconds: 10, program: 'sh', ignored: true };
  assert.equal(stoppingText(stop), 'stopping 7 s/10 s (ignores SIGTERM: PID 1 is sh)');
  assert.equal(stoppingText({ ...stop, ignored: false }), 'stopping 7 s/10 s');
  assert.equal(stoppingText({ ...stop, elapsed: 13_100 }), 'stuck in stop: not ended 3 s after SIGKILL');
  const { seconds: _, ...endless } = stop;
  assert.equal(stoppingText(endless), 'stopping 7 s (ignores SIGTERM: PID 1 is sh)');
});
