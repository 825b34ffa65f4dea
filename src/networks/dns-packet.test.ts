import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  composeAnswer,
  encodeName,
  isAnswerTo,
  isPlain,
  parseQuestion,
  refuseUnread,
  reverseAddress,
  withId,
} from './dns-packet.ts';

const header = (more: Partial<{ flags: number; questions: number; additional: number }> = {}) => {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt16BE(0x1234, 0);
  bytes.writeUInt16BE(more.flags ?? 0x0100, 2);
  bytes.writeUInt16BE(more.questions ?? 1, 4);
  bytes.writeUInt16BE(more.additional ?? 0, 10);
  return bytes;
};
const query = (name: string, type = 1, more = {}) =>
  Buffer.concat([header(more), encodeName(name)!, Buffer.from([0, type, 0, 1])]);
const opt = (size: number) => Buffer.from([0, 0, 41, size >> 8, size & 255, 0, 0, 0, 0, 0, 0]);

test('a question is read in lower case, with the size that its OPT record allows', () => {
  const packet = query('Web.Front', 28);
  const { name, type, id, end, size, recursive } = parseQuestion(packet)!;
  assert.deepEqual([name, type, id, end, size, recursive], ['web.front', 28, 0x1234, packet.length, 512, true]);
  const sized = (bytes: number) => parseQuestion(Buffer.concat([query('web', 1, { additional: 1 }), opt(bytes)]))!.size;
  assert.deepEqual([sized(100), sized(900), sized(65_000)], [512, 900, 1232]);
  assert.equal(parseQuestion(query('a b'))!.name, undefined);
  assert.equal(isPlain(parseQuestion(query('a\0b'))!), false);
  assert.equal(isPlain(parseQuestion(query('web', 1, { flags: 0x2800 }))!), false, 'an update is no question');
});

test('what is no query is none: answers, several questions, pointers, labels and names past their ends', () => {
  const plain = query('web');
  const pointer = Buffer.concat([header(), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
  const long = Buffer.concat([
    header(),
    ...Array(8).fill(Buffer.concat([Buffer.of(63), Buffer.alloc(63, 97)])),
    Buffer.from([0, 0, 1, 0, 1]),
  ]);
  for (const packet of [
    Buffer.alloc(0),
    header(),
    query('web', 1, { flags: 0x8100 }),
    query('web', 1, { questions: 2 }),
    query('web', 1, { questions: 0 }),
    pointer,
    long,
    plain.subarray(0, plain.length - 1),
    Buffer.concat([header(), Buffer.from([63, 97, 97, 0, 0, 1, 0, 1])]),
  ])
    assert.equal(parseQuestion(packet), undefined, packet.toString('hex'));
  assert.equal(refuseUnread(header())?.toString('hex'), '123480810000000000000000');
  assert.equal(refuseUnread(header({ flags: 0x8000 })), undefined, 'an answer is not answered');
  assert.equal(refuseUnread(Buffer.alloc(3)), undefined);
});

test('an answer has the question, a record for each address, and says when not all of them went in', () => {
  const packet = query('web');
  const question = parseQuestion(packet)!;
  const answer = composeAnswer(packet, question, [Buffer.from([10, 0, 0, 2])]);
  assert.equal(answer.toString('hex', 0, 12), '123481800001000100000000');
  assert.equal(answer.toString('hex', question.end), 'c00c00010001000002580004' + '0a000002');
  const many = Array.from({ length: 100 }, (_, at) => Buffer.from([10, 0, 0, at]));
  const cut = composeAnswer(packet, question, many, { size: 512 });
  assert.ok(cut.length <= 512);
  assert.equal(cut.readUInt16BE(2) & 0x0200, 0x0200);
  assert.equal(cut.readUInt16BE(6), (cut.length - question.end) / 16);
  assert.equal(composeAnswer(packet, question, many).readUInt16BE(6), 100);
  assert.equal(composeAnswer(packet, question, [], { code: 2 })[3]! & 15, 2);
});

test('only an answer with the number and the question that were sent is one', () => {
  const packet = query('web');
  const { end } = parseQuestion(packet)!;
  const answer = composeAnswer(packet, parseQuestion(packet)!, []);
  assert.equal(isAnswerTo(answer, packet, end, 0x1234), true);
  assert.equal(isAnswerTo(answer, packet, end, 0x1235), false);
  assert.equal(isAnswerTo(packet, packet, end, 0x1234), false, 'a query is none');
  const other = composeAnswer(query('wex'), parseQuestion(query('wex'))!, []);
  assert.equal(isAnswerTo(other, packet, end, 0x1234), false);
  assert.equal(isAnswerTo(answer.subarray(0, 12), packet, end, 0x1234), false);
  assert.equal(withId(packet, 7).readUInt16BE(0), 7);
});

test('names for PTR lead back to addresses', () => {
  assert.equal(reverseAddress('4.3.2.1.in-addr.arpa'), '1.2.3.4');
  const six = `${'0'.repeat(31)}1`.split('').reverse().join('.');
  assert.equal(reverseAddress(`${six}.ip6.arpa`), '0000:0000:0000:0000:0000:0000:0000:0001');
  for (const name of ['', 'in-addr.arpa', '1.2.3.in-addr.arpa', 'x.ip6.arpa'])
    assert.equal(reverseAddress(name), undefined);
  assert.equal(encodeName('a.bc')?.toString('hex'), '0161' + '026263' + '00');
  for (const name of ['', 'a..b', 'x'.repeat(64)]) assert.equal(encodeName(name), undefined, name);
});
