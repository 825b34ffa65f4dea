import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../../src/base/errors.ts';
import { readCreateRequest } from '../../src/protocol/create-request.ts';
import { parseJson } from '../../src/protocol/decode.ts';
import { parseDetachKeys } from '../../src/protocol/detach-keys.ts';
import { Filters } from '../../src/protocol/filters.ts';
import { parseRegistryAuth } from '../../src/protocol/registry-auth.ts';
import { parseDuration, parseMoment } from '../../src/protocol/time.ts';
import { parseBind } from '../../src/protocol/volume-spec.ts';

const milliseconds = Number(process.env['FUZZ_MS'] ?? 1500);

function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const keys =
  'Image Cmd Env Labels HostConfig Binds Mounts PortBindings RestartPolicy Name Memory Ulimits LogConfig Type Config Tmpfs Devices ExposedPorts NetworkingConfig EndpointsConfig Healthcheck Test hostconfig BINDS __proto__ constructor toString 80/tcp'.split(
    ' ',
  );
const words = [
  '',
  'x',
  '/a:/b',
  '/a',
  '80',
  '80/tcp',
  'always',
  'bind',
  'json-file',
  'container:x',
  '\0',
  '\ud800',
  '1h',
  '../..',
  'host',
];

function anything(pick: (below: number) => number, depth: number): unknown {
  switch (pick(depth > 5 ? 6 : 9)) {
    case 0:
      return null;
    case 1:
      return pick(2) === 0;
    case 2:
      return pick(1000) - 500;
    case 3:
      return [1.5, 1e308, -0, 2 ** 53, 1e21][pick(5)];
    case 4:
    case 5:
      return words[pick(words.length)];
    case 6:
      return Array.from({ length: pick(4) }, () => anything(pick, depth + 1));
    default:
      return Object.fromEntries(
        Array.from({ length: pick(6) }, () => [keys[pick(keys.length)], anything(pick, depth + 1)]),
      );
  }
}

test('S16 what a stranger sends is read or refused as invalid, and changes nothing else', () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);
  const pick = random(seed);
  const end = Date.now() + milliseconds;
  let accepted = 0;
  let rounds = 0;
  const attempt = (what: string, act: () => unknown) => {
    try {
      act();
      accepted++;
    } catch (error) {
      assert.ok(
        error instanceof EngineError && (error.kind === 'invalid' || error.kind === 'unsupported'),
        `seed ${seed}: ${what}: ${String(error)}`,
      );
    }
  };
  while (Date.now() < end) {
    rounds++;
    const value = anything(pick, 0);
    const text = JSON.stringify(value);
    const cut = text.slice(0, pick(text.length + 1)) + (pick(2) === 0 ? '' : String.fromCharCode(pick(256)));
    const root = {
      Image: 'x',
      HostConfig: anything(pick, 1),
      ...(typeof value === 'object' && !Array.isArray(value) && value),
    };
    attempt(text, () => readCreateRequest(value, 1051));
    attempt(JSON.stringify(root), () => JSON.stringify(readCreateRequest(root, 1024 + pick(28))));
    attempt(cut, () => parseJson(cut));
    attempt(text, () => Filters.parse(text, keys).boolean('Image'));
    attempt(cut, () => parseRegistryAuth(Buffer.from(cut).toString('base64')));
    attempt(cut, () => parseDetachKeys(cut));
    attempt(cut, () => parseBind(cut));
    attempt(cut, () => parseDuration(cut));
    attempt(cut, () => parseMoment(cut, 0n));
  }
  assert.ok(rounds > 100 && accepted > 100);
  assert.equal(({} as Record<string, unknown>)['Image'], undefined);
});
