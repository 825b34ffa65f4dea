import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { onBothEngines } from '../lib/both-engines.ts';
import { recorded } from './flags-recorded.ts';

/** The flags and commands of the docker CLI, each at least once, against what the reference engine was seen to answer. */
onBothEngines('flags', { runtimes: ['crun'] }, ({ same }) => {
  for (const [group, cases] of Object.entries(recorded))
    same(group, (engine) => {
      const dir = join(engine.dir, 'w');
      mkdirSync(join(dir, 'sub'), { recursive: true });
      writeFileSync(join(dir, 'f'), 'hi\n');
      writeFileSync(join(dir, 'labels'), 'a=1\n#c\nb=two words\nempty\n');
      const clean = (text: string) =>
        text
          // The hint of the CLI, and how newer and older containerd end their messages.
          .replace(/\n\nRun 'docker.*$/s, '')
          // What to try, which Berth adds on a line of its own.
          .replace(/\n {2}try: .*$/gm, '')
          .replaceAll(dir, '{dir}')
          .replaceAll(release(), '<kernel>')
          // The CLI's own words, of which versions differ.
          .replace(/^docker: invalid .*$/im, (line) => line.toLowerCase())
          .replace(/: unknown$/m, '')
          .replace(/[0-9a-f]{64}/g, '<id>')
          .trim();
      for (const [args, status, stdout, stderr] of cases) {
        // Where the limits are read differs on cgroup v2.
        if (/\/sys\/fs\/cgroup/.test(args.join(' ')) && !existsSync('/sys/fs/cgroup/memory')) continue;
        const result = engine.docker(args.map((word) => word.replaceAll('{dir}', dir)));
        assert.deepEqual(
          [result.status, clean(result.stdout), clean(result.stderr)],
          [status, clean(stdout), clean(stderr)],
          `docker ${args.join(' ')}`,
        );
      }
    });
});
