import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFileAtomic } from '../base/atomic-file.ts';
import { codeOf, EngineError, messageOf } from '../base/errors.ts';
import { EngineClient } from '../client/client.ts';
import { type DockerUnit, type PlaceFacts, type PlacePlan, recordPath, type Step } from './docker-place.ts';
import { servicePath, socketUnitPath } from './engine-units.ts';

const dockerSocket = '/var/run/docker.sock';
const dockerUnits = ['docker.socket', 'docker.service'];

/** What systemctl says and how it ends; never throws. */
export type Systemctl = (args: readonly string[]) => { readonly status: number; readonly said: string };

export const realSystemctl: Systemctl = (args) => {
  try {
    return {
      status: 0,
      said: execFileSync('systemctl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
    };
  } catch (error) {
    const { status, stdout, stderr } = error as { status?: number; stdout?: string; stderr?: string };
    return { status: status ?? 1, said: `${stdout ?? ''}${stderr ?? messageOf(error)}` };
  }
};

export interface PlaceDeps {
  /** Files are written below it (DESTDIR of packages); '' is this machine. With one nothing of the machine is looked at or started. */
  readonly destination: string;
  readonly systemctl: Systemctl;
  /** Whether systemd runs here. */
  readonly systemd: boolean;
}

export async function lookAtPlace({ destination, systemctl, systemd }: PlaceDeps): Promise<PlaceFacts> {
  const at = (path: string) => join(destination, path);
  const units: DockerUnit[] = systemd
    ? dockerUnits.flatMap((name) => {
        const enabled = systemctl(['is-enabled', name]).said.trim();
        const active = systemctl(['is-active', name]).said.trim();
        const is = { name, enabled: /^enabled/.test(enabled), active: /^(active|activating|reloading)/.test(active) };
        return is.enabled || is.active ? [is] : [];
      })
    : [];
  return {
    systemd,
    answers: destination === '' ? await whoAnswers(dockerSocket) : undefined,
    units,
    dockerGroup: /^docker:/m.test(readOr('/etc/group')),
    dockerCommand: destination !== '' || isOnPath('docker'),
    record: readRecord(at(recordPath)),
    own: [servicePath, socketUnitPath].filter((path) => existsSync(at(path))).map((path) => path.split('/').at(-1)!),
  };
}

/** Carries the plan out. What fails in an install is undone by `undo`, a plan of its own, made of what is there then. */
export async function applyPlan(
  { steps }: PlacePlan,
  { destination, systemctl }: PlaceDeps,
  undo?: () => Promise<PlacePlan>,
): Promise<void> {
  for (const step of steps) {
    try {
      await applyStep(step, destination, systemctl);
    } catch (error) {
      if (!undo) throw error;
      const back = await undo();
      for (const one of back.steps) await applyStep(one, destination, systemctl).catch(() => {});
      throw new EngineError('unavailable', `${messageOf(error)}; all of it was undone`, { cause: error });
    }
  }
}

async function applyStep(step: Step, destination: string, systemctl: Systemctl): Promise<void> {
  if (step.do === 'systemctl') {
    const { status, said } = systemctl(step.args);
    if (status !== 0)
      throw new EngineError('unavailable', `systemctl ${step.args.join(' ')}: ${said.trim() || `exit ${status}`}`, {
        hint: 'journalctl -u berth -n 20',
      });
    return;
  }
  const path = join(destination, step.path);
  if (step.do === 'remove') return rmSync(path, { force: true });
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await writeFileAtomic(path, step.text, { mode: 0o644 });
}

function readRecord(path: string): readonly DockerUnit[] | undefined {
  const text = readOr(path);
  if (text === '') return undefined;
  try {
    const { units } = JSON.parse(text) as { units: readonly DockerUnit[] };
    // Names that nobody else put there are not passed to systemctl.
    return units.filter(({ name }) => dockerUnits.includes(name));
  } catch (error) {
    throw new EngineError('corrupt', `${path} is damaged, and says no more what is to be given back to Docker`, {
      cause: error,
      hint: `systemctl enable --now docker.socket docker.service by hand where Docker is wanted, and remove ${path}`,
    });
  }
}

/** `berth`, or the name of the engine that answers there. */
async function whoAnswers(path: string): Promise<string | undefined> {
  await using client = new EngineClient({ socket: path });
  try {
    const version = await client.json<{ Platform?: { Name?: string } }>('GET', '/version', {
      signal: AbortSignal.timeout(5000),
    });
    const name = version.Platform?.Name ?? '';
    return /berth/i.test(name) ? 'berth' : name || 'Docker';
  } catch (error) {
    const code = codeOf(error) ?? codeOf(error instanceof Error ? error.cause : undefined);
    return code === 'ENOENT' || code === 'ECONNREFUSED' ? undefined : 'an engine';
  }
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
