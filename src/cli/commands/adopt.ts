import { resolve } from 'node:path';
import type { Plan } from '../../adopt/plan.ts';
import { planText } from '../../adopt/plan-text.ts';
import { type Command, type Parsed, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { plain, printJson } from '../terminal.ts';

const help = 'berth adopt --help';

export const adopt: Command = {
  usage: 'adopt docker [OPTIONS]',
  about: 'Says what can be taken over of a Docker engine that is stopped; in its data root nothing is changed.',
  options: {
    from: { value: 'DIR', about: "Docker's data root (default /var/lib/docker)" },
    only: { value: 'KINDS', many: true, about: 'only images, volumes, networks or containers; several with commas' },
    plan: { about: 'only say what would be done' },
    json: { about: 'the plan as JSON' },
  },
  operands: { least: 1, most: 1 },
  examples: ['berth adopt docker --plan'],
  async run(parsed) {
    const [what] = parsed.operands;
    if (what !== 'docker') throw new UsageError(`${plain(what!)} cannot be adopted, only docker`, help);
    return await withEngine(async (client) => {
      const plan = await client.json<Plan>('POST', '/adopt/docker/plan', { json: requestOf(parsed) });
      if (parsed.flag('json')) printJson(plan);
      else process.stdout.write(plain(planText(plan)));
      return 0;
    });
  },
};

function requestOf(parsed: Parsed) {
  const only = parsed.values('only').flatMap((kinds) => kinds.split(',').map((kind) => kind.trim()));
  return { From: resolve(parsed.value('from') ?? '/var/lib/docker'), Only: only.filter(Boolean) };
}
