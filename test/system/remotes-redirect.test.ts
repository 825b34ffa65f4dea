import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { EngineError } from '../../src/base/errors.ts';
import { silentLog } from '../../src/base/log.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { FakeRegistry } from '../../src/remotes/fake-registry.ts';
import { HttpRegistry } from '../../src/remotes/http-registry.ts';
import { makeServerCertificate } from '../lib/registry.ts';

test('S32 S37 a redirect from https to http is refused, unless that host is listed as insecure, and takes no credentials along', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'remotes-redirect-'));
  const tls = makeServerCertificate(folder, ['registry.test']);
  await using plain = await FakeRegistry.start();
  const blob = plain.putBlob(Buffer.from('a layer'));
  const seen: (string | undefined)[] = [];
  const server = createServer(
    { cert: readFileSync(tls.certificate), key: readFileSync(tls.key) },
    (request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(307, { location: `http://plain.test:${plain.port}${request.url}` }).end();
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `registry.test:${(server.address() as AddressInfo).port}`;
  mkdirSync(join(folder, 'certs.d', host), { recursive: true });
  copyFileSync(tls.authority, join(folder, 'certs.d', host, 'ca.crt'));
  const client = (insecure: readonly string[]) =>
    new HttpRegistry({
      config: { insecure, mirrors: {}, certificates: join(folder, 'certs.d') },
      log: silentLog,
      lookup: (_, options, done) =>
        options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4),
    });
  const open = async (insecure: readonly string[]) => {
    using remote = client(insecure);
    const credentials = { registryToken: 'canary' };
    const { stream } = await remote.openBlob(parseReference(`${host}/app`), blob, 0, { credentials });
    return await buffer(stream);
  };
  try {
    await assert.rejects(open([]), (error) => {
      assert.ok(error instanceof EngineError, String(error));
      assert.match(
        error.message,
        /redirect leads from https to http:\/\/plain\.test:\d+, which is not listed as insecure/,
      );
      return error.kind === 'forbidden';
    });
    assert.equal(plain.seen.length, 0);
    assert.deepEqual(await open(['plain.test']), Buffer.from('a layer'));
    assert.deepEqual(seen, ['Bearer canary', 'Bearer canary']);
    assert.equal(plain.seen[0]!.headers.authorization, undefined);
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  }
});
