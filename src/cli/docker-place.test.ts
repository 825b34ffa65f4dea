import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type PlaceFacts, planInstall, planUninstall, recordPath, renderPlan } from './docker-place.ts';
import { applyPlan, lookAtPlace, type PlaceDeps } from './docker-place-apply.ts';
import { servicePath, socketUnitPath } from './engine-units.ts';

const free: PlaceFacts = {
  systemd: true,
  answers: undefined,
  units: [],
  dockerGroup: true,
  dockerCommand: true,
  record: undefined,
  own: [],
};
const asDocker = { asDocker: true, replace: false, configFile: undefined };

test('while Docker is in its place, or would be at the next boot, it is refused in plain words', () => {
  const unit = { name: 'docker.service', enabled: true, active: true };
  for (const [facts, why] of [
    [{ units: [unit] }, /Docker runs here \(docker\.service\)/],
    [{ units: [{ ...unit, active: false }] }, /would be started at the next boot/],
    [{ answers: 'Docker Engine - Community' }, /Docker Engine - Community answers on/],
  ] as const)
    assert.throws(() => planInstall({ ...free, ...facts }, asDocker), why);
  // Started by hand: --replace could not give it back.
  assert.throws(() => planInstall({ ...free, answers: 'Docker' }, { ...asDocker, replace: true }), /Docker answers on/);
  assert.doesNotThrow(() => planInstall({ ...free, answers: 'berth' }, asDocker));
});

test('the plan of --replace remembers before it stops, and what an install before remembered stays', () => {
  const units = [{ name: 'docker.socket', enabled: true, active: false }];
  const before = [{ name: 'docker.service', enabled: true, active: true }];
  const plan = planInstall({ ...free, units, record: before, dockerCommand: false }, { ...asDocker, replace: true });
  assert.deepEqual(
    plan.steps.map((step) => (step.do === 'systemctl' ? step.args.join(' ') : `${step.do} ${step.path}`)),
    [
      `write ${recordPath}`,
      'disable docker.socket',
      'stop docker.socket',
      `write ${servicePath}`,
      `write ${socketUnitPath}`,
      'daemon-reload',
      'enable berth.socket berth.service',
      'start berth.socket berth.service',
    ],
  );
  assert.match(JSON.stringify(plan.steps[0]), /docker\.service/);
  assert.match(renderPlan(plan), /apt-get install docker-cli/);
});

/** A systemd of two Docker units and ours, in memory; `fails` is a call that does. */
class FakeSystemd {
  readonly destination = mkdtempSync(join(tmpdir(), 'berth-place-'));
  readonly enabled = new Set(['docker.service']);
  readonly active = new Set(['docker.service', 'docker.socket']);
  fails = '';

  readonly deps: PlaceDeps = {
    destination: this.destination,
    systemd: true,
    systemctl: ([verb = '', ...args]) => {
      const names = args.filter((word) => !word.startsWith('--'));
      if (this.fails === `${verb} ${names[0]}`) return { status: 1, said: 'it failed' };
      const set = verb.includes('enable') || verb === 'disable' ? this.enabled : this.active;
      if (verb === 'is-enabled') return { status: 0, said: this.enabled.has(names[0]!) ? 'enabled' : 'disabled' };
      if (verb === 'is-active') return { status: 0, said: this.active.has(names[0]!) ? 'active' : 'inactive' };
      for (const name of names) {
        if (verb === 'enable' || verb === 'start') set.add(name);
        else if (verb === 'disable' || verb === 'stop') set.delete(name);
        if (args.includes('--now')) this.active.delete(name);
      }
      return { status: 0, said: '' };
    },
  };

  at(path: string): string {
    return join(this.destination, path);
  }

  [Symbol.dispose](): void {
    rmSync(this.destination, { recursive: true });
  }
}

const replace = { asDocker: true, replace: true, configFile: undefined };
const install = async ({ deps }: FakeSystemd) =>
  applyPlan(planInstall(await lookAtPlace(deps), replace), deps, async () => planUninstall(await lookAtPlace(deps)));

test('what --replace took is given back exactly, also after a second install', async () => {
  using systemd = new FakeSystemd();
  await install(systemd);
  await install(systemd);
  assert.deepEqual([...systemd.enabled], ['berth.socket', 'berth.service']);
  assert.deepEqual([...systemd.active].toSorted(), ['berth.service', 'berth.socket']);
  const service = readFileSync(systemd.at(servicePath), 'utf8');
  assert.match(service, /^ExecStart=.* --as-docker true$/m);
  assert.match(service, /^KillMode=process$/m);
  assert.match(readFileSync(systemd.at(socketUnitPath), 'utf8'), /^ListenStream=\/run\/docker\.sock$/m);
  assert.equal(statSync(systemd.at(servicePath)).mode & 0o777, 0o644);

  await applyPlan(planUninstall(await lookAtPlace(systemd.deps)), systemd.deps);
  assert.deepEqual([...systemd.enabled], ['docker.service']);
  assert.deepEqual([...systemd.active].toSorted(), ['docker.service', 'docker.socket']);
  for (const path of [servicePath, socketUnitPath, recordPath]) assert.equal(existsSync(systemd.at(path)), false, path);
  assert.deepEqual(planUninstall(await lookAtPlace(systemd.deps)).steps, []);
});

test('an install that fails in the middle gives everything back', async () => {
  using systemd = new FakeSystemd();
  systemd.fails = 'start berth.socket';
  await assert.rejects(install(systemd), /start berth\.socket berth\.service: it failed; all of it was undone/);
  assert.deepEqual([...systemd.enabled], ['docker.service']);
  assert.deepEqual([...systemd.active].toSorted(), ['docker.service', 'docker.socket']);
  assert.equal(existsSync(systemd.at(servicePath)), false);
});

test('a damaged record is said, and names in it that are no units of Docker are nobody to start', async () => {
  using systemd = new FakeSystemd();
  await install(systemd);
  writeFileSync(systemd.at(recordPath), '{"units":[{"name":"ssh.service","enabled":true,"active":true}]}');
  assert.deepEqual((await lookAtPlace(systemd.deps)).record, []);
  writeFileSync(systemd.at(recordPath), '{');
  await assert.rejects(lookAtPlace(systemd.deps), /is damaged/);
});
