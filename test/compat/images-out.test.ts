/** What leaves an engine and what comes in other ways than by pull and load: save, push, import; and prune, search, sizes. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { onBothEngines } from '../lib/both-engines.ts';
import { busyboxArchive } from '../lib/busybox-image.ts';
import { project, type TestEngine } from '../lib/engines.ts';
import { busyboxFiles, busyboxImage, multiPlatformImage, tar } from '../lib/images.ts';
import { startRegistry } from '../lib/registry.ts';

const lines = (text: string) => text.split('\n').filter(Boolean).sort();
const tags = (engine: TestEngine) => lines(engine.must('images', '--format', '{{.Repository}}:{{.Tag}}'));
const id = (engine: TestEngine, name: string) => engine.must('image', 'inspect', '-f', '{{.Id}}', name);
const filters = (value: object) => `filters=${encodeURIComponent(JSON.stringify(value))}`;

function clean(engine: TestEngine): void {
  const all = lines(engine.must('images', '-aq', '--no-trunc'));
  if (all.length > 0) engine.docker(['rmi', '-f', ...new Set(all)]);
  engine.must('load', '-q', '-i', busyboxArchive({ name: 'bb:1' }));
}

const rootfs = tar([...busyboxFiles(), { name: 'etc/imported', content: 'yes\n' }]);

onBothEngines('images that leave, and that come as file systems', {}, ({ same, berthOnly }) => {
  const cleaned = (name: string, check: (engine: TestEngine) => void | Promise<void>) =>
    same(name, async (engine) => {
      try {
        await check(engine);
      } finally {
        clean(engine);
      }
    });

  cleaned('save and load: the same image under the same names, from a file and through a pipe', (engine) => {
    engine.must('tag', 'bb:1', 'me/app:2');
    engine.must('tag', 'bb:1', 'bb:2');
    const before = id(engine, 'bb:1');
    const file = join(engine.dir, 'saved.tar');
    engine.must('save', '-o', file, 'bb:1', 'me/app:2');
    const archive = engine.docker(['save', 'bb'], {}).stdout;
    assert.match(archive, /manifest\.json/);
    engine.must('rmi', 'bb:1', 'bb:2', 'me/app:2');
    assert.deepEqual(lines(engine.must('load', '-i', file)), ['Loaded image: bb:1', 'Loaded image: me/app:2']);
    assert.deepEqual(tags(engine), ['bb:1', 'me/app:2']);
    assert.equal(id(engine, 'me/app:2'), before);
    assert.equal(engine.must('run', '--rm', 'bb:1', 'echo', 'works'), 'works');
    for (const member of ['manifest.json', 'index.json', 'oci-layout', 'repositories'])
      assert.ok(execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).split('\n').includes(member), member);
    const [entry] = JSON.parse(execFileSync('tar', ['-xOf', file, 'manifest.json'], { encoding: 'utf8' })) as {
      RepoTags: string[];
      Config: string;
      Layers: string[];
    }[];
    assert.deepEqual(entry!.RepoTags, ['bb:1', 'me/app:2']);
    assert.match(entry!.Config, /^blobs\/sha256\/[0-9a-f]{64}$/);
    const repositories = JSON.parse(
      execFileSync('tar', ['-xOf', file, 'repositories'], { encoding: 'utf8' }),
    ) as object;
    assert.deepEqual(Object.keys(repositories).sort(), ['bb', 'me/app']);
  });

  cleaned('save of what is not there: refused, and no file', (engine) => {
    const file = join(engine.dir, 'none.tar');
    for (const names of [['nosuch'], ['bb:1', 'nosuch:3'], ['bb:9'], ['Upper']]) {
      const result = engine.docker(['save', '-o', file, ...names]);
      assert.equal(result.status, 1, names.join(' '));
      assert.match(result.stderr, /No such image|reference does not exist|must be lowercase/);
    }
    assert.throws(() => readFileSync(file), /ENOENT/);
  });

  cleaned('save by API: status, type, and the platform that is not there', async (engine) => {
    const whole = await engine.api('GET', '/images/bb:1/get');
    assert.deepEqual([whole.status, whole.headers['content-type']], [200, 'application/x-tar']);
    assert.equal((await engine.api('GET', '/images/nosuch/get')).status, 404);
    const wanted = encodeURIComponent('{"os":"linux","architecture":"s390x"}');
    const other = await engine.api('GET', `/images/get?names=bb:1&platform=${wanted}`);
    assert.ok([404, 500].includes(other.status), String(other.status));
    assert.match(other.body, /linux\/s390x/);
    assert.equal((await engine.api('GET', '/images/get?names=bb:1&platform=nonsense')).status, 400);
  });

  cleaned('push: what it says, again, quiet, all tags; the registry has it', async (engine) => {
    await using registry = await startRegistry({ netns: engine.netns });
    const name = `${registry.host}/me/app`;
    engine.must('tag', 'bb:1', `${name}:1`);
    const first = engine.must('push', `${name}:1`);
    assert.match(first, new RegExp(`^The push refers to repository \\[${name}\\]\n`));
    assert.match(first, /^[0-9a-f]{12}: Preparing$/m);
    assert.match(first, /^[0-9a-f]{12}: Pushed$/m);
    assert.match(first, /\n1: digest: sha256:[0-9a-f]{64} size: \d+$/);
    assert.match(engine.must('push', `${name}:1`), /^[0-9a-f]{12}: Layer already exists$/m);
    assert.equal(engine.must('push', '-q', `${name}:1`), `${name}:1`);
    engine.must('tag', 'bb:1', `${name}:2`);
    const all = engine.must('push', '-a', name);
    assert.deepEqual(all.match(/^\d: digest/gm), ['1: digest', '2: digest']);
    // In another repository of the registry it is taken from the first.
    engine.must('tag', 'bb:1', `${registry.host}/other:1`);
    assert.match(engine.must('push', `${registry.host}/other:1`), /^[0-9a-f]{12}: Mounted from me\/app$/m);
    assert.match(engine.must('image', 'inspect', '-f', '{{json .RepoDigests}}', 'bb:1'), new RegExp(`${name}@sha256:`));
    engine.must('rmi', '-f', id(engine, 'bb:1'));
    engine.must('pull', '-q', `${name}:2`);
    assert.equal(engine.must('run', '--rm', `${name}:2`, 'echo', 'works'), 'works');
  });

  cleaned('push by API: the stream, its aux, and what is refused before and in it', async (engine) => {
    await using registry = await startRegistry({ netns: engine.netns });
    const auth = { 'X-Registry-Auth': 'e30=' };
    engine.must('tag', 'bb:1', `${registry.host}/app:1`);
    const { status, headers, body } = await engine.api(
      'POST',
      `/images/${registry.host}/app/push?tag=1`,
      undefined,
      auth,
    );
    assert.deepEqual([status, headers['content-type']], [200, 'application/json']);
    const said = body
      .trim()
      .split('\r\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(said[0], { status: `The push refers to repository [${registry.host}/app]` });
    assert.deepEqual(Object.keys(said[1]!), ['status', 'progressDetail', 'id']);
    const { aux } = said.at(-1) as { aux: { Tag: string; Digest: string; Size: number } };
    assert.equal(said.at(-2)!.status, `1: digest: ${aux.Digest} size: ${aux.Size}`);
    assert.equal(aux.Tag, '1');
    const failure = async (path: string) => {
      const answer = await engine.api('POST', path, undefined, auth);
      assert.equal(answer.status, 200, answer.body);
      const last = JSON.parse(answer.body.trim().split('\r\n').at(-1)!) as {
        error: string;
        errorDetail: { message: string };
      };
      assert.ok(last.errorDetail.message.startsWith(last.error));
      return last.error;
    };
    assert.equal(
      await failure(`/images/${registry.host}/app/push?tag=9`),
      `tag does not exist: ${registry.host}/app:9`,
    );
    assert.equal(
      await failure(`/images/${registry.host}/nosuch/push?tag=1`),
      `An image does not exist locally with the tag: ${registry.host}/nosuch`,
    );
    engine.must('tag', 'bb:1', '127.0.0.1:1/app:1');
    assert.match(
      await failure('/images/127.0.0.1:1/app/push?tag=1'),
      /dial tcp 127.0.0.1:1: connect: connection refused/,
    );
    for (const [path, words] of [
      ['/images/Upper/push?tag=1', /must be lowercase/],
      [`/images/${registry.host}/app/push?tag=-x`, /invalid tag format/],
    ] as const) {
      const answer = await engine.api('POST', path, undefined, auth);
      assert.equal(answer.status, 400);
      assert.match(answer.body, words);
    }
  });

  cleaned('login, push, logout at a registry that asks for a password', async (engine) => {
    const user = { username: 'ann', password: 'right' };
    await using registry = await startRegistry({ netns: engine.netns, user });
    engine.must('tag', 'bb:1', `${registry.host}/app:1`);
    const login = (password: string) =>
      engine.docker(['login', '-u', 'ann', '--password-stdin', registry.host], { input: password });
    const denied = engine.docker(['push', `${registry.host}/app:1`]);
    assert.equal(denied.status, 1);
    assert.match(denied.stderr, /no basic auth credentials/);
    const wrong = login('wrong');
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /401 Unauthorized|unauthorized/);
    const right = login('right');
    assert.equal(right.status, 0, right.stderr);
    assert.match(right.stdout, /Login Succeeded/);
    engine.must('push', `${registry.host}/app:1`);
    engine.must('rmi', `${registry.host}/app:1`);
    engine.must('pull', '-q', `${registry.host}/app:1`);
    engine.must('logout', registry.host);
    assert.equal(engine.docker(['push', `${registry.host}/app:1`]).status, 1);
  });

  cleaned('import: the file system runs, with what the changes say', (engine) => {
    const file = join(engine.dir, 'rootfs.tar.gz');
    writeFileSync(file, gzipSync(rootfs));
    const made = engine.must(
      'import',
      ...['-m', 'from a test', '-c', 'CMD ["cat","/etc/imported"]', '-c', 'ENV A=b C="d e"', '-c', 'EXPOSE 80 81/udp'],
      ...['-c', 'LABEL x=y', '-c', 'USER 1000', '-c', 'VOLUME /v', '-c', 'WORKDIR /w', '-c', 'ONBUILD RUN x'],
      ...['-c', 'STOPSIGNAL SIGUSR1', '-c', 'HEALTHCHECK --interval=5s CMD true'],
      ...[file, 'mine:1'],
    );
    assert.match(made, /^sha256:[0-9a-f]{64}$/);
    assert.equal(id(engine, 'mine:1'), made);
    const { Config, Comment, RootFS } = (
      JSON.parse(engine.must('image', 'inspect', 'mine:1')) as [
        { Config: Record<string, unknown>; Comment: string; RootFS: { Layers: string[] } },
      ]
    )[0];
    assert.deepEqual(Config.Cmd, ['cat', '/etc/imported']);
    assert.deepEqual(Config.Env, ['A=b', 'C=d e']);
    assert.deepEqual(Config.ExposedPorts, { '80/tcp': {}, '81/udp': {} });
    assert.deepEqual(Config.Labels, { x: 'y' });
    assert.deepEqual(Config.Volumes, { '/v': {} });
    assert.deepEqual(Config.OnBuild, ['RUN x']);
    assert.deepEqual(Config.Healthcheck, { Test: ['CMD-SHELL', 'true'], Interval: 5_000_000_000 });
    assert.deepEqual([Config.User, Config.WorkingDir, Config.StopSignal], ['1000', '/w', 'SIGUSR1']);
    assert.equal(Comment, 'from a test');
    assert.equal(RootFS.Layers.length, 1);
    assert.equal(engine.must('run', '--rm', 'mine:1', 'cat', '/etc/imported'), 'yes');
    assert.match(engine.must('history', '--no-trunc', '--format', '{{.Comment}}', 'mine:1'), /^from a test$/);
  });

  cleaned('import through a pipe, without a name, and for another platform', (engine) => {
    const made = engine.docker(['import', '-'], { input: rootfs });
    assert.equal(made.status, 0, made.stderr);
    const { RepoTags, Comment } = (
      JSON.parse(engine.must('image', 'inspect', made.stdout.trim())) as [{ RepoTags: string[]; Comment: string }]
    )[0];
    assert.deepEqual([RepoTags, Comment], [[], 'Imported from -']);
    const other = engine.docker(['import', '--platform', 'linux/s390x', '-', 'other:1'], { input: rootfs });
    assert.equal(other.status, 0, other.stderr);
    assert.equal(engine.must('image', 'inspect', '-f', '{{.Os}}/{{.Architecture}}', 'other:1'), 'linux/s390x');
  });

  cleaned('import of what cannot be: refused, nothing changed', async (engine) => {
    const before = tags(engine);
    for (const [query, status, words] of [
      ['repo=imp&changes=RUN+x', 400, /RUN is not a valid change command/],
      ['repo=imp&changes=NOPE+x', 400, /NOPE is not a valid change command/],
      ['repo=imp&changes=EXPOSE+abc', 400, /Invalid containerPort: abc/],
      ['repo=imp&changes=ENV+A', 400, /ENV must have two arguments/],
      ['repo=Upper', 400, /must be lowercase/],
      [`repo=${encodeURIComponent(`imp@sha256:${'1'.repeat(64)}`)}`, 400, /cannot import digest reference/],
    ] as const) {
      const answer = await engine.api('POST', `/images/create?fromSrc=-&${query}`, rootfs);
      assert.equal(answer.status, status, query);
      assert.match(answer.body, words);
    }
    const noise = await engine.api(
      'POST',
      '/images/create?fromSrc=-&repo=imp',
      Buffer.from('no tar at all, really not'),
    );
    assert.ok([400, 500].includes(noise.status));
    const nobody = await engine.api('POST', '/images/create?fromSrc=http://127.0.0.1:1/x.tar&repo=imp');
    assert.ok([500, 503].includes(nobody.status));
    assert.match(
      nobody.body,
      /Get \\"http:\/\/127.0.0.1:1\/x.tar\\": dial tcp 127.0.0.1:1: connect: connection refused/,
    );
    assert.deepEqual(tags(engine), before);
  });

  cleaned('image prune: what has no name; with -a what no container uses; by label and age', async (engine) => {
    const load = (name: string, label: string) =>
      engine.must(
        'load',
        '-q',
        '-i',
        busyboxArchive({ name, config: { Labels: { kind: label } }, files: { f: label } }),
      );
    load('old:1', 'first');
    load('old:1', 'second');
    load('labelled:1', 'third');
    const dangling = () => lines(engine.must('images', '-q', '-f', 'dangling=true')).length;
    assert.equal(dangling(), 1);
    assert.match(engine.must('image', 'prune', '-f', '--filter', 'label=kind=other'), /^Total reclaimed space: 0B$/);
    assert.equal(dangling(), 1);
    const pruned = engine.must('image', 'prune', '-f');
    assert.match(pruned, /^Deleted Images:$/m);
    assert.match(pruned, /^deleted: sha256:[0-9a-f]{64}$/m);
    assert.match(pruned, /^Total reclaimed space: [1-9]/m);
    assert.equal(dangling(), 0);
    assert.deepEqual(tags(engine), ['bb:1', 'labelled:1', 'old:1']);
    engine.must('create', '--name', 'keeps', 'bb:1');
    engine.must('image', 'prune', '-af', '--filter', 'label!=kind=third');
    assert.deepEqual(tags(engine), ['bb:1', 'labelled:1']);
    engine.must('image', 'prune', '-af', '--filter', 'until=2000-01-01');
    assert.deepEqual(tags(engine), ['bb:1', 'labelled:1']);
    engine.must('image', 'prune', '-af', '--filter', 'until=24h');
    assert.deepEqual(tags(engine), ['bb:1']);
    for (const [value, words] of [
      [{ nope: ['x'] }, /nvalid filter 'nope'/],
      [{ dangling: ['maybe'] }, /nvalid filter 'dangling=\[maybe\]'/],
    ] as const) {
      const answer = await engine.api('POST', `/images/prune?${filters(value)}`);
      assert.equal(answer.status, 400);
      assert.match(answer.body, words);
    }
    const none = await engine.api('POST', '/images/prune');
    assert.deepEqual(JSON.parse(none.body), { ImagesDeleted: null, SpaceReclaimed: 0 });
  });

  cleaned('search at a registry that has it: the table, limits, filters, and what is refused', async (engine) => {
    const port = 5999;
    const server = spawn(
      'nsenter',
      [`--net=/run/netns/${engine.netns}`, process.execPath, join(project, 'test/lib/search-server.ts'), String(port)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      await once(server.stdout, 'data');
      const at = `127.0.0.1:${port}`;
      const names = (...args: string[]) =>
        engine
          .must('search', '--format', '{{.Name}} {{.StarCount}} {{.IsOfficial}}', ...args)
          .split('\n')
          .map((line) => line.trim());
      assert.deepEqual(names(`${at}/web`), ['web 900 [OK]', 'ann/web 12', 'bob/web-tools 0']);
      assert.deepEqual(names('--limit', '1', `${at}/web`), ['web 900 [OK]']);
      assert.deepEqual(names('--filter', 'is-official=true', `${at}/web`), ['web 900 [OK]']);
      assert.deepEqual(names('--filter', 'stars=12', `${at}/web`), ['web 900 [OK]', 'ann/web 12']);
      const listed = await engine.api('GET', `/images/search?term=${at}/tools`);
      assert.deepEqual(JSON.parse(listed.body), [
        { star_count: 0, is_official: false, name: 'bob/web-tools', is_automated: false, description: '' },
      ]);
      assert.deepEqual(JSON.parse((await engine.api('GET', `/images/search?term=${at}/nothing`)).body), []);
      assert.match((await engine.api('GET', `/images/search?term=${at}/fails`)).body, /nexpected status code 500/);
    } finally {
      server.kill('SIGKILL');
      await once(server, 'exit');
    }
    for (const [query, words] of [
      ['term=x&limit=abc', /parsing \\"abc\\": invalid syntax/],
      ['term=x&limit=1000', /imit 1000 is outside the range of \[1, 100\]/],
      [`term=x&${filters({ nope: ['x'] })}`, /nvalid filter 'nope'/],
      [`term=x&${filters({ stars: ['x'] })}`, /nvalid filter 'stars=x'/],
      [`term=x&${filters({ 'is-official': ['x'] })}`, /nvalid filter 'is-official=\[x\]'/],
    ] as const) {
      const answer = await engine.api('GET', `/images/search?${query}`);
      assert.equal(answer.status, 400, answer.body);
      assert.match(answer.body, words);
    }
    const nobody = await engine.api('GET', '/images/search?term=127.0.0.1:1/x');
    assert.match(
      nobody.body,
      /invalid registry endpoint .*HTTPS attempt: .*connection refused.*HTTP attempt: .*connection refused/,
    );
  });

  cleaned('what a registry has under a name: digest, size, platforms', async (engine) => {
    await using registry = await startRegistry({ netns: engine.netns });
    const [many, one] = [multiPlatformImage(), busyboxImage()];
    await registry.push(many, 'many:1');
    await registry.push(one, 'one:1');
    const ask = async (name: string) => {
      const answer = await engine.api('GET', `/distribution/${registry.host}/${name}/json`);
      assert.equal(answer.status, 200, answer.body);
      return JSON.parse(answer.body) as { Descriptor: object; Platforms: { os: string; architecture: string }[] };
    };
    const { mediaType, digest, size } = many.descriptor;
    const found = await ask('many:1');
    assert.deepEqual(found.Descriptor, { mediaType, digest, size });
    assert.deepEqual(found.Platforms.map(({ os, architecture }) => `${os}/${architecture}`).slice(0, 2), [
      'linux/s390x',
      'windows/amd64',
    ]);
    assert.equal(((await ask('one:1')).Descriptor as { digest: string }).digest, one.descriptor.digest);
    for (const [name, status, words] of [
      [`${registry.host}/one:9`, [404], /manifest unknown/],
      ['Upper', [400], /must be lowercase/],
      ['127.0.0.1:1/x', [500, 503], /connection refused/],
    ] as const) {
      const answer = await engine.api('GET', `/distribution/${name}/json`);
      assert.ok((status as readonly number[]).includes(answer.status), `${name}: ${answer.status}`);
      assert.match(answer.body, words);
    }
  });

  cleaned('system df: parts by type, what is in use, columns of -v', async (engine) => {
    engine.must('create', '--name', 'one', 'bb:1', 'sh');
    engine.must('volume', 'create', 'data');
    engine.must('run', '--rm', '-v', 'data:/data', 'bb:1', 'dd', 'if=/dev/zero', 'of=/data/file', 'bs=1M', 'count=3');
    try {
      const ask = async (query: string) =>
        JSON.parse((await engine.api('GET', `/system/df${query}`)).body) as {
          LayersSize: number;
          Images: { Id: string; Size: number; SharedSize: number; Containers: number }[] | null;
          Containers: { Names: string[]; SizeRootFs: number }[] | null;
          Volumes: { Name: string; UsageData: { Size: number; RefCount: number } }[] | null;
          BuildCache: unknown[] | null;
        };
      const all = await ask('');
      assert.ok(all.LayersSize > 1_500_000);
      assert.deepEqual(
        all.Images!.map(({ Containers, SharedSize }) => [Containers, SharedSize]),
        [[1, 0]],
      );
      assert.ok(all.Containers![0]!.SizeRootFs > 1_500_000);
      const { Size, RefCount } = all.Volumes!.find(({ Name }) => Name === 'data')!.UsageData;
      assert.ok(Size >= 3 * 1024 * 1024 && Size < 3.1 * 1024 * 1024, String(Size));
      assert.equal(RefCount, 0);
      assert.deepEqual(all.BuildCache, []);
      const images = await ask('?type=image');
      assert.deepEqual([images.Containers, images.Volumes, images.BuildCache], [null, null, null]);
      assert.equal(images.LayersSize, all.LayersSize);
      const two = await ask('?type=volume&type=container');
      assert.deepEqual([two.LayersSize, two.Images], [0, null]);
      assert.equal(two.Volumes!.length, 1);
      const wrong = await engine.api('GET', '/system/df?type=bogus');
      assert.deepEqual([wrong.status, JSON.parse(wrong.body)], [400, { message: 'unknown object type: bogus' }]);
      assert.match(engine.must('system', 'df'), /^Images +1 +1 +\d/m);
      const verbose = engine.must('system', 'df', '-v');
      assert.match(verbose, /^bb +1 +[0-9a-f]{12} .* 0B +\S+MB +1$/m);
      assert.match(verbose, /^data +0 +3\.1\d*MB$/m);
    } finally {
      engine.must('rm', 'one');
      engine.must('volume', 'rm', 'data');
    }
  });

  cleaned('images by patterns: stars, single characters and sets of them', (engine) => {
    for (const name of ['bb:2', 'bb:31', 'me/bb:1', 'bc:1']) engine.must('tag', 'bb:1', name);
    for (const [pattern, found] of [
      ['bb', ['bb:1', 'bb:2', 'bb:31']],
      ['bb:[12]', ['bb:1', 'bb:2']],
      ['b[^b]', ['bc:1']],
      ['b?:1', ['bb:1', 'bc:1']],
      ['*/bb', ['me/bb:1']],
      ['bb:3*', ['bb:31']],
      ['bb:[a-z]', []],
    ] as const)
      assert.deepEqual(
        lines(engine.must('images', '--format', '{{.Repository}}:{{.Tag}}', '--filter', `reference=${pattern}`)),
        found,
        pattern,
      );
  });

  cleaned('images: shared size where it is asked for', async (engine) => {
    engine.must('load', '-q', '-i', busyboxArchive({ name: 'labelled:1', config: { Labels: { a: 'b' } } }));
    const sizes = async (query: string) =>
      (JSON.parse((await engine.api('GET', `/images/json${query}`)).body) as { SharedSize: number }[]).map(
        ({ SharedSize }) => SharedSize,
      );
    assert.deepEqual(await sizes(''), [-1, -1]);
    const shared = await sizes('?shared-size=1');
    assert.equal(shared[0], shared[1]);
    assert.ok(shared[0]! > 1_500_000);
  });

  berthOnly(
    'the digest in the registry is the image’s own, and an index goes whole or is said not to',
    async (engine) => {
      await using registry = await startRegistry({ netns: engine.netns });
      const image = multiPlatformImage();
      await registry.push(image, 'many:1');
      engine.must('pull', '-q', `${registry.host}/many:1`);
      engine.must('tag', `${registry.host}/many:1`, `${registry.host}/part:1`);
      assert.match(
        engine.must('push', `${registry.host}/part:1`),
        /only the available single-platform image was pushed/,
      );
      const work = mkdtempSync(join(tmpdir(), 'berth-out-'));
      try {
        const file = join(work, 'many.tar');
        const { layoutTar } = await import('../lib/images.ts');
        writeFileSync(file, layoutTar(image, `${registry.host}/whole:1`));
        engine.must('load', '-q', '-i', file);
        assert.match(
          engine.must('push', `${registry.host}/whole:1`),
          new RegExp(`1: digest: ${image.descriptor.digest}`),
        );
      } finally {
        rmSync(work, { recursive: true });
        clean(engine);
      }
    },
  );

  berthOnly('image ls --tree and inspect show every manifest of an index, here or not', async (engine) => {
    await using registry = await startRegistry({ netns: engine.netns });
    await registry.push(multiPlatformImage(), 'many:1');
    engine.must('pull', '-q', `${registry.host}/many:1`);
    const { body } = await engine.api('GET', `/images/${registry.host}/many:1/json?manifests=1`);
    const { Manifests } = JSON.parse(body) as {
      Manifests: { Available: boolean; Kind: string; ImageData: { Platform: { os: string; architecture: string } } }[];
    };
    assert.deepEqual(
      Manifests.map(({ Available, Kind, ImageData }) => [ImageData.Platform.os, Available, Kind]),
      [
        ['linux', false, 'image'],
        ['windows', false, 'image'],
        ['linux', true, 'image'],
      ],
    );
    assert.match(engine.must('image', 'ls', '--tree'), /linux\/s390x/);
    clean(engine);
  });
});
