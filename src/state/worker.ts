/** The only writer of the database. SQLite's calls block, so they live on this thread. */

import type { DatabaseSync } from 'node:sqlite';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { EngineError } from '../base/errors.ts';
import type { Failure, FromWorker, LoadMessage, ToWorker, WriteMessage } from './protocol.ts';
import { explain, openSchema } from './schema.ts';

if (parentPort) serve(parentPort, (workerData as { path: string }).path);

function serve(port: MessagePort, path: string): void {
  const send = (message: FromWorker) => port.postMessage(message);
  let database: DatabaseSync;
  try {
    database = openSchema(path);
  } catch (error) {
    send({ failed: failureOf(path, error) });
    port.close();
    return;
  }
  const put = database.prepare(
    'INSERT INTO record (kind, key, value) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value',
  );
  const remove = database.prepare('DELETE FROM record WHERE kind = ? AND key = ?');
  const select = database.prepare('SELECT key, value FROM record WHERE kind = ?');
  let synchronous = 'FULL';

  /** Group commit: what queued while the last commit ran goes into one transaction, one sync for all. */
  const commit = (batch: readonly WriteMessage[]) => {
    const wanted = batch.some((write) => write.durable) ? 'FULL' : 'NORMAL';
    try {
      // In WAL mode a FULL commit syncs the log, and so everything that NORMAL commits wrote before it. NORMAL leaves
      // it to the page cache, which outlives this process; checkpoints are synced in both.
      if (wanted !== synchronous) database.exec(`PRAGMA synchronous = ${wanted}`);
      synchronous = wanted;
      database.exec('BEGIN IMMEDIATE');
      for (const { changes } of batch)
        for (let at = 0; at < changes.length; at += 3) {
          const value = changes[at + 2];
          if (value === undefined) remove.run(changes[at]!, changes[at + 1]!);
          else put.run(changes[at]!, changes[at + 1]!, value);
        }
      database.exec('COMMIT');
      send({ written: batch.map((write) => write.sequence), failure: undefined });
    } catch (error) {
      try {
        if (database.isTransaction) database.exec('ROLLBACK');
      } catch {
        // The failure that is told is the first one.
      }
      send({ written: batch.map((write) => write.sequence), failure: failureOf(path, error) });
    }
  };

  const load = (message: LoadMessage) => {
    try {
      const records = select.all(message.load).map((row): [string, string] => [String(row.key), String(row.value)]);
      send({ loaded: message.sequence, records });
    } catch (error) {
      send({ loadFailed: message.sequence, failure: failureOf(path, error) });
    }
  };

  port.on('message', (first: ToWorker) => {
    let batch: WriteMessage[] = [];
    const flush = () => {
      if (batch.length > 0) commit(batch);
      batch = [];
    };
    for (let message: ToWorker | undefined = first; message; message = receiveMessageOnPort(port)?.message) {
      if ('changes' in message) {
        // A write that needs no sync does not wait for one that does, when it came first.
        if (message.durable && batch.length > 0 && !batch[0]!.durable) flush();
        batch.push(message);
        continue;
      }
      flush();
      if ('load' in message) load(message);
      else {
        database.close();
        send({ closed: message.sequence });
        port.close();
        return;
      }
    }
    flush();
  });
  send({ opened: true });
}

function failureOf(path: string, thrown: unknown): Failure {
  const error = explain(path, thrown);
  const kind =
    error.kind === 'unavailable' || error.kind === 'corrupt' || error.kind === 'unsupported' ? error.kind : 'internal';
  const hint = error instanceof EngineError ? error.hint : undefined;
  return { kind, message: error.message, ...(hint ? { hint } : {}) };
}
