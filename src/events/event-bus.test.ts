import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineEvent, NewEvent } from './bus.ts';
import { EventBus } from './event-bus.ts';

const event = (id: string): NewEvent => ({ type: 'container', action: 'start', actor: { id, attributes: {} } });

test('history gives the last 1,024 events, oldest first, with rising times', () => {
  const bus = new EventBus();
  for (let i = 0; i < 1500; i++) bus.emit(event(String(i)));
  const history = bus.history();
  assert.equal(history.length, 1024);
  assert.equal(history[0]!.actor.id, '476');
  assert.equal(history.at(-1)!.actor.id, '1499');
  for (let i = 1; i < history.length; i++) assert.ok(history[i]!.timeNano > history[i - 1]!.timeNano);
});

test('the time of an event is the time of the system', () => {
  const bus = new EventBus();
  bus.emit(event('a'));
  const milliseconds = Number(bus.history()[0]!.timeNano / 1_000_000n);
  assert.ok(Math.abs(milliseconds - Date.now()) < 1000);
});

test('a listener hears every event from now on until it is disposed', () => {
  const bus = new EventBus();
  const heard: string[] = [];
  bus.emit(event('before'));
  const listening = bus.listen(({ actor }) => heard.push(actor.id));
  bus.emit(event('a'));
  bus.emit(event('b'));
  assert.equal(bus.listeners, 1);
  listening[Symbol.dispose]();
  bus.emit(event('after'));
  assert.deepEqual(heard, ['a', 'b']);
  assert.equal(bus.listeners, 0);
});

test('a listener that throws takes nothing from the others or from who emits', () => {
  const failures: unknown[] = [];
  const bus = new EventBus({ failed: (error) => failures.push(error) });
  const heard: EngineEvent[] = [];
  bus.listen(() => {
    throw new Error('bad listener');
  });
  bus.listen((e) => heard.push(e));
  bus.emit(event('a'));
  assert.equal(heard.length, 1);
  assert.equal(failures.length, 1);
});

test('a listener that stops another one in an event does not disturb that event', () => {
  const bus = new EventBus();
  const heard: string[] = [];
  let second: Disposable | undefined;
  bus.listen(() => second?.[Symbol.dispose]());
  second = bus.listen(() => heard.push('second'));
  bus.emit(event('a'));
  bus.emit(event('b'));
  assert.deepEqual(heard, ['second']);
});
