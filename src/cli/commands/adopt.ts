import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { Adoptions, ShownPlan } from '../../adopt/adoption.ts';
import type { Outcome } from '../../adopt/apply.ts';
import { planText } from '../../adopt/plan-text.ts';
import type { UndoStep } from '../../adopt/undo.ts';
import { EngineError } from '../../base/errors.ts';
import { type EngineClient, type RequestOptions, ResponseError } from '../../client/client.ts';
import { type Command, type Parsed, UsageError } from '../command.ts';
import { withEngine } from '../connect.ts';
import { humanBytes, paint, plain, plainLine, printJson, table } from '../terminal.ts';

const yes = { short: '-y', also: ['force'], about: 'without asking' } as const;

export const docker: Command = {
  usage: 'adopt docker [OPTIONS]',
  about:
    'Takes over images, volumes, networks and containers of a Docker engine that is stopped: shows what it would take and what\nnot and why, asks, and takes exactly this. It copies, and nothing of Docker is changed. `berth adopt undo` gives it back.',
  options: {
    from: { value: 'DIR', about: "Docker's data root (default /var/lib/docker)" },
    only: { value: 'KINDS', many: true, about: 'only images, volumes, networks or containers; several with commas' },
    plan: { also: ['dry-run'], about: 'only say what would be done' },
    start: { about: 'start in the end what ran when Docker was stopped' },
    yes,
    json: { about: 'the plan as JSON, or what was done, an object a line; without asking only with --yes' },
  },
  operands: { least: 0, most: 0 },
  examples: [
    'berth adopt docker --plan',
    'berth adopt docker --only images,volumes',
    'berth adopt docker --start --yes',
  ],
  async run(parsed) {
    const json = parsed.flag('json');
    const asked = requestOf(parsed);
    return await withEngine(async (client) => {
      const plan = await ask<ShownPlan>(client, 'POST', '/adopt/docker/plan', { json: asked });
      const dry = parsed.flag('plan');
      if (json && dry) printJson(plan);
      if (!json) process.stdout.write(plain(planText(plan)));
      const nothing = plan.steps.every(({ action }) => action !== 'take');
      // An adoption that was cut short may have left some to be started.
      if (dry || (nothing && !parsed.flag('start'))) return 0;
      if (!(await agreed(parsed, 'Take all of this? [y/N] ', 'berth adopt docker --plan, or berth adopt docker --yes')))
        return said('nothing was taken');
      const request = { ...asked, Fingerprint: plan.fingerprint, Start: parsed.flag('start') };
      return await follow(client, '/adopt/docker', { json, body: request });
    });
  },
};

export const undo: Command = {
  usage: 'adopt undo [OPTIONS]',
  about:
    'Removes what was adopted, and asks before. What was used or changed here since stays, and what that needs: it is named,\nwith why. Docker still has everything as it was.',
  options: {
    plan: { also: ['dry-run'], about: 'only say what would be removed' },
    yes,
    json: { about: 'what would go as JSON, or what went, an object a line; without asking only with --yes' },
  },
  operands: { least: 0, most: 0 },
  examples: ['berth adopt undo --plan'],
  async run(parsed) {
    const json = parsed.flag('json');
    return await withEngine(async (client) => {
      const steps = await ask<readonly UndoStep[]>(client, 'GET', '/adopt/undo');
      const dry = parsed.flag('plan');
      if (json && dry) printJson(steps);
      if (!json) process.stdout.write(undoText(steps));
      if (dry || steps.every(({ action }) => action === 'stay')) return 0;
      if (!(await agreed(parsed, 'Remove this? [y/N] ', 'berth adopt undo --plan, or berth adopt undo --yes')))
        return said('nothing was removed');
      return await follow(client, '/adopt/undo', { json });
    });
  },
};

export const ls: Command = {
  usage: 'adopt ls [OPTIONS]',
  about: 'Lists what was adopted and is still in the journal, and says when an adoption was cut short.',
  options: { json: { about: 'what the engine says, as JSON' } },
  operands: { least: 0, most: 0 },
  async run(parsed) {
    const { unfinished, adopted } = await withEngine((client) => ask<Adoptions>(client, 'GET', '/adopt'));
    if (parsed.flag('json')) {
      printJson({ unfinished, adopted });
      return 0;
    }
    if (unfinished)
      process.stdout.write(
        unfinished.running
          ? `an adoption from ${plainLine(unfinished.from)} goes on since ${unfinished.at}\n`
          : `an adoption from ${plainLine(unfinished.from)} was cut short: what is listed is here whole\ntry: berth adopt docker --from ${plainLine(unfinished.from)}, to take the rest; or berth adopt undo\n`,
      );
    const rows = adopted.map(({ kind, name, bytes, from, at }) => [
      kind.slice(0, -1),
      name,
      bytes > 0 ? humanBytes(bytes) : '-',
      at.slice(0, 19).replace('T', ' '),
      from,
    ]);
    process.stdout.write(
      rows.length > 0 ? table(['KIND', 'NAME', 'SIZE', 'ADOPTED', 'FROM'], rows) : 'nothing was adopted\n',
    );
    return 0;
  },
};

async function ask<T>(client: EngineClient, method: string, path: string, options: RequestOptions = {}): Promise<T> {
  try {
    return await client.json<T>(method, path, options);
  } catch (cause) {
    // What is not found of Docker's has a message of its own, and a hint.
    if (!(cause instanceof ResponseError) || cause.status !== 404 || !/page not found/.test(cause.message)) throw cause;
    throw new EngineError('unsupported', 'this engine adopts nothing: it is no Berth, or an older one', {
      cause,
      hint: 'berth -H unix:///run/berth/berth.sock adopt docker --plan',
    });
  }
}

function requestOf(parsed: Parsed) {
  const only = parsed.values('only').flatMap((kinds) => kinds.split(',').map((kind) => kind.trim()));
  return { From: resolve(parsed.value('from') ?? '/var/lib/docker'), Only: only.filter(Boolean) };
}

function said(text: string): number {
  process.stdout.write(`${text}\n`);
  return 1;
}

async function agreed(parsed: Parsed, question: string, hint: string): Promise<boolean> {
  if (parsed.flag('yes')) return true;
  if (parsed.flag('json') || !process.stdin.isTTY) throw new UsageError('there is nobody to ask', hint);
  const ask = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await ask.question(question)).trim());
  } finally {
    ask.close();
  }
}

function undoText(steps: readonly UndoStep[]): string {
  if (steps.length === 0) return 'nothing was adopted\n';
  const width = Math.max(...steps.map(({ name }) => name.length));
  return plain(
    steps
      .map(({ kind, name, action, why, try: hint }) => {
        const fact = why ?? (action === 'gone' ? 'it was removed already' : '');
        const line = `${action.padEnd(6)}  ${kind.slice(0, -1).padEnd(9)}  ${name.padEnd(width)}  ${fact}`.trimEnd();
        return `${line}\n${hint === undefined ? '' : `        try: ${hint}\n`}`;
      })
      .join(''),
  );
}

interface Line {
  readonly status?: string;
  readonly id?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly aux?: Outcome;
}

/** Shows how it goes, a line for each thing. 1 when one of them failed. */
async function follow(
  client: EngineClient,
  path: string,
  { json, body }: { readonly json: boolean; readonly body?: unknown },
): Promise<number> {
  const live = process.stderr.isTTY === true && !json;
  const clear = () => void (live && process.stderr.write('\r\x1b[K'));
  let failed = 0;
  for await (const { status, id, error, progressDetail, aux } of client.stream<Line>('POST', path, { json: body })) {
    if (error !== undefined) {
      clear();
      throw new EngineError('unavailable', error, { hint: 'berth adopt ls shows what is here' });
    }
    if (!aux) {
      const { current = 0, total = 0 } = progressDetail ?? {};
      const bytes = total > 0 ? `  ${humanBytes(current)} of ${humanBytes(total)}` : '';
      if (live) process.stderr.write(`\r\x1b[K${plainLine(`${status ?? ''} ${id ?? ''}`)}${bytes}`);
      continue;
    }
    clear();
    if (aux.result === 'failed') failed++;
    if (json) {
      process.stdout.write(`${JSON.stringify(aux)}\n`);
      continue;
    }
    const mark = aux.result === 'failed' ? paint('red', '✗') : paint('green', '✓');
    const why = aux.why === undefined ? '' : `: ${plainLine(aux.why)}`;
    process.stdout.write(
      `${mark} ${aux.result.padEnd(7)}  ${aux.kind.slice(0, -1).padEnd(9)}  ${plainLine(aux.name)}${why}\n`,
    );
    if (aux.try !== undefined) process.stdout.write(`           try: ${plainLine(aux.try)}\n`);
  }
  return failed > 0 ? 1 : 0;
}
