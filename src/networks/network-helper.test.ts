import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { NetworkHelper } from './network-helper.ts';

test('a helper that ends while an engine looks for it is none', async () => {
  const place = mkdtempSync(join(tmpdir(), 'berth-helper-'));
  const socketPath = join(place, 'socket');
  // It takes the connection, and ends before it answers.
  const ending = createServer((socket) => socket.once('data', () => socket.destroy()));
  ending.listen(socketPath);
  await once(ending, 'listening');
  try {
    await using helper = new NetworkHelper({
      ...{ socketPath, logPath: join(place, 'log'), lingerMs: 1000, log: silentLog },
      hasNames: () => false,
      restoreNames: async () => {},
    });
    await assert.doesNotReject(helper.recover([]));
  } finally {
    ending.close();
    rmSync(place, { recursive: true, force: true });
  }
});
