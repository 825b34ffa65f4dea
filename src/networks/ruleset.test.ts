import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PublishedPort } from './networks.ts';
import { renderPorts, renderTable } from './ruleset.ts';

const port = (hostAddress: string, hostPort: number, more: Partial<PublishedPort> = {}): PublishedPort => ({
  port: 80,
  protocol: 'tcp',
  hostAddress,
  hostPort,
  ...more,
});

const web = { address: '172.29.0.2', ports: [port('0.0.0.0', 8080), port('::', 8080), port('127.0.0.1', 8081)] };
const dns = { address: '172.29.0.3', ports: [port('0.0.0.0', 53, { port: 5353, protocol: 'udp' })] };

test('the table is replaced in one transaction and has every published port', () => {
  const table = renderTable({ table: 'berth', bridge: 'berth0', subnet: '172.29.0.0/16' }, [web, dns]);
  assert.ok(table.startsWith('table inet berth\ndelete table inet berth\ntable inet berth {\n'));
  assert.ok(table.includes('elements = { tcp . 8080 : 172.29.0.2 . 80, udp . 53 : 172.29.0.3 . 5353 }\n'));
  assert.ok(table.includes('elements = { 127.0.0.1 . tcp . 8081 : 172.29.0.2 . 80 }\n'));
  assert.ok(table.includes('iifname != { "lo", "berth0" } ip daddr 172.29.0.0/16 drop\n'), 'S39');
});

test('without a published port the maps are empty', () => {
  assert.ok(!renderTable({ table: 'berth', bridge: 'berth0', subnet: '172.29.0.0/16' }, []).includes('elements'));
});

test("an endpoint's ports are one command for each map, and IPv6 is not among them", () => {
  assert.equal(
    renderPorts('add', 'berth', web),
    'add element inet berth published { tcp . 8080 : 172.29.0.2 . 80 }\n' +
      'add element inet berth published_at { 127.0.0.1 . tcp . 8081 : 172.29.0.2 . 80 }\n',
  );
  assert.equal(
    renderPorts('delete', 'berth', dns),
    'delete element inet berth published { udp . 53 : 172.29.0.3 . 5353 }\n',
  );
  assert.equal(renderPorts('add', 'berth', { address: '172.29.0.4', ports: [port('::1', 80)] }), '');
});
