import assert from 'node:assert/strict';
import { onBothEngines } from '../lib/both-engines.ts';
import type { TestEngine } from '../lib/engines.ts';
import { different, wrong } from './wrong-recorded.ts';

/** Wrong requests: the status and the words, as the reference engine was seen to answer them. */
onBothEngines('wrong requests', { runtimes: ['crun'] }, ({ same }) => {
  const prepare = (engine: TestEngine) => {
    engine.must('create', '--name', 'sc', '--network', 'none', 'bb:1', 'true');
    engine.must('run', '-d', '--name', 'sr', '-v', 'named:/data', 'bb:1', 'sleep', '100000');
    assert.equal(engine.docker(['run', '--name', 'se', 'bb:1', 'sh', '-c', 'exit 3']).status, 3);
  };
  const ask = async (
    engine: TestEngine,
    method: string,
    path: string,
    body: unknown,
    headers: Readonly<Record<string, string>> | undefined,
  ): Promise<[number, string]> => {
    const answer = await engine.api(method, encodeURI(path), body ?? undefined, { ...headers });
    let message = answer.body;
    try {
      const parsed = JSON.parse(answer.body) as { message?: string; Id?: string };
      message = parsed.message ?? '';
      if (answer.status === 201 && parsed.Id) await engine.api('DELETE', `/containers/${parsed.Id}?v=1`);
    } catch {
      // Plain text, as it is.
    }
    const plain = message
      // What to try, which Berth adds on a line of its own.
      .replace(/\n {2}try: .*$/s, '')
      .replace(/[0-9a-f]{64}/g, '<id>')
      .replaceAll(engine.dir, '<dir>')
      .replace(/\b[0-9a-f]{12}\b/g, '<id12>')
      .trim();
    return [answer.status, plain];
  };

  same('get the status and the words of the reference engine', async (engine) => {
    prepare(engine);
    for (const [method, path, status, message, body, headers] of wrong)
      assert.deepEqual(
        await ask(engine, method, path, body, headers),
        [status, message],
        `${method} ${path} ${JSON.stringify(body)}`,
      );
  });

  same(
    'are refused by Berth in its own way where Docker accepts them or calls them an error of its own',
    async (engine) => {
      prepare(engine);
      for (const [method, path, docker, berth, body, headers] of different)
        assert.deepEqual(
          await ask(engine, method, path, body, headers),
          engine.isBerth ? berth : docker,
          `${method} ${path} ${JSON.stringify(body)}`,
        );
    },
  );
});
