import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { onBothEngines } from '../lib/both-engines.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import type { TestEngine } from '../lib/engines.ts';
import { busyboxImage, multiPlatformImage } from '../lib/images.ts';
import { startRegistry, type TestRegistry } from '../lib/registry.ts';

const other = { name: 'other:1', config: { Labels: { tier: 'web', empty: '' } }, files: { 'etc/other': 'other\n' } };
const lines = (text: string) => text.split('\n').filter(Boolean).sort();
/** Names as `docker images` lists them. */
const names = (engine: TestEngine, ...args: string[]) =>
  lines(engine.must('images', '--format', '{{.Repository}}:{{.Tag}}', ...args));

/** Puts what the shared images are called back, and takes away all other names. */
function reset(engine: TestEngine): void {
  const keep = ['bb:1', 'other:1'];
  const listed = names(engine);
  const extra = listed.filter((name) => !keep.includes(name) && !name.includes('<none>'));
  if (extra.length > 0) engine.docker(['rmi', '-f', ...extra]);
  const loose = lines(engine.must('images', '-q', '--no-trunc', '-f', 'dangling=true'));
  if (loose.length > 0) engine.docker(['rmi', '-f', ...loose]);
  if (!listed.includes('bb:1')) engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
  if (!listed.includes('other:1')) engine.must('load', '-q', '-i', busyboxArchive(other));
}

async function withRegistry(engine: TestEngine, work: (registry: TestRegistry) => void | Promise<void>): Promise<void> {
  await using registry = await startRegistry({ netns: engine.netns });
  await work(registry);
}

onBothEngines('docker images', { images: [{ name: 'bb:1' }, other] }, ({ same, berthOnly }) => {
  const clean = (name: string, check: (engine: TestEngine) => void | Promise<void>) =>
    same(name, async (engine) => {
      try {
        await check(engine);
      } finally {
        reset(engine);
      }
    });

  clean('pull says what it does and what came; again, that nothing did; -q only the name', (engine) =>
    withRegistry(engine, async (registry) => {
      await registry.push(busyboxImage({ extraLayers: 2 }), 'me/web:1');
      const name = `${registry.host}/me/web:1`;
      const first = engine.must('pull', name);
      assert.match(first, /^1: Pulling from me\/web\n/);
      assert.match(first, /^[0-9a-f]{12}: Pull complete$/m);
      assert.match(
        first,
        new RegExp(`Digest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for ${name}\n${name}$`),
      );
      assert.match(engine.must('pull', name), new RegExp(`Status: Image is up to date for ${name}\n${name}$`));
      assert.equal(engine.must('pull', '-q', name), name);
      assert.equal(engine.must('run', '--rm', name, 'cat', '/layer-2'), 'what layer 2 adds');
    }),
  );

  clean('pull by digest: no tag, run and removed by that name', (engine) =>
    withRegistry(engine, async (registry) => {
      const image = busyboxImage({ extraLayers: 1 });
      await registry.push(image, 'me/web:1');
      const name = `${registry.host}/me/web@${image.descriptor.digest}`;
      assert.match(engine.must('pull', name), new RegExp(`Status: Downloaded newer image for ${name}`));
      assert.equal(engine.must('run', '--rm', name, 'cat', '/layer-1'), 'what layer 1 adds');
      assert.deepEqual(
        lines(engine.must('images', '--digests', '--format', '{{.Repository}} {{.Tag}} {{.Digest}}')).filter((line) =>
          line.startsWith(registry.host),
        ),
        [`${registry.host}/me/web <none> ${image.descriptor.digest}`],
      );
      assert.deepEqual(JSON.parse(engine.must('image', 'inspect', '-f', '{{json .RepoDigests}}', name)), [name]);
      assert.match(engine.must('rmi', name), new RegExp(`^Untagged: ${name}$`, 'm'));
      assert.notEqual(engine.docker(['image', 'inspect', name]).status, 0);
    }),
  );

  clean('a pulled tag has its digest beside it', (engine) =>
    withRegistry(engine, async (registry) => {
      const image = busyboxImage();
      await registry.push(image, 'web:1');
      engine.must('pull', '-q', `${registry.host}/web:1`);
      assert.equal(
        engine.must('images', '--digests', '--format', '{{.Tag}} {{.Digest}}', `${registry.host}/web`),
        `1 ${image.descriptor.digest}`,
      );
      engine.must('tag', `${registry.host}/web:1`, 'mine:1');
      engine.must('rmi', `${registry.host}/web:1`);
      assert.equal(engine.must('images', '-q', 'mine').length, 12);
    }),
  );

  clean('pull of what is not there, of bad names, from where nobody listens: refused', (engine) =>
    withRegistry(engine, async (registry) => {
      await registry.push(busyboxImage(), 'web:1');
      for (const [name, words] of [
        [`${registry.host}/web:2`, /manifest for \S+\/web:2 not found: manifest unknown/],
        [`${registry.host}/nosuch`, /manifest for \S+\/nosuch:latest not found: manifest unknown/],
        [`${registry.host}/web@sha256:${'1'.repeat(64)}`, /manifest unknown|not found/],
        ['127.0.0.1:1/web:1', /Get "https?:\/\/127.0.0.1:1\/v2\/": dial tcp 127.0.0.1:1: connect: connection refused/],
        ['Upper:1', /invalid reference format: repository name \(library\/Upper\) must be lowercase/],
        ['web:', /invalid reference format/],
      ] as const) {
        const result = engine.docker(['pull', name]);
        assert.equal(result.status, 1, name);
        assert.match(result.stderr, words);
      }
      assert.deepEqual(names(engine), ['bb:1', 'other:1']);
    }),
  );

  clean('pull takes the platform that is asked for, and says when there is none', (engine) =>
    withRegistry(engine, async (registry) => {
      await registry.push(multiPlatformImage(), 'many:1');
      const name = `${registry.host}/many:1`;
      engine.must('pull', '-q', name);
      assert.equal(engine.must('image', 'inspect', '-f', '{{.Os}}', name), 'linux');
      engine.must('rmi', name);
      const none = engine.docker(['pull', '--platform', 'linux/riscv64', name]);
      assert.equal(none.status, 1);
      assert.match(none.stderr, /no matching manifest for linux\/riscv64/);
      assert.equal(engine.docker(['pull', '--platform', 'nonsense', name]).status, 1);
      assert.deepEqual(names(engine), ['bb:1', 'other:1']);
    }),
  );

  clean('run --pull: missing, always, never', (engine) =>
    withRegistry(engine, async (registry) => {
      await registry.push(busyboxImage({ extraLayers: 1 }), 'web:1');
      const name = `${registry.host}/web:1`;
      const never = engine.docker(['run', '--rm', '--pull', 'never', name, 'true']);
      assert.equal(never.status, 125);
      assert.match(never.stderr, new RegExp(`No such image: ${name}`));
      const missing = engine.docker(['run', '--rm', name, 'cat', '/layer-1']);
      assert.equal(missing.status, 0);
      assert.match(missing.stderr, new RegExp(`^Unable to find image '${name}' locally\n1: Pulling from web\n`));
      assert.equal(missing.stdout, 'what layer 1 adds\n');
      await registry.push(busyboxImage({ extraLayers: 2 }), 'web:1');
      assert.equal(engine.docker(['run', '--rm', name, 'cat', '/layer-2']).status, 1);
      const always = engine.docker(['run', '--rm', '--pull', 'always', name, 'cat', '/layer-2']);
      assert.equal(always.stdout, 'what layer 2 adds\n');
      assert.equal(engine.docker(['run', '--rm', '--pull', 'always', 'nosuch.invalid/x:1', 'true']).status, 125);
      // The image that lost its name is there without one.
      assert.equal(lines(engine.must('images', '-q', '-f', 'dangling=true')).length, 1);
    }),
  );

  clean('images: by name and pattern, and all filters', (engine) => {
    engine.must('tag', 'bb:1', 'bb:two');
    engine.must('tag', 'bb:1', 'registry.example/team/bb:3');
    assert.deepEqual(names(engine, 'bb'), ['bb:1', 'bb:two']);
    assert.deepEqual(names(engine, 'bb:t*'), ['bb:two']);
    assert.deepEqual(names(engine, '*/*/bb'), ['registry.example/team/bb:3']);
    assert.deepEqual(names(engine, 'nosuch'), []);
    assert.deepEqual(names(engine, '-f', 'reference=o*'), ['other:1']);
    assert.deepEqual(names(engine, '-f', 'reference=bb', '-f', 'reference=other'), ['bb:1', 'bb:two', 'other:1']);
    assert.deepEqual(names(engine, '-f', 'label=tier'), ['other:1']);
    assert.deepEqual(names(engine, '-f', 'label=tier=web', '-f', 'label=empty'), ['other:1']);
    assert.deepEqual(names(engine, '-f', 'label=tier=db'), []);
    assert.deepEqual(names(engine, '-f', 'dangling=true'), []);
    assert.deepEqual(names(engine, '-f', 'dangling=false', 'other'), ['other:1']);
    for (const wrong of ['nosuch=1', 'dangling=perhaps', 'before=nosuch', 'since=nosuch'])
      assert.equal(engine.docker(['images', '-f', wrong]).status, 1, wrong);
  });

  clean('images: before and since go by when images were made', (engine) =>
    withRegistry(engine, async (registry) => {
      // 2024; the loaded ones are of 2023.
      await registry.push(busyboxImage(), 'newer:1');
      const newer = `${registry.host}/newer:1`;
      engine.must('pull', '-q', newer);
      assert.deepEqual(names(engine, '-f', `before=${newer}`), ['bb:1', 'other:1']);
      assert.deepEqual(names(engine, '-f', 'since=bb:1'), [newer]);
      assert.deepEqual(names(engine, '-f', `since=${newer}`), []);
      assert.deepEqual(names(engine)[0], newer);
    }),
  );

  clean('images -q, --no-trunc, and inspect by every form of an ID', (engine) => {
    const id = engine.must('images', '-q', '--no-trunc', 'bb:1');
    assert.match(id, /^sha256:[0-9a-f]{64}$/);
    assert.equal(engine.must('images', '-q', 'bb:1'), id.slice(7, 19));
    for (const form of ['bb:1', 'docker.io/library/bb:1', id, id.slice(7), id.slice(7, 19), id.slice(0, 15)])
      assert.equal(engine.must('image', 'inspect', '-f', '{{.Id}}', form), id, form);
    const missing = engine.docker(['image', 'inspect', 'nosuch:1']);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /No such image: nosuch:1/);
    assert.equal(missing.stdout, '[]\n');
  });

  same('inspect has the same shape', (engine) => {
    const [image] = JSON.parse(engine.must('image', 'inspect', 'other:1')) as Record<string, unknown>[];
    const kinds = Object.fromEntries(
      ['Id', 'RepoTags', 'RepoDigests', 'Created', 'Architecture', 'Os', 'Size', 'RootFS', 'Config', 'Metadata'].map(
        (key) => [key, Array.isArray(image![key]) ? 'array' : typeof image![key]],
      ),
    );
    assert.deepEqual(kinds, {
      ...{ Id: 'string', RepoTags: 'array', RepoDigests: 'array', Created: 'string', Architecture: 'string' },
      ...{ Os: 'string', Size: 'number', RootFS: 'object', Config: 'object', Metadata: 'object' },
    });
    assert.deepEqual(image!.RepoTags, ['other:1']);
    assert.equal(image!.Created, '2023-11-14T22:13:20Z');
    const config = image!.Config as Record<string, unknown>;
    assert.deepEqual(config.Cmd, ['sh']);
    assert.deepEqual(config.Labels, { tier: 'web', empty: '' });
    assert.deepEqual(config.Env, ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']);
    const rootfs = image!.RootFS as { Type: string; Layers: string[] };
    assert.equal(rootfs.Type, 'layers');
    assert.match(rootfs.Layers.join(), /^sha256:[0-9a-f]{64}$/);
  });

  same('history', (engine) => {
    const format = '{{.CreatedBy}}|{{.CreatedAt}}|{{.Comment}}';
    assert.equal(
      engine.must('history', '--format', format, 'other:1'),
      `busybox from Debian|${'2023-11-14T22:13:20Z'}|`,
    );
    const [newest] = lines(engine.must('history', '-q', '--no-trunc', 'other:1'));
    assert.equal(newest, engine.must('images', '-q', '--no-trunc', 'other:1'));
    assert.match(engine.must('history', '-H=false', '--format', '{{.Size}}', 'other:1'), /^[12]\d{6}$/);
    assert.match(engine.docker(['history', 'nosuch']).stderr, /No such image: nosuch:latest/);
  });

  clean('tag: names, moved names, bad names', (engine) => {
    engine.must('tag', 'bb:1', 'again');
    engine.must('tag', 'other:1', 'again');
    assert.equal(
      engine.must('image', 'inspect', '-f', '{{.Id}}', 'again'),
      engine.must('images', '-q', '--no-trunc', 'other:1'),
    );
    engine.must('tag', engine.must('images', '-q', 'bb:1'), 'by.example:5000/id:x');
    assert.deepEqual(names(engine, 'by.example:5000/id'), ['by.example:5000/id:x']);
    for (const wrong of ['Upper:1', 'x:', ':x', 'x:a b', 'x@y', '-x', 'x:.dot', `sha256:${'a'.repeat(64)}`, ''])
      assert.equal(engine.docker(['tag', 'bb:1', wrong]).status, 1, wrong);
    const missing = engine.docker(['tag', 'nosuch', 'x:1']);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /No such image: nosuch:latest/);
  });

  clean('rmi: a name goes, the image with its last one', (engine) => {
    engine.must('tag', 'other:1', 'second:1');
    const id = engine.must('images', '-q', '--no-trunc', 'other:1');
    assert.equal(engine.must('rmi', 'second:1'), 'Untagged: second:1');
    const last = engine.must('rmi', 'other:1');
    assert.match(last, /^Untagged: other:1$/m);
    assert.match(last, new RegExp(`^Deleted: ${id}$`, 'm'));
    const again = engine.docker(['rmi', 'other:1']);
    assert.equal(again.status, 1);
    assert.match(again.stderr, /No such image: other:1/);
    assert.equal(engine.docker(['rmi', '-f', 'other:1']).status, 0);
  });

  clean('rmi by ID: refused when it has several names, unless forced', (engine) => {
    const id = engine.must('images', '-q', 'other:1');
    engine.must('tag', 'other:1', 'second:1');
    const several = engine.docker(['rmi', id]);
    assert.equal(several.status, 1);
    assert.match(
      several.stderr,
      new RegExp(
        `conflict: unable to delete ${id} \\(must be forced\\) - image is referenced in multiple repositories`,
      ),
    );
    assert.deepEqual(names(engine, '-f', 'label=tier'), ['other:1', 'second:1']);
    const forced = engine.must('rmi', '-f', id);
    assert.match(forced, /^Untagged: other:1$/m);
    assert.match(forced, /^Untagged: second:1$/m);
    assert.deepEqual(names(engine), ['bb:1']);
  });

  clean('rmi of an image that a stopped container uses: refused, forced', (engine) => {
    const container = engine.must('create', 'other:1', 'true');
    const short = engine.must('images', '-q', 'other:1');
    const refused = engine.docker(['rmi', 'other:1']);
    assert.equal(refused.status, 1);
    assert.match(
      refused.stderr,
      new RegExp(
        `conflict: unable to remove repository reference "other:1" \\(must force\\) - container ${container.slice(0, 12)} is using its referenced image ${short}`,
      ),
    );
    engine.must('rmi', '-f', 'other:1');
    assert.deepEqual(names(engine), ['bb:1']);
    assert.equal(engine.must('ps', '-a', '--format', '{{.Image}}', '--filter', `id=${container}`), short);
    engine.must('rm', container);
  });

  clean('rmi of an image that a running container uses: a name among several goes, the image stays', (engine) => {
    const container = engine.must('run', '-d', 'other:1', 'sleep', '1000');
    const id = engine.must('images', '-q', 'other:1');
    engine.must('tag', 'other:1', 'second:1');
    assert.equal(engine.must('rmi', 'second:1'), 'Untagged: second:1');
    const byName = engine.docker(['rmi', 'other:1']);
    assert.equal(byName.status, 1);
    assert.match(byName.stderr, /conflict: unable to remove repository reference "other:1" \(must force\)/);
    for (const args of [
      ['rmi', id],
      ['rmi', '-f', id],
    ]) {
      const byId = engine.docker(args);
      assert.equal(byId.status, 1, args.join(' '));
      assert.match(
        byId.stderr,
        new RegExp(
          `conflict: unable to delete ${id} \\(cannot be forced\\) - image is being used by running container ${container.slice(0, 12)}`,
        ),
      );
    }
    assert.equal(engine.must('exec', container, 'cat', '/etc/other'), 'other');
    engine.must('rm', '-f', container);
  });

  clean('load takes what docker save writes, plain, gzip and zstd of several frames', (engine) => {
    const archive = busyboxArchive({ name: 'loaded:1', files: { loaded: 'yes\n' } });
    const bytes = readFileSync(archive);
    const half = Math.floor(bytes.length / 2);
    const file = (name: string, content: Buffer) => {
      writeFileSync(join(engine.dir, name), content);
      return join(engine.dir, name);
    };
    for (const path of [
      archive,
      file('a.tar.gz', execFileSync('gzip', ['-1c', archive], { maxBuffer: 1 << 28 })),
      file(
        'a.tar.zst',
        Buffer.concat([zstdCompressSync(bytes.subarray(0, half)), zstdCompressSync(bytes.subarray(half))]),
      ),
    ]) {
      assert.equal(engine.must('load', '-i', path), 'Loaded image: loaded:1', path);
      assert.equal(engine.must('run', '--rm', 'loaded:1', 'cat', '/loaded'), 'yes');
      engine.must('rmi', 'loaded:1');
    }
    const piped = engine.docker(['load'], { input: bytes });
    assert.equal(piped.stdout, 'Loaded image: loaded:1\n');
  });

  for (const form of ['docker-archive', 'oci-archive'])
    (form === 'oci-archive' ? berthOnly : same)(`load takes skopeo's ${form}`, (engine) => {
      const source = `docker-archive:${busyboxArchive({ name: 'made:1', files: { made: 'yes\n' } })}`;
      const to = join(engine.dir, `${form}.tar`);
      execFileSync('skopeo', ['--insecure-policy', 'copy', '-q', source, `${form}:${to}:example/made:1`]);
      assert.equal(engine.must('load', '-q', '-i', to), 'Loaded image: example/made:1');
      assert.equal(engine.must('run', '--rm', 'example/made:1', 'cat', '/made'), 'yes');
      reset(engine);
    });

  clean('load of what is no archive: refused, nothing changed', (engine) => {
    const bytes = readFileSync(busyboxArchive({ name: 'cut:1', files: { cut: 'no\n' } }));
    for (const input of [Buffer.from('garbage'.repeat(500)), Buffer.alloc(0), bytes.subarray(0, bytes.length / 2)]) {
      const result = engine.docker(['load'], { input });
      assert.equal(result.status, 1);
      assert.notEqual(result.stderr, '');
    }
    assert.deepEqual(names(engine), ['bb:1', 'other:1']);
  });

  clean("the image's own command, environment, directory, user and volumes hold", (engine) => {
    const archive = busyboxArchive({
      name: 'own:1',
      config: {
        Entrypoint: ['sh', '-c', 'echo "$0|$*|$A|$(pwd)|$(id -un)"; ls -ld /data | cut -c1-10'],
        Cmd: ['zero', 'one', 'two'],
        Env: ['PATH=/bin', 'A=from image'],
        WorkingDir: '/home/deep',
        User: 'web',
        Volumes: { '/data': {} },
        ExposedPorts: { '80/tcp': {} },
        StopSignal: 'SIGUSR1',
      },
      files: { 'home/deep/x': '', 'data/seed': 'seeded\n' },
    });
    engine.must('load', '-q', '-i', archive);
    assert.equal(engine.must('run', '--rm', 'own:1'), 'zero|one two|from image|/home/deep|web\ndrwxr-xr-x');
    assert.equal(engine.must('run', '--rm', 'own:1', 'other'), 'other||from image|/home/deep|web\ndrwxr-xr-x');
    assert.equal(
      engine.must(
        'run',
        '--rm',
        '-e',
        'A=mine',
        '-w',
        '/',
        '-u',
        '0',
        '--entrypoint',
        'sh',
        'own:1',
        '-c',
        'echo $A; pwd; id -u; cat /data/seed',
      ),
      'mine\n/\n0\nseeded',
    );
    const container = engine.must('create', 'own:1');
    const inspect = (format: string) => engine.must('inspect', '-f', format, container);
    assert.match(
      inspect('{{range .Mounts}}{{.Type}} {{.Destination}} {{.Name}}{{end}}'),
      /^volume \/data [0-9a-f]{64}$/,
    );
    assert.equal(inspect('{{json .Config.ExposedPorts}} {{.Config.StopSignal}}'), '{"80/tcp":{}} SIGUSR1');
    engine.must('rm', '-v', container);
    assert.equal(engine.must('volume', 'ls', '-q'), '');
  });

  clean('run of an image for another platform', (engine) =>
    withRegistry(engine, async (registry) => {
      await registry.push(busyboxImage({ platform: { os: 'linux', architecture: 's390x' } }), 'foreign:1');
      const name = `${registry.host}/foreign:1`;
      const wrong = engine.docker(['run', '--rm', '--platform', 'linux/arm64', 'bb:1', 'true']);
      assert.equal(wrong.status, 125);
      engine.must('pull', '-q', name);
      assert.equal(engine.must('image', 'inspect', '-f', '{{.Architecture}}', name), 's390x');
      const created = engine.docker(['create', name]);
      assert.equal(created.status, 0);
      assert.match(
        created.stderr,
        /requested image's platform \(linux\/s390x\) does not match the detected host platform/,
      );
    }),
  );
});
