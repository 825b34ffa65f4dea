import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findFirewalls, parseFilter, planFirewalls } from './firewalls.ts';

const plan = (listing: string, wanted = true) => planFirewalls(parseFilter(listing), 'berth0', wanted);
const accepts = (chain: string) => [
  `-I ${chain} 1 -o berth0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -m comment --comment berth-berth0 -j ACCEPT`,
  `-I ${chain} 1 -i berth0 -m comment --comment berth-berth0 -j ACCEPT`,
];

/** The listing after the steps of a plan that only inserts. */
function insert(listing: string, steps: readonly string[]): string {
  const lines = listing.split('\n');
  for (const step of steps) {
    const [, chain, rule] = /^-I (\S+) 1 (.*)$/.exec(step) ?? [];
    const at = lines.findIndex((line) => line.startsWith(`-A ${chain} `));
    lines.splice(at < 0 ? lines.length : at, 0, `-A ${chain} ${rule}`);
  }
  return lines.join('\n');
}

test('where nothing drops, nothing is added', () => {
  assert.deepEqual(plan('-P INPUT DROP\n-P FORWARD ACCEPT\n-A FORWARD -i x -j ACCEPT\n'), []);
});

test('a policy of DROP, or a final REJECT, gets accepts before it', () => {
  assert.deepEqual(plan('-P FORWARD DROP\n'), accepts('FORWARD'));
  const rejecting = '-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n';
  assert.deepEqual(plan(rejecting), accepts('FORWARD'));
});

test("in Docker's chain its own bridges are left to its own rules", () => {
  const docker = '-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\n';
  assert.deepEqual(plan(docker), [
    ...accepts('DOCKER-USER'),
    '-I DOCKER-USER 1 -i berth0 -o br-+ -m comment --comment berth-berth0 -j RETURN',
    '-I DOCKER-USER 1 -i berth0 -o docker0 -m comment --comment berth-berth0 -j RETURN',
  ]);
  assert.deepEqual(plan(insert(docker, plan(docker))), [], 'what was done is not done again');
  const above = insert(docker, [...plan(docker), '-I DOCKER-USER 1 -s 203.0.113.7/32 -j DROP']);
  assert.deepEqual(plan(above), [], 'rules of a person above ours stay there');
});

test("ufw's chain for forwarding rules of its user takes ours", () => {
  const ufw =
    '-P FORWARD DROP\n-N ufw-before-forward\n-N ufw-user-forward\n-A FORWARD -j ufw-before-forward\n-A ufw-before-forward -j ufw-user-forward\n';
  assert.deepEqual(plan(ufw), accepts('ufw-user-forward'));
  assert.deepEqual(findFirewalls(parseFilter(ufw)), [{ name: 'ufw', hook: 'ufw-user-forward', drops: true }]);
});

test('ours are taken back, and moved when another chain has become the right one', () => {
  const dropping = '-P FORWARD DROP\n';
  const done = insert(dropping, plan(dropping));
  assert.deepEqual(
    plan(done, false).map((step) => step.split(' ')[0]),
    ['-D', '-D'],
  );
  const docker = `${done.trimEnd()}\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER`;
  const steps = plan(docker);
  assert.equal(steps.filter((step) => step.startsWith('-D FORWARD ')).length, 2);
  assert.equal(steps.filter((step) => step.startsWith('-I DOCKER-USER 1 ')).length, 4);
});
