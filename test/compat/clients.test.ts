import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import { project, type TestEngine } from '../lib/engines.ts';

/** What other clients than the docker CLI do: dockerode, the SDK for Python, curl. */

/** The bytes of one connection, from what was sent until the engine closes it or `until` is there. */
function talk(engine: TestEngine, sent: string, until?: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(engine.socket);
    let text = '';
    const late = setTimeout(() => socket.destroy(new Error(`no more came than: ${text}`)), 10_000);
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (until?.test(text)) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(late);
      resolve(text);
    });
    socket.write(sent);
  });
}

const frame = (stream: number, text: string) => `${String.fromCharCode(stream, 0, 0, 0, 0, 0, 0, text.length)}${text}`;

onBothEngines('other clients', { runtimes: ['crun'] }, ({ same }) => {
  const created = async (engine: TestEngine, body: object): Promise<string> => {
    const answer = await engine.api('POST', '/containers/create', { Image: 'bb:1', ...body });
    assert.equal(answer.status, 201, answer.body);
    return (JSON.parse(answer.body) as { Id: string }).Id;
  };

  const pythonSdk = existsSync('/usr/lib/python3/dist-packages/docker');
  if (!pythonSdk) test.skip('the SDK for Python cannot be had here');
  else
    same(
      'the SDK for Python: run, exec, files, logs, wait, images, networks, volumes, events, the low level',
      (engine) => {
        const expected = [
          'ping True linux linux',
          "run b'out\\nerr\\n'",
          "failed 3 b'no\\n'",
          'no image True',
          "state running sdk {'tier': 'web'} 67108864 ['80/tcp']",
          "list ['sdk']",
          "exec 4 b'1\\ne\\n'",
          "demux 0 b'o\\n' b'e\\n'",
          "stream b'streamed\\n'",
          "socket b'through\\n'",
          "logs b'ready\\n' b'ready\\n' [b'ready\\n']",
          "top ['PID', 'COMMAND'] ['sleep 100']",
          'paused paused',
          "wait {'StatusCode': 137}",
          'stopped exited 137',
          'gone No such container: sdk2',
          "images [['bb:1']] linux",
          "tagged ['bb:1', 'other:2']",
          'image gone No such image: nosuch:1',
          "volume sdkvolume {'a': 'b'} ['sdkdata', 'sdkvolume']",
          "networks ['bridge', 'host', 'none']",
          "attached b'typed\\n'",
          "events ['create', 'attach', 'start', 'kill', 'die', 'destroy']",
          "put True b'from outside\\n'",
          "get given 13 b'from outside\\n'",
          "diff [{'Path': '/tmp', 'Kind': 0}, {'Path': '/tmp/given', 'Kind': 1}]",
          'export True',
          "commit ['sdkimage:1'] True made me",
          "history ['made', '']",
          "loaded [['sdkimage:1']]",
          'pruned None',
          'update None',
          'stats /sdk4 True 2',
          'stats stream /sdk4',
          "tty b'got typed'",
          "options 0 b'/tmp\\n1000\\n2\\n'",
          'missing 127',
          "chunks b'one\\ntwo\\n'",
          "pairs b'o\\n' b'e\\n'",
          "networks ['sdknet', 'sdknet2'] ['sdk4']",
          'in use 403',
          'stopped 143',
          "networks pruned ['sdknet']",
          "volumes pruned ['sdkkept']",
          "low True [['bb:1']] linux",
          "low attach b'got this\\n'",
          'low wait 5 5',
          "low logs b'got this\\n' b'err\\n'",
          "low inspect 5 ['/low']",
          'low removed 0',
          'low exec No such exec instance: nosuch',
          'low bad 400 True',
          "lines [b'1\\n', b'2\\n', b'3\\n']",
          "df ['BuildCache', 'Containers', 'Images', 'LayersSize', 'Volumes']",
        ];
        const result = spawnSync('python3', ['-W', 'ignore', `${project}test/compat/python-sdk.py`], {
          env: engine.env,
          encoding: 'utf8',
          timeout: 180_000,
        });
        assert.equal(result.status, 0, `${result.stdout}${result.stderr}`);
        assert.deepEqual(result.stdout.trim().split('\n'), expected);
      },
    );

  same('attach without Upgrade: 200, frames, the end of the connection', async (engine) => {
    const id = await created(engine, { Cmd: ['sh', '-c', 'echo out; sleep 0.2; echo err >&2'] });
    const output = talk(
      engine,
      `POST /containers/${id}/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`,
    );
    await sleep(200);
    assert.equal((await engine.api('POST', `/containers/${id}/start`)).status, 204);
    const text = await output;
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(text, /\r\nContent-Type: application\/vnd\.docker\.(raw|multiplexed)-stream\r\n/i);
    assert.equal(text.slice(text.indexOf('\r\n\r\n') + 4), frame(1, 'out\n') + frame(2, 'err\n'));
  });

  same('exec start without Upgrade', async (engine) => {
    const id = await created(engine, { Cmd: ['sleep', '100'] });
    await engine.api('POST', `/containers/${id}/start`);
    const exec = JSON.parse(
      (await engine.api('POST', `/containers/${id}/exec`, { Cmd: ['echo', 'hello'], AttachStdout: true })).body,
    ) as { Id: string };
    const text = await talk(
      engine,
      `POST /exec/${exec.Id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    );
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
    assert.ok(text.endsWith(frame(1, 'hello\n')), text);
    assert.equal((await engine.api('POST', `/exec/${exec.Id}/start`, { Detach: true })).status, 409);
  });

  same('bodies in chunks, keys in lower case, 100-continue', async (engine) => {
    const body = '{"image":"bb:1","cmd":["true"],"hostconfig":{"memory":67108864},"LABELS":{"a":"b"}}';
    const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const head =
      'POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n';
    const made = await talk(engine, `${head}Transfer-Encoding: chunked\r\n\r\n${chunked}`);
    assert.match(made, /^HTTP\/1\.1 201 Created\r\n/);
    const id = /[0-9a-f]{64}/.exec(made)![0];
    const inspected = JSON.parse((await engine.api('GET', `/containers/${id}/json`)).body) as {
      HostConfig: { Memory: number };
      Config: { Labels: object; Cmd: string[] };
    };
    assert.equal(inspected.HostConfig.Memory, 67108864);
    assert.deepEqual(inspected.Config.Labels, { a: 'b' });
    assert.deepEqual(inspected.Config.Cmd, ['true']);
    const expecting = new Promise<string[]>((resolve, reject) => {
      const seen: string[] = [];
      const sent = request({
        socketPath: engine.socket,
        method: 'POST',
        path: '/containers/create',
        headers: { 'Content-Type': 'application/json', 'Content-Length': body.length, Expect: '100-continue' },
      });
      sent.on('continue', () => {
        seen.push('continue');
        sent.end(body);
      });
      sent.on('response', (response) => {
        seen.push(String(response.statusCode));
        response.resume();
        response.on('end', () => resolve(seen));
      });
      sent.on('error', reject);
      sent.flushHeaders();
    });
    assert.deepEqual(await expecting, ['continue', '201']);
  });

  same('one connection for many requests, also behind an error', async (engine) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sockets = new Set<unknown>();
    const ask = (method: string, path: string, body?: string) =>
      new Promise<number>((resolve, reject) => {
        const sent = request(
          {
            socketPath: engine.socket,
            agent,
            method,
            path,
            headers: body ? { 'Content-Type': 'application/json' } : {},
          },
          (response: IncomingMessage) => {
            response.resume();
            response.on('end', () => resolve(response.statusCode ?? 0));
          },
        );
        sent.on('socket', (socket) => sockets.add(socket));
        sent.on('error', reject);
        sent.end(body);
      });
    const answers = [
      await ask('GET', '/_ping'),
      await ask('GET', '/containers/nosuch/json'),
      await ask('POST', '/containers/create', '{bad'),
      await ask('HEAD', '/_ping'),
      await ask('GET', '/nosuch'),
      await ask('GET', '/containers/json'),
    ];
    agent.destroy();
    assert.deepEqual(answers, [200, 404, 400, 200, 404, 200]);
    assert.equal(sockets.size, 1);
  });

  same('filters in both encodings; bare and versioned paths', async (engine) => {
    const id = await created(engine, { Cmd: ['true'], Labels: { tier: 'web' } });
    for (const prefix of ['', '/v1.24', '/v1.41', '/v1.51'])
      for (const filters of ['{"label":["tier=web"]}', '{"label":{"tier=web":true}}']) {
        const answer = await engine.api(
          'GET',
          `${prefix}/containers/json?all=1&filters=${encodeURIComponent(filters)}`,
        );
        assert.deepEqual(
          (JSON.parse(answer.body) as { Id: string }[]).map(({ Id }) => Id),
          [id],
          prefix + filters,
        );
      }
    const hidden = await engine.api('GET', `/containers/json?all=1&filters={"label":{"tier=web":false}}`);
    assert.equal(hidden.status, 200);
    // An unknown filter of the event stream is ignored, as nowhere else.
    assert.equal((await engine.api('GET', `/events?until=1&filters=${encodeURIComponent('{"x":["y"]}')}`)).status, 200);
  });

  same('HEAD and _ping: headers of a GET and no body', async (engine) => {
    for (const method of ['GET', 'HEAD']) {
      const { status, headers, body } = await engine.api(method, '/_ping');
      assert.equal(status, 200);
      assert.equal(headers['api-version'], '1.51');
      assert.equal(headers['ostype'], 'linux');
      assert.equal(headers['docker-experimental'], 'false');
      assert.equal(headers['swarm'], 'inactive');
      assert.equal(headers['cache-control'], 'no-cache, no-store, must-revalidate');
      assert.match(String(headers['server']), /^Docker\/28\.5\.2/);
      assert.equal(body, method === 'GET' ? 'OK' : '');
    }
  });
});
