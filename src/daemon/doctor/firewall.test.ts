import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { forwardDrops } from './firewall.ts';

describe('forwardDrops', () => {
  const own = { bridge: 'berth0', table: 'berth' };
  const chain = (family: string, table: string, name: string, rest = {}) => ({
    chain: { family, table, name, ...rest },
  });
  const drop = { hook: 'forward', policy: 'drop' };

  it("knows Docker's tables, others, and its own", () => {
    const json = JSON.stringify({
      nftables: [
        { metainfo: {} },
        chain('ip', 'filter', 'FORWARD', drop),
        chain('ip', 'filter', 'DOCKER-USER'),
        chain('inet', 'site', 'fwd', drop),
        chain('inet', 'open', 'fwd', { hook: 'forward', policy: 'accept' }),
        chain('inet', 'site', 'in', { hook: 'input', policy: 'drop' }),
        chain('inet', 'berth', 'forward', drop),
      ],
    });
    assert.deepEqual(
      forwardDrops(json, own).map(({ name, cure }) => [name, cure]),
      [
        ['firewall.docker', 'iptables -I DOCKER-USER -i berth0 -j ACCEPT, and the same with -o'],
        ['firewall.forward', 'nft add rule inet site fwd iifname berth0 accept, and the same with oifname'],
      ],
    );
    for (const text of ['', 'x', '{}']) assert.deepEqual(forwardDrops(text, own), []);
  });
});
