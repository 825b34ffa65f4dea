/**
 * Other firewalls of this host. A drop in any table is final: an accept in our own does not help, it must stand in a
 * chain of the one that drops. Here as three steps: `parse` what there is, `plan` what to change, and the class that
 * carries it out.
 */
export interface Filter {
  /** Of the built-in chains: `FORWARD` to `DROP`. */
  readonly policies: ReadonlyMap<string, string>;
  /** Each chain's rules without `-A chain`, in order. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

/** What `iptables -S` prints. */
export function parseFilter(listing: string): Filter {
  const policies = new Map<string, string>();
  const chains = new Map<string, string[]>();
  for (const line of listing.split('\n')) {
    const [verb, chain, ...rest] = line.trim().split(' ');
    if (!chain) continue;
    if (verb === '-P') policies.set(chain, rest[0] ?? '');
    if (verb === '-P' || verb === '-N') chains.set(chain, []);
    if (verb === '-A') chains.get(chain)?.push(rest.join(' '));
  }
  return { policies, chains };
}

/** As iptables lists it: quoted when it has more than letters, digits, - and _. */
const commentOf = (bridge: string) => (/^[\w-]+$/.test(bridge) ? `berth-${bridge}` : `"berth-${bridge}"`);

/**
 * Rules for a hook, in the form in which iptables lists them. Nothing that is not published comes to the bridge: our own
 * table has dropped it before. Towards Docker's bridges Docker's rules decide, or its containers would be open to ours.
 */
function rulesFor(hook: string, bridge: string): string[] {
  const comment = `-m comment --comment ${commentOf(bridge)}`;
  const toDocker = ['docker0', 'br-+'].map((other) => `-i ${bridge} -o ${other} ${comment} -j RETURN`);
  return [
    ...(hook === 'DOCKER-USER' ? toDocker : []),
    `-i ${bridge} ${comment} -j ACCEPT`,
    `-o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT ${comment} -j ACCEPT`,
  ];
}

export interface FirewallFinding {
  readonly name: 'docker' | 'ufw' | 'iptables' | 'firewalld';
  /** The chain that takes our accepts. */
  readonly hook: string;
  /** It drops forwarded packets that nothing accepts. */
  readonly drops: boolean;
}

/** The firewalls that decide over forwarded packets, and where each lets others in. */
export function findFirewalls({ policies, chains }: Filter): FirewallFinding[] {
  const forward = chains.get('FORWARD') ?? [];
  const reached = (chain: string, from = forward) => chains.has(chain) && from.some((rule) => jumps(rule, chain));
  const drops = policies.get('FORWARD') === 'DROP' || forward.some((rule) => /(^| )-j (DROP|REJECT)( |$)/.test(rule));
  const found: FirewallFinding[] = [];
  if (reached('DOCKER-USER')) found.push({ name: 'docker', hook: 'DOCKER-USER', drops });
  if (reached('ufw-before-forward') && reached('ufw-user-forward', chains.get('ufw-before-forward')))
    found.push({ name: 'ufw', hook: 'ufw-user-forward', drops });
  if (found.length === 0 && drops) found.push({ name: 'iptables', hook: 'FORWARD', drops });
  return found;
}

const jumps = (rule: string, chain: string) => rule.endsWith(`-j ${chain}`) || rule.includes(`-j ${chain} `);

/**
 * The lines for `iptables-restore --noflush` that bring our accepts where they are wanted and take them back elsewhere;
 * none when all is as it should be. Rules that others put above ours are left there.
 */
export function planFirewalls(filter: Filter, bridge: string, wanted: boolean): string[] {
  const hooks = wanted ? findFirewalls(filter).map(({ hook }) => hook) : [];
  const steps: string[] = [];
  for (const [chain, rules] of filter.chains) {
    const want = hooks.includes(chain) ? rulesFor(chain, bridge) : [];
    const have = rules.filter((rule) => rule.includes(`--comment ${commentOf(bridge)} `));
    if (want.join('\n') === have.join('\n')) continue;
    steps.push(...have.map((rule) => `-D ${chain} ${rule}`));
    steps.push(...want.toReversed().map((rule) => `-I ${chain} 1 ${rule}`));
  }
  return steps;
}
