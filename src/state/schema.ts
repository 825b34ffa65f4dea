import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';

/** Each entry takes the schema from its index to the next version. Never changed once released, only added to. */
export const migrations: readonly string[] = [
  'CREATE TABLE record (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID, STRICT',
];

/** `Brth`: tells our database from any other SQLite file. */
const applicationId = 0x42727468;

/**
 * Opens the database, making or migrating it as needed. A file that is damaged, newer than this program, or not ours
 * is refused and left as it is: making a new one in its place would lose every container.
 */
export function openSchema(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    const fresh = !existsSync(path);
    database = new DatabaseSync(path, { timeout: 5000 });
    // Before anything is written: the header must be ours, and a stranger's file must stay as it is.
    const id = pragma(database, 'application_id');
    const version = pragma(database, 'user_version');
    const tables = database.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n as number;
    if (!fresh && id !== applicationId && tables > 0)
      throw new EngineError('corrupt', `open ${path}: a SQLite file, but not a database of this engine`, {
        hint: 'move the file away, or configure another data root',
      });
    if (version > migrations.length)
      throw new EngineError(
        'unsupported',
        `open ${path}: written by a newer version (schema ${version}, this program knows ${migrations.length})`,
        { hint: 'upgrade berth, or configure another data root' },
      );
    const check = database.prepare('PRAGMA quick_check(1)').get()?.quick_check;
    if (check !== 'ok') throw damaged(path, String(check));
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    if (version < migrations.length || id !== applicationId) migrate(database, version);
    return database;
  } catch (error) {
    database?.close();
    throw explain(path, error);
  }
}

function migrate(database: DatabaseSync, from: number): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    for (const step of migrations.slice(from)) database.exec(step);
    database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${migrations.length}; COMMIT`);
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function pragma(database: DatabaseSync, name: 'application_id' | 'user_version'): number {
  return database.prepare(`PRAGMA ${name}`).get()?.[name] as number;
}

function damaged(path: string, fact: string): EngineError {
  return new EngineError('corrupt', `open ${path}: the database is damaged: ${fact}`, {
    hint: 'restore it from a copy, or move it and the files beside it (-wal, -shm) away to start empty; images and volumes stay on disk',
  });
}

/** SQLite result codes: https://www.sqlite.org/rescode.html; the low byte is the primary code. */
const busy = 5;
const readOnly = 8;
const ioError = 10;
const corrupt = 11;
const full = 13;
const cannotOpen = 14;
const notADatabase = 26;

/** What SQLite said, as an error that names the file and what to do. */
export function explain(path: string, thrown: unknown): EngineError {
  if (thrown instanceof EngineError) return thrown;
  const errcode =
    typeof thrown === 'object' && thrown && 'errcode' in thrown ? Number(thrown.errcode) & 0xff : undefined;
  const fact = messageOf(thrown);
  if (errcode === corrupt || errcode === notADatabase) return damaged(path, fact);
  if (errcode === full)
    return new EngineError('unavailable', `write ${path}: no space left on device`, {
      hint: 'free space on the disk that holds it',
    });
  if (errcode === busy)
    return new EngineError('unavailable', `open ${path}: another process holds the database`, {
      hint: 'stop the other engine',
    });
  if (errcode === ioError || errcode === readOnly || errcode === cannotOpen)
    return new EngineError('unavailable', `write ${path}: ${fact}`, { hint: 'check the disk that holds it' });
  return new EngineError('internal', `database ${path}: ${fact}${codeOf(thrown) ? ` (${codeOf(thrown)})` : ''}`);
}
