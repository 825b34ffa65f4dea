import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  composeAnswer,
  encodeName,
  isAnswerTo,
  isPlain,
  parseQuestion,
  refuseUnread,
} from '../../src/networks/dns-packet.ts';
import { NameTable } from '../../src/networks/name-table.ts';

/** The same numbers for the same seed, so that a failure can be had again. */
function randomFrom(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const names = ['web', 'db.lan', '2.0.0.10.in-addr.arpa', `${'1.'.repeat(32)}ip6.arpa`, 'x'.repeat(63), 'a.b.c.d.e'];

/** A query, broken in some way: bytes changed, cut, doubled, or pointers put where a name is. */
function packet(random: (below: number) => number): Buffer {
  const header = Buffer.from([random(256), random(256), 1, 0, 0, 1, 0, 0, 0, 0, 0, random(2)]);
  const types = [1, 12, 28, 16, 255, 41];
  const name = encodeName(names[random(names.length)]!)!;
  const opt = Buffer.from([0, 0, 41, random(256), random(256), 0, 0, 0, 0, 0, 0]);
  let bytes = Buffer.concat([header, name, Buffer.from([0, types[random(types.length)]!, 0, 1]), opt]);
  for (let left = random(5); left > 0; left--) {
    const at = random(bytes.length);
    const kind = random(5);
    if (kind === 0) bytes[at] = random(256);
    else if (kind === 1) bytes = bytes.subarray(0, at);
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(at + 1))]);
    else if (kind === 3) bytes[at] = 0xc0 | random(64);
    else bytes = Buffer.concat([bytes, Buffer.alloc(random(600), random(256))]);
    if (bytes.length === 0) return bytes;
  }
  return bytes;
}

test('S41 200,000 broken queries: each is refused or has an answer to exactly its question', () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
  const random = randomFrom(seed);
  const table = new NameTable();
  table.set({
    owner: 'me',
    servers: [],
    networks: [{ id: 'n', name: 'lan', names: ['web', 'db'], addresses: ['10.0.0.2', 'fd00::2'] }],
  });
  let understood = 0;
  let known = 0;
  for (let round = 0; round < 200_000; round++) {
    const bytes = packet(random);
    const where = `seed ${seed}: ${bytes.toString('hex')}`;
    const question = parseQuestion(bytes);
    if (!question) {
      const refusal = refuseUnread(bytes);
      assert.ok(refusal === undefined || refusal.length === 12, where);
      continue;
    }
    understood++;
    assert.ok(question.end <= bytes.length && question.size >= 512 && question.size <= 1232, where);
    const data = table.answer('me', question);
    if (data) known++;
    assert.ok(data === undefined || isPlain(question), where);
    const answer = composeAnswer(bytes, question, data ?? [], { size: question.size });
    assert.ok(answer.length <= Math.max(question.size, question.end), where);
    assert.ok(isAnswerTo(answer, bytes, question.end, question.id), where);
    assert.equal(parseQuestion(answer), undefined, where);
  }
  assert.ok(understood > 20_000 && known > 1_000, `${understood} understood, ${known} known`);
});
