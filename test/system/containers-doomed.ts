/**
 * An engine to be killed: works on containers in the places of its first argument (JSON) until somebody ends it, and says
 * on stdout what was acknowledged, one line each.
 */
import { randomInt } from 'node:crypto';
import { writeSync } from 'node:fs';
import { Composed, type Places } from '../lib/engine.ts';

const composed = await Composed.open({ places: JSON.parse(process.argv[2]!) as Places });
const { containers } = composed;
const say = (what: string, id: string) => writeSync(1, `${what} ${id}\n`);
say('open', '-');

async function work() {
  for (;;) {
    const AutoRemove = randomInt(3) === 0;
    const lasting = randomInt(3) === 0;
    const body = {
      Cmd: lasting ? ['sleep', '1000'] : ['true'],
      Volumes: randomInt(4) === 0 ? { '/v': {} } : {},
      HostConfig: { AutoRemove },
    };
    const { id } = await containers.create('', composed.request(body), undefined);
    say(AutoRemove ? 'created-rm' : 'created', id);
    if (randomInt(6) === 0) continue;
    const ended = containers.wait(id, AutoRemove ? 'removed' : 'next-exit').result;
    await containers.start(id);
    say(lasting ? 'runs' : 'started', id);
    if (lasting) {
      if (randomInt(2) === 0) continue;
      say('ending', id);
      await containers.remove(id, { force: true, volumes: true, link: false });
      say('removed', id);
      continue;
    }
    await ended;
    if (AutoRemove) say('removed', id);
    else if (randomInt(2) === 0) {
      say('ending', id);
      await containers.remove(id, { force: false, volumes: true, link: false });
      say('removed', id);
    }
  }
}
await Promise.all([work(), work(), work()]);
