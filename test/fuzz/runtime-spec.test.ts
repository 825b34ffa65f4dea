import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EngineError } from '../../src/base/errors.ts';
import { mergeEnv } from '../../src/runtime/spec/env.ts';
import { parseKernelList } from '../../src/runtime/spec/machine.ts';
import { tmpfsOptions } from '../../src/runtime/spec/mounts.ts';
import { parseSeccompProfile, resolveSeccomp } from '../../src/runtime/spec/seccomp.ts';
import { defaultSeccompProfile } from '../../src/runtime/spec/seccomp-table.ts';
import { parseSecurityOptions } from '../../src/runtime/spec/security.ts';
import { checkSysctls } from '../../src/runtime/spec/sysctls.ts';
import { findUser } from '../../src/runtime/spec/user.ts';

const budget = Number(process.env['FUZZ_MS'] ?? 3000) / 3;
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

/** Mulberry32. */
function randomOf(start: number) {
  let state = start;
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

type Random = ReturnType<typeof randomOf>;
const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)]!;
const many = (random: Random, most: number, make: () => string) => Array.from({ length: random(most) }, make).join('');

/** Runs `once` until the time is up; whatever it throws must be an error of the engine's for the user. */
function fuzz(once: (random: Random) => void) {
  const random = randomOf(seed);
  const end = performance.now() + budget;
  let runs = 0;
  do {
    try {
      once(random);
    } catch (error) {
      if (!(error instanceof EngineError)) throw new Error(`seed ${seed}, run ${runs}`, { cause: error });
      assert.equal(error.kind, 'invalid', `seed ${seed}, run ${runs}: ${error.message}`);
    }
    runs++;
  } while (performance.now() < end);
  assert.ok(runs > 10);
}

describe('what strangers write into a container', () => {
  it('S17 passwd and group files give a valid user, the one that was asked for, or an error', () => {
    const pieces = [
      'root',
      'web',
      '0',
      '1',
      '33',
      ':',
      ':',
      ':',
      ':',
      '\n',
      '\n',
      '#',
      ' ',
      '-1',
      '4294967295',
      '4294967296',
      '1e9',
      '0x1',
      '٣',
      'x',
      ',',
      '\0',
      '\r',
      'ÿ',
    ];
    fuzz((random) => {
      const text = () => many(random, 60, () => pick(random, pieces));
      const user = many(random, 5, () => pick(random, pieces));
      const found = findUser({
        user,
        groupAdd: random(2) ? [many(random, 3, () => pick(random, pieces))] : [],
        passwd: text(),
        group: text(),
      });
      for (const id of [found.uid, found.gid, ...found.additionalGids])
        assert.ok(Number.isInteger(id) && id >= 0 && id <= 0xfffffffe, `${user}: ${id}`);
      const number = /^(\d+)(:|$)/.exec(user)?.[1];
      if (number !== undefined) assert.equal(found.uid, Number(number), user);
      if (found.uid !== 0) return;
      // Nobody becomes root by accident.
      assert.match(user, /^($|:|0+($|:)|[^:]*[^0-9:])/, user);
    });
  });

  it('seccomp profiles resolve or are refused', () => {
    const whole = JSON.stringify(defaultSeccompProfile());
    const values = [
      'null',
      '1',
      '-1',
      '1e400',
      '"x"',
      '[]',
      '{}',
      'true',
      '"SCMP_ACT_NOTIFY"',
      '[null]',
      '[{}]',
      '[1]',
    ];
    fuzz((random) => {
      const short = whole.replace(/"names":\[[^\]]{200,}?\]/g, '"names":["read"]');
      const tokens = short.split(/(?<=[[{,:])/);
      for (let times = 1 + random(3); times > 0; times--) tokens[random(tokens.length)] = `${pick(random, values)},`;
      const profile = parseSeccompProfile(random(2) ? tokens.join('') : mutated(random, JSON.parse(short), values));
      const resolved = resolveSeccomp(profile, { architecture: 'x64', kernel: [6, 1], capabilities: ['CAP_CHOWN'] });
      for (const rule of resolved?.syscalls ?? []) {
        assert.ok(Array.isArray(rule.names) && rule.names.every((name) => typeof name === 'string'));
        assert.notEqual(rule.action, 'SCMP_ACT_NOTIFY');
      }
    });
  });

  it('options are read or refused', () => {
    const pieces = [
      'seccomp',
      'label',
      'apparmor',
      'no-new-privileges',
      '=',
      ':',
      ',',
      'size',
      'mode',
      'exec',
      'ro',
      'true',
      '1k',
      '%',
      '\n',
      '\0',
      '..',
      '/',
      '.',
      'net',
      'kernel',
      'shmmax',
      '-',
      '9',
      'é',
    ];
    fuzz((random) => {
      const text = () => many(random, 6, () => pick(random, pieces));
      assert.ok(mergeEnv([text(), text()], [text()]).length <= 3);
      parseKernelList(text());
      for (const attempt of [() => parseSecurityOptions([text(), text()]), () => tmpfsOptions(text())]) {
        try {
          attempt();
        } catch (error) {
          if (!(error instanceof EngineError)) throw error;
        }
      }
      const name = text();
      checkSysctls({ [name]: '1' }, { network: true, ipc: true, uts: true });
      // What is let through stays in a namespace, and is a path below /proc/sys.
      assert.match(name, /^(net[./]|kernel[./](shmmax|domainname)$|fs[./]mqueue[./])/);
      assert.ok(!name.split(/[./]/).includes(''));
    });
  });
});

/** JSON text of a copy in which one value somewhere is another. */
function mutated(random: Random, json: unknown, values: readonly string[]): string {
  const places: string[] = [];
  JSON.stringify(json, (key, value: unknown) => {
    places.push(key);
    return value;
  });
  const at = random(places.length);
  let count = 0;
  const mark = '@mutated@';
  const text = JSON.stringify(json, (_, value: unknown) => (count++ === at ? mark : value));
  return text.replace(JSON.stringify(mark), pick(random, values));
}
