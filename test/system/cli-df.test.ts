import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BerthCli } from '../lib/berth-cli.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { startBerth, type TestEngine } from '../lib/engines.ts';

interface Report {
  readonly rooms: readonly { readonly name: string; readonly count: number; readonly bytes: number }[];
  readonly unaccounted: readonly { readonly path: string; readonly bytes: number }[];
  readonly total: number;
  readonly walked: number;
}

describe('berth df', () => {
  let engine: TestEngine;
  let berth: BerthCli;

  before(async () => {
    engine = await startBerth();
    berth = new BerthCli(engine);
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
    const script = 'head -c 300000 /dev/zero >/written; head -c 200000 /dev/zero >/data/x; seq 1 20000';
    engine.must('create', '--name', 'ended', '-v', 'data:/data', 'bb:1', 'sh', '-c', script);
    engine.must('start', 'ended');
    engine.must('wait', 'ended');
  });
  after(() => engine[Symbol.asyncDispose]());

  const room = ({ rooms }: Report, name: string) => rooms.find((one) => one.name === name)!;
  const du = () =>
    Number(execFileSync('du', ['-xs', '-B1', join(engine.dir, 'root')], { encoding: 'utf8' }).split('\t')[0]);

  test('its rooms add up to what du says, and know what is in which', () => {
    // The engine writes to its database meanwhile: at rest the two are one.
    let report = berth.json<Report>('df', '--json', '--verify');
    for (let round = 0; round < 50 && (report.total !== du() || report.walked !== report.total); round++)
      report = berth.json<Report>('df', '--json', '--verify');
    assert.equal(report.total, du());
    assert.equal(report.walked, report.total);
    assert.equal(
      report.rooms.reduce((sum, { bytes }) => sum + bytes, 0),
      report.total,
    );
    assert.deepEqual(report.unaccounted, []);
    for (const [name, least] of [
      ['images', 100_000],
      ['writable layers', 300_000],
      ['volumes', 200_000],
      ['logs', 100_000],
      ['engine database', 4096],
    ] as const)
      assert.ok(room(report, name).bytes >= least, `${name}: ${room(report, name).bytes}`);
    assert.deepEqual([room(report, 'images').count, room(report, 'volumes').count], [1, 1]);
  });

  test('for people: rooms, each thing with -v, what a prune would free; docker’s fields', () => {
    const said = berth.must('system', 'df', '-v');
    assert.match(said, /^ROOM +COUNT +TAKES$/m);
    assert.match(said, /^images +1 +[\d.]+ [kM]B$/m);
    assert.match(said, /^[\d.]+ [kM]B in \/.*root$/m);
    assert.match(said, /^bb:1 +[\d.]+ [kM]B +0 B +[\d.]+ [kM]B +1$/m);
    assert.match(said, /^ended +3\d\d kB +exited +bb:1$/m);
    assert.match(said, /^data +2\d\d kB +1$/m);
    assert.match(said, /^berth prune -a --volumes would free about [\d.]+ [kM]B; it shows what first$/m);
    const rows = berth.must('df', '--format', '{{.Type}} {{.TotalCount}} {{.Active}}').trim().split('\n');
    const docker = engine.must('system', 'df', '--format', '{{.Type}} {{.TotalCount}} {{.Active}}').split('\n');
    assert.deepEqual(rows, docker);
  });

  test('what no record knows is named, and counted', () => {
    const stray = join(engine.dir, 'root', 'snapshots', 'containers', 'f'.repeat(64));
    mkdirSync(stray);
    writeFileSync(join(stray, 'lost'), Buffer.alloc(50_000, 1));
    writeFileSync(join(engine.dir, 'root', 'note.txt'), 'mine'.repeat(2000));
    const found = berth.run(['df', '--verify']);
    execFileSync('rm', ['-r', stray, join(engine.dir, 'root', 'note.txt')]);
    assert.equal(found.status, 1);
    assert.match(found.stdout, /^unaccounted for +2 +[\d.]+ kB$/m);
    assert.match(found.stdout, new RegExp(`^ {2}no record knows \\S+${'f'.repeat(64)} \\([\\d.]+ kB\\)$`, 'm'));
    assert.match(found.stdout, /^ {2}no record knows \S+note\.txt \([\d.]+ k?B\)$/m);
    assert.equal(berth.run(['df', '--verify']).status, 0);
    engine.must('rm', 'ended');
    engine.must('volume', 'rm', 'data');
  });
});
