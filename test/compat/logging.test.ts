import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onBothEngines } from '../lib/both-engines.ts';

onBothEngines('logging', { runtimes: ['crun'] }, ({ same }) => {
  same('labels, variables and the tag stand in each line of the file, and in the details', (engine) => {
    const flags = ['--label', 'a=b', '--env', 'X=y"z', '--log-opt', 'labels=a', '--log-opt', 'env=X'];
    const tag = ['--log-opt', 'tag={{.Name}}/{{.ID}}'];
    engine.docker([
      'run',
      '--name',
      'attrs',
      ...flags,
      ...tag,
      'bb:1',
      'sh',
      '-c',
      'echo one; sleep 0.2; echo two >&2',
    ]);
    const id = engine.must('inspect', '-f', '{{.Id}}', 'attrs');
    const lines = readFileSync(engine.must('inspect', '-f', '{{.LogPath}}', 'attrs'), 'utf8')
      .trim()
      .split('\n');
    const attrs = { X: 'y"z', a: 'b', tag: `attrs/${id.slice(0, 12)}` };
    const read = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      read.map(({ log, stream, attrs }) => ({ log, stream, attrs })),
      [
        { log: 'one\n', stream: 'stdout', attrs },
        { log: 'two\n', stream: 'stderr', attrs },
      ],
    );
    assert.deepEqual(Object.keys(read[0]!), ['log', 'stream', 'attrs', 'time']);
    assert.equal(
      engine.docker(['logs', '--details', 'attrs']).stdout,
      `X=y%22z,a=b,tag=attrs%2F${id.slice(0, 12)} one\n`,
    );
    assert.equal(engine.docker(['logs', 'attrs']).stderr, 'two\n');
  });

  same('a tag is a template of Go with the functions of Docker', (engine) => {
    const templates = [
      '{{upper .Name}}/{{.ContainerName}}|{{.ImageName}}|{{.Command}}|{{.DaemonName}}',
      '{{range $i, $a := .ContainerArgs}}{{if $i}},{{end}}{{$a}}{{end}}|{{len .ContainerEnv}}',
      '{{with index .ContainerLabels "team"}}{{title .}}{{else}}none{{end}}|{{json .ContainerLabels}}',
      '{{printf "%-6s|%04d" (truncate .FullID 0) 7}}|{{join (split "a-b" "-") "+"}}',
    ];
    const tags = templates.map((tag, n) => {
      const flags = ['--name', `tag${n}`, '--label', 'team=blue', '--env', 'X=1', '--log-opt', `tag=${tag}`];
      engine.must('run', ...flags, 'bb:1', 'echo', 'a', 'b');
      const line = readFileSync(engine.must('inspect', '-f', '{{.LogPath}}', `tag${n}`), 'utf8').split('\n')[0]!;
      return (JSON.parse(line) as { attrs: { tag: string } }).attrs.tag;
    });
    assert.deepEqual(tags, ['TAG0//tag0|bb:1|echo a b|docker', 'a,b|2', 'Blue|{"team":"blue"}', '      |0007|a+b']);
    const image = engine.must('inspect', '-f', '{{.Image}}', 'tag0');
    engine.must('run', '--name', 'ids', '--log-opt', 'tag={{.ImageID}} {{.ImageFullID}}', 'bb:1', 'echo', 'a');
    assert.equal(decodeURIComponent(engine.must('logs', '--details', 'ids')), `tag=${image.slice(0, 12)}+${image} a`);
    for (const [tag, words] of [
      ['{{bogus}}', 'template: log-tag:1: function "bogus" not defined'],
      ['{{upper 1}}', 'template: log-tag:1:8: executing "log-tag" at <1>: expected string; found 1'],
      [
        'x{{.Bogus}}',
        'template: log-tag:1:3: executing "log-tag" at <.Bogus>: can\'t evaluate field Bogus in type *logger.Info',
      ],
    ] as const) {
      const { status, stderr } = engine.docker(['run', '--log-opt', `tag=${tag}`, 'bb:1', 'true']);
      assert.equal(status, 125);
      assert.ok(stderr.includes(words), stderr);
    }
  });

  same('local and none', (engine) => {
    engine.docker(['run', '--name', 'kept', '--log-driver', 'local', '--log-opt', 'max-size=1m', 'bb:1', 'echo', 'hi']);
    assert.equal(engine.docker(['logs', 'kept']).stdout, 'hi\n');
    assert.equal(engine.must('inspect', '-f', '{{.LogPath}}', 'kept'), '');
    engine.docker(['run', '--name', 'lost', '--log-driver', 'none', 'bb:1', 'echo', 'hi']);
    const { status, stderr } = engine.docker(['logs', 'lost']);
    assert.deepEqual(
      [status, stderr.trim()],
      [1, 'Error response from daemon: configured logging driver does not support reading'],
    );
    assert.equal(engine.must('inspect', '-f', '{{.LogPath}}|{{.HostConfig.LogConfig.Type}}', 'lost'), '|none');
  });

  same(
    'syslog: the same bytes to a server, the log is still read, and one that is not there is told at the start',
    async (engine) => {
      const path = join(engine.dir, 'syslog');
      let text = '';
      const server = createServer((socket) => socket.on('data', (data) => (text += data.toString())));
      server.listen(path);
      await once(server, 'listening');
      try {
        const address = ['--log-driver', 'syslog', '--log-opt', `syslog-address=unix://${path}`];
        for (const format of ['', 'rfc3164', 'rfc5424', 'rfc5424micro']) {
          const options = ['--log-opt', `syslog-format=${format}`, '--log-opt', `tag={{.Name}}/${format}`];
          const script = 'echo out; sleep 0.1; echo; echo wrong >&2';
          engine.must('run', '--name', `log-${format || 'plain'}`, ...address, ...options, 'bb:1', 'sh', '-c', script);
          for (let round = 0; round < 100 && !/wrong\n$/.test(text); round++) await sleep(50);
          const day = '[A-Z][a-z]{2} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d';
          const time = `\\d{4}-\\d\\d-\\d\\dT[\\d:]{8}${format === 'rfc5424micro' ? '\\.\\d{6}' : ''}(?:Z|[+-]\\d\\d:\\d\\d)`;
          const tag = `log-${format || 'plain'}/${format}`;
          const line =
            format === ''
              ? (n: number, said: string) => `<${n}>${day} ${tag}\\[\\d+\\]: ${said}\n`
              : format === 'rfc3164'
                ? (n: number, said: string) => `<${n}>${day} \\S+ ${tag}\\[\\d+\\]: ${said}\n`
                : (n: number, said: string) => `<${n}>1 ${time} \\S+ ${tag} \\d+ ${tag} - ${said}\n`;
          assert.match(text, new RegExp(`^${line(30, 'out')}${line(27, 'wrong')}$`));
          text = '';
          assert.equal(engine.docker(['logs', `log-${format || 'plain'}`]).stdout, 'out\n\n');
        }
      } finally {
        server.close();
      }
      rmSync(path, { force: true });
      for (const [address, words] of [
        ['tcp://127.0.0.1:9', 'failed to initialize logging driver: dial tcp 127.0.0.1:9: connect: connection refused'],
        [
          `unix://${engine.dir}/engine.log`,
          `failed to initialize logging driver: dial unix ${engine.dir}/engine.log: connect: connection refused`,
        ],
      ] as const) {
        const { status, stderr } = engine.docker([
          ...['run', '--rm', '--log-driver', 'syslog', '--log-opt', `syslog-address=${address}`, 'bb:1', 'true'],
        ]);
        assert.deepEqual([status, stderr.includes(words)], [125, true], stderr);
      }
    },
  );

  same('options that are none are refused', async (engine) => {
    const cases: readonly (readonly [string, Record<string, string>, string])[] = [
      ['json-file', { bogus: '1' }, "unknown log opt 'bogus' for json-file log driver"],
      ['syslog', { 'max-size': '1m' }, "unknown log opt 'max-size' for syslog log driver"],
      ['syslog', { 'syslog-address': 'x' }, "unsupported scheme: ''"],
      ['syslog', { 'cache-disabled': 'x' }, 'invalid value for option cache-disabled: x'],
      ['syslog', { 'syslog-address': 'unix:///nosuch' }, 'stat /nosuch: no such file or directory'],
      ['syslog', { 'syslog-facility': 'nosuch' }, 'invalid syslog facility'],
      ['syslog', { 'syslog-format': 'nosuch' }, 'Invalid syslog format'],
      ['journald', { 'syslog-facility': 'mail' }, "unknown log opt 'syslog-facility' for journald log driver"],
      ['local', { labels: 'a' }, "unknown log opt 'labels' for log driver local"],
      ['json-file', { mode: 'bogus' }, 'logger: logging mode not supported: bogus'],
      [
        'json-file',
        { 'max-buffer-size': '1m' },
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
      ],
      [
        'json-file',
        { mode: 'non-blocking', 'max-buffer-size': 'x' },
        "error parsing option max-buffer-size: invalid size: 'x'",
      ],
    ];
    for (const [Type, Config, message] of cases) {
      const { status, body } = await engine.api('POST', '/v1.51/containers/create', {
        Image: 'bb:1',
        HostConfig: { LogConfig: { Type, Config } },
      });
      // Without what to try, which Berth adds.
      assert.deepEqual([status, (JSON.parse(body) as { message: string }).message.split('\n')[0]], [400, message]);
    }
    for (const options of [
      'max-file=0',
      'compress=true',
      'compress=maybe',
      'max-size=0',
      'tag={{.Name',
      'tag={{.Bogus}}',
    ]) {
      const { status } = engine.docker(['run', '--rm', '--log-opt', options, 'bb:1', 'true']);
      assert.equal(status, 125, options);
    }
  });
});
