import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { project } from '../lib/engines.ts';

/** Runs a module's text in a network namespace of its own, which goes with it. */
function inNamespace(script: string): unknown {
  const ran = spawnSync('unshare', ['-n', process.execPath, '--input-type=module-typescript', '-e', script], {
    cwd: project,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(ran.status, 0, ran.stderr);
  return JSON.parse(ran.stdout);
}

const head = `
import { execFileSync } from 'node:child_process';
import { linkGroups, Netlink } from '${project}src/sys/netlink.ts';
import { changeElements } from '${project}src/sys/nft-elements.ts';
import { netfilterProtocol, Nftables } from '${project}src/sys/nftables.ts';
const netlink = new Netlink();
`;

test('elements that are added are those that nft lists, and are taken back; a refusal changes nothing', () => {
  const types = {
    names: ['type ifname', '"bn-1"'],
    pairs: ['type ifname . ifname', '"bn-1" . "bn-1"'],
    subnets: ['type ipv4_addr; flags interval', '10.0.0.0/22', '10.0.4.0/22', '255.255.255.0/24'],
    subnets6: ['type ipv6_addr; flags interval', 'fd00:1::/64', 'fd00:1:0:1::/64'],
    own: ['type ifname . ipv4_addr; flags interval', '"bn-1" . 10.0.0.0/22', '"eth0.7" . 10.0.4.0/22'],
    own6: ['type ifname . ipv6_addr; flags interval', '"bn-1" . fd00:1::/64'],
    opened: ['type ipv4_addr . inet_proto . inet_service', '10.0.0.2 . tcp . 80', '10.0.0.2 . udp . 53'],
  };
  const maps = {
    sources: ['type ipv4_addr : ipv4_addr; flags interval', '10.0.0.0/22 : 192.0.2.1'],
    published: ['type inet_proto . inet_service : ipv4_addr . inet_service', 'tcp . 8080 : 10.0.0.2 . 80'],
    published_at: [
      'type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service',
      '127.0.0.1 . udp . 53 : 10.0.0.2 . 5353',
    ],
  };
  const found = inNamespace(`${head}
    const nft = new Nftables();
    const socket = netlink.open(netfilterProtocol);
    const kinds = ${JSON.stringify({ set: types, map: maps })};
    const declare = (kind, [name, [type]]) => kind + ' ' + name + ' {\\n' + type + '\\n}\\n';
    const table = Object.entries(kinds).flatMap(([kind, all]) => Object.entries(all).map((one) => declare(kind, one)));
    nft.run('table inet t {\\n' + table.join('') + '}');
    const all = Object.values(kinds).flatMap((some) => Object.entries(some));
    const change = (verb) => all.map(([set, [type, ...elements]]) => ({ verb, table: 't', set, type, elements }));
    const list = () => nft.run('list table inet t').replace(/\\s+/g, ' ');
    const empty = list();
    changeElements(socket, change('add'));
    const full = list();
    let code = '';
    const absent = { verb: 'delete', table: 't', set: 'names', type: 'type ifname', elements: ['"none"'] };
    try { changeElements(socket, [...change('delete'), absent]); } catch (error) { code = error.code; }
    const refused = list();
    changeElements(socket, change('delete'));
    const many = Array.from({ length: 20_000 }, (_, at) => 'tcp . ' + (at + 1) + ' : 10.0.0.2 . ' + (at + 1));
    changeElements(socket, [{ verb: 'add', table: 't', set: 'published', type: kinds.map.published[0], elements: many }]);
    const count = nft.run('list map inet t published').match(/ : \\d/g).length;
    changeElements(socket, [{ verb: 'delete', table: 't', set: 'published', type: kinds.map.published[0], elements: many }]);
    console.log(JSON.stringify({ empty, full, refused, after: list(), code, count }));
  `) as Record<'empty' | 'full' | 'refused' | 'after' | 'code', string> & { count: number };
  for (const [, ...elements] of [...Object.values(types), ...Object.values(maps)])
    for (const element of elements) assert.ok(found.full.includes(element), `${element} in ${found.full}`);
  assert.equal(found.code, 'ENOENT');
  assert.equal(found.refused, found.full);
  assert.equal(found.count, 20_000);
  assert.equal(found.after, found.empty);
});

test('a watch hears of links and addresses that others change', () => {
  const heard = inNamespace(`${head}
    const watch = netlink.watch(linkGroups);
    const before = watch.heard();
    execFileSync('ip', ['link', 'add', 'bn-1', 'type', 'bridge']);
    execFileSync('ip', ['address', 'add', '10.9.9.1/24', 'dev', 'bn-1']);
    execFileSync('ip', ['link', 'delete', 'bn-1']);
    console.log(JSON.stringify([before.length, [...new Set(watch.heard().map(({ type }) => type))].sort()]));
  `);
  // RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR.
  assert.deepEqual(heard, [0, [16, 17, 20, 21]]);
});
