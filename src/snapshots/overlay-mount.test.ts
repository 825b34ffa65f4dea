import assert from 'node:assert/strict';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { MountCall, NewMount } from '../sys/mount.ts';
import { mountOverlay, mountOverlayByDescriptors } from './overlay-mount.ts';

test('a label of SELinux is given whole to both kinds of mount, and none is no option at all', () => {
  const made: NewMount[] = [];
  const old: MountCall[] = [];
  const directory = mkdtempSync(join(tmpdir(), 'overlay-mount-'));
  const label = 'system_u:object_r:container_file_t:s0:c1,c2';
  const paths = { lower: [directory], upper: directory, work: directory, target: directory };
  for (const labelled of [{ label }, { label: '' }, {}]) {
    mountOverlay({ mountNew: (mount) => void made.push(mount) }, { ...paths, ...labelled });
    mountOverlayByDescriptors({ mount: (mount) => void old.push(mount) }, { ...paths, ...labelled });
  }
  rmdirSync(directory);
  const contexts = made.map(({ options }) => options.find(([name]) => name === 'context')?.[1]);
  assert.deepEqual(contexts, [label, undefined, undefined]);
  assert.match(old[0]!.data!, /,context="system_u:object_r:container_file_t:s0:c1,c2"$/);
  for (const { data } of old.slice(1)) assert.doesNotMatch(data!, /context/);
});
