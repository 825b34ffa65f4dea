import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';

/**
 * What a web interface asks for, in the order in which Portainer does: the endpoint's facts, the lists of the dashboard, a
 * container made from a template and looked at from all sides, its console (an exec whose connection is taken over) and
 * its attach over WebSocket.
 */

async function ask<T>(engine: TestEngine, method: string, path: string, body?: unknown): Promise<T> {
  const answer = await engine.api(method, path, body, { 'X-Registry-Auth': 'e30=' });
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.body}`);
  return (answer.body === '' ? undefined : JSON.parse(answer.body)) as T;
}

/** A connection that was taken over by an `Upgrade`: what came behind the head so far, and how to send. */
class Taken {
  readonly #socket: Socket;
  head = '';
  got: Buffer = Buffer.alloc(0);
  ended = false;

  constructor(engine: TestEngine, request: string) {
    this.#socket = connect(engine.socket);
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.ended = true;
    });
    this.#socket.on('data', (chunk) => {
      this.got = Buffer.concat([this.got, chunk]);
      const end = this.head === '' ? this.got.indexOf('\r\n\r\n') : -1;
      if (end < 0) return;
      this.head = this.got.subarray(0, end).toString('latin1');
      this.got = this.got.subarray(end + 4);
    });
    this.#socket.write(request);
  }

  send(bytes: Buffer | string): void {
    this.#socket.write(bytes);
  }

  close(): void {
    this.#socket.destroy();
  }

  async until(right: () => boolean): Promise<void> {
    for (let tries = 0; tries < 600 && !right(); tries++) await sleep(50);
    assert.ok(right(), `${this.head}\n${this.got.toString('latin1')}`);
  }
}

/** A client's frame: whole, masked (RFC 6455, 5.2). */
function frame(opcode: number, content: string): Buffer {
  const bytes = Buffer.from(content);
  const mask = randomBytes(4);
  return Buffer.concat([
    Buffer.from([0x80 | opcode, 0x80 | bytes.length]),
    mask,
    bytes.map((byte, at) => byte ^ mask[at % 4]!),
  ]);
}

/** The contents of the engine's frames so far, and the opcode of the last. */
function framesIn(bytes: Buffer): { readonly content: string; readonly last: number } {
  let [content, last, at] = ['', -1, 0];
  while (at + 2 <= bytes.length) {
    const short = bytes[at + 1]! & 0x7f;
    const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
    const from = at + (short === 126 ? 4 : 2);
    if (from + length > bytes.length) break;
    last = bytes[at]! & 0x0f;
    if (last < 8) content += bytes.subarray(from, from + length).toString();
    at = from + length;
  }
  return { content, last };
}

function webSocket(engine: TestEngine, path: string): { readonly taken: Taken; readonly accept: string } {
  const key = randomBytes(16).toString('base64');
  const taken = new Taken(
    engine,
    `GET ${path} HTTP/1.1\r\nHost: docker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\nOrigin: http://docker\r\n\r\n`,
  );
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  return { taken, accept };
}

onBothEngines('Portainer', {}, ({ same }) => {
  same('the dashboard: facts, lists, events', async (engine) => {
    assert.equal((await engine.api('HEAD', '/_ping')).status, 200);
    const info = await ask<Record<string, unknown>>(engine, 'GET', '/info');
    for (const key of ['ID', 'Name', 'NCPU', 'MemTotal', 'ServerVersion', 'Driver', 'KernelVersion', 'OperatingSystem'])
      assert.ok(info[key], key);
    assert.equal((info['Swarm'] as { LocalNodeState: string }).LocalNodeState, 'inactive');
    const version = await ask<{ ApiVersion: string; Components: { Name: string }[] }>(engine, 'GET', '/version');
    assert.deepEqual([version.ApiVersion, version.Components[0]?.Name], ['1.51', 'Engine']);
    assert.deepEqual(await ask(engine, 'GET', '/containers/json?all=1'), []);
    assert.deepEqual(
      (await ask<{ RepoTags: string[] }[]>(engine, 'GET', '/images/json?all=0')).map(({ RepoTags }) => RepoTags),
      [['bb:1']],
    );
    assert.deepEqual(
      (await ask<{ Volumes: unknown }>(engine, 'GET', '/volumes?filters={"dangling":["true"]}')).Volumes,
      [],
    );
    const networks = await ask<{ Name: string }[]>(engine, 'GET', '/networks');
    assert.deepEqual(networks.map(({ Name }) => Name).sort(), ['bridge', 'host', 'none']);
    const now = Math.floor(Date.now() / 1000);
    assert.equal((await engine.api('GET', `/events?since=${now - 3600}&until=${now}`)).status, 200);
    assert.equal((await engine.api('GET', '/plugins')).status, 200);
    // Portainer asks these of every engine, and goes by the status.
    const statuses = [];
    for (const path of ['/services', '/tasks', '/nodes', '/secrets', '/configs', '/swarm'])
      statuses.push((await engine.api('GET', path)).status);
    assert.deepEqual(statuses, [503, 503, 503, 503, 503, 503]);
    const usage = await ask<{ Images: unknown[] }>(engine, 'GET', '/system/df');
    assert.equal(usage.Images.length, 1);
  });

  same('what is built with nothing is pruned of nothing', (engine) => {
    assert.equal(engine.must('builder', 'prune', '-f'), 'Total reclaimed space: 0B');
    assert.equal(engine.must('system', 'prune', '-f'), 'Total reclaimed space: 0B');
  });

  same('a container from a template, seen from all sides and changed', async (engine) => {
    const template = {
      Image: 'bb:1',
      Env: ['A=1'],
      Cmd: ['sh', '-c', 'echo started; exec sleep 1000'],
      StopSignal: 'SIGKILL',
      MacAddress: '',
      ExposedPorts: { '80/tcp': {} },
      HostConfig: {
        RestartPolicy: { Name: 'unless-stopped' },
        PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '' }] },
        PublishAllPorts: false,
        Binds: ['portdata:/data'],
        AutoRemove: false,
        NetworkMode: 'bridge',
        Privileged: false,
        Init: false,
        Runtime: null,
        ExtraHosts: [],
        Devices: [],
        CapAdd: ['NET_ADMIN'],
        CapDrop: [],
        Sysctls: {},
        LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
        NanoCpus: 0,
        Memory: 0,
        MemoryReservation: 0,
        ShmSize: 67108864,
      },
      NetworkingConfig: { EndpointsConfig: { bridge: { IPAMConfig: { IPv4Address: '', IPv6Address: '' } } } },
      Labels: { 'io.portainer.accesscontrol.public': '' },
      OpenStdin: false,
      Tty: false,
      User: '',
      WorkingDir: '',
      Entrypoint: null,
      Volumes: { '/data': {} },
      Hostname: '',
      Domainname: '',
    };
    const { Id } = await ask<{ Id: string }>(engine, 'POST', '/containers/create?name=tpl', template);
    await ask(engine, 'POST', `/containers/${Id}/start`, {});
    type Inspected = {
      State: { Status: string };
      Mounts: { Name: string }[];
      NetworkSettings: { Ports: Record<string, { HostPort: string }[]> };
    };
    const inspected = await ask<Inspected>(engine, 'GET', `/containers/${Id}/json`);
    assert.deepEqual([inspected.State.Status, inspected.Mounts[0]?.Name], ['running', 'portdata']);
    assert.match(inspected.NetworkSettings.Ports['80/tcp']?.[0]?.HostPort ?? '', /^\d+$/);
    const [listed] = await ask<{ Names: string[]; State: string; Ports: unknown[] }[]>(
      engine,
      'GET',
      `/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify({ volume: ['portdata'] }))}`,
    );
    assert.deepEqual([listed?.Names, listed?.State], [['/tpl'], 'running']);
    assert.ok((listed?.Ports.length ?? 0) > 0);
    const stats = await ask<{ memory_stats: { usage: number }; networks: object }>(
      engine,
      'GET',
      `/containers/${Id}/stats?stream=false`,
    );
    assert.deepEqual([stats.memory_stats.usage > 0, Object.keys(stats.networks)], [true, ['eth0']]);
    const top = await ask<{ Processes: string[][] }>(engine, 'GET', `/containers/${Id}/top`);
    assert.equal(top.Processes[0]?.at(-1), 'sleep 1000');
    for (let tries = 0; tries < 100; tries++)
      if ((await engine.api('GET', `/containers/${Id}/logs?stdout=1`)).body !== '') break;
      else await sleep(50);
    const logs = await engine.api('GET', `/containers/${Id}/logs?stdout=1&stderr=1&timestamps=1&tail=100&since=0`);
    assert.match(logs.body, /Z started\n$/);
    await ask(engine, 'POST', `/containers/${Id}/update`, {
      RestartPolicy: { Name: 'no' },
      Memory: 67108864,
      MemorySwap: -1,
    });
    await ask(engine, 'POST', '/networks/create', { Name: 'portnet', Driver: 'bridge', CheckDuplicate: true });
    await ask(engine, 'POST', '/networks/portnet/connect', { Container: Id });
    await ask(engine, 'POST', '/networks/portnet/disconnect', { Container: Id, Force: false });
    // "Recreate": the old one makes way under another name.
    await ask(engine, 'POST', `/containers/${Id}/stop`);
    await ask(engine, 'POST', `/containers/${Id}/rename?name=tpl-old`);
    const second = await ask<{ Id: string }>(engine, 'POST', '/containers/create?name=tpl', template);
    await ask(engine, 'POST', `/containers/${second.Id}/start`);
    await ask(engine, 'DELETE', `/containers/${Id}?v=0&force=true`);
    await ask(engine, 'DELETE', `/containers/${second.Id}?v=1&force=true`);
    await ask(engine, 'DELETE', '/networks/portnet');
    await ask(engine, 'DELETE', '/volumes/portdata');
  });

  same('the console: an exec whose connection is taken over, resized, and left', async (engine) => {
    engine.must('run', '-d', '--init', '--name', 'box', 'bb:1', 'sleep', '1000');
    const { Id } = await ask<{ Id: string }>(engine, 'POST', '/containers/box/exec', {
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: true,
      User: '',
      Cmd: ['sh'],
    });
    const body = JSON.stringify({ Tty: true, Detach: false });
    const console = new Taken(
      engine,
      `POST /exec/${Id}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    try {
      assert.equal((await engine.api('POST', `/exec/${Id}/resize?h=24&w=111`)).status, 200);
      console.send('stty size; echo $((6*7))\n');
      await console.until(() => /24 111\r\n42\r\n/.test(console.got.toString()));
      assert.match(console.head, /^HTTP\/1\.1 101 /);
      assert.equal((await ask<{ Running: boolean }>(engine, 'GET', `/exec/${Id}/json`)).Running, true);
      console.send('exit 3\n');
      await console.until(() => console.ended);
    } finally {
      console.close();
    }
    assert.equal((await ask<{ ExitCode: number }>(engine, 'GET', `/exec/${Id}/json`)).ExitCode, 3);
  });

  same('attach over WebSocket: what is typed, what is said, and the end', async (engine) => {
    const { Id } = await ask<{ Id: string }>(engine, 'POST', '/containers/create?name=ws', {
      Image: 'bb:1',
      Tty: true,
      OpenStdin: true,
      Cmd: ['sh'],
    });
    await ask(engine, 'POST', `/containers/${Id}/start`);
    const { taken, accept } = webSocket(engine, `/containers/${Id}/attach/ws?stdin=1&stdout=1&stderr=1&stream=1`);
    try {
      await taken.until(() => taken.head !== '');
      assert.match(taken.head, /^HTTP\/1\.1 101 /);
      assert.match(taken.head, new RegExp(`sec-websocket-accept: ${accept.replaceAll('+', '\\+')}`, 'i'));
      assert.equal((await engine.api('POST', `/containers/${Id}/resize?h=30&w=99`)).status, 200);
      taken.send(frame(1, 'stty size; echo $((6*7))\n'));
      await taken.until(() => /30 99\r\n42\r\n/.test(framesIn(taken.got).content));
      taken.send(frame(2, 'exit 0\n'));
      await taken.until(() => taken.ended || framesIn(taken.got).last === 8);
    } finally {
      taken.close();
    }
    const plain = await engine.api('GET', '/containers/nosuch/attach/ws?stream=1');
    assert.ok(plain.status >= 400, String(plain.status));
  });
});
