import { after, before, describe, test } from 'node:test';
import { busyboxArchive, type ImageOptions } from './busybox-image.ts';
import { type ReferenceName, removeContainers, startBerth, startReference, type TestEngine } from './engines.ts';

export interface Compared {
  /** The engine under test; set once the tests run. */
  readonly engine: TestEngine;
  /** A test that both engines have to pass. */
  same(name: string, check: (engine: TestEngine) => void | Promise<void>): void;
  /** A test of what Berth does on purpose in its own way (docs/differences.md says why). */
  berthOnly(name: string, check: (engine: TestEngine) => void | Promise<void>): void;
}

/**
 * Declares the same tests for Berth, with crun and with runc, and for the reference engine: a compatibility test is right
 * only when the reference passes it too. An engine that cannot be had here is counted as not run, by name.
 */
export function onBothEngines(
  title: string,
  {
    reference = 'newest',
    images = [{ name: 'bb:1' }],
    runtimes = ['crun'],
    flags = { berth: [], reference: [] },
  }: {
    reference?: ReferenceName;
    images?: readonly ImageOptions[];
    runtimes?: readonly string[];
    /** Of the engines themselves. */
    flags?: { readonly berth: readonly string[]; readonly reference: readonly string[] };
  },
  declare: (compared: Compared) => void,
): void {
  const starters: readonly {
    readonly name: string;
    readonly isBerth: boolean;
    readonly start: () => Promise<TestEngine | undefined>;
  }[] = [
    ...runtimes.map((runtime) => ({
      name: `berth with ${runtime}`,
      isBerth: true,
      start: () => startBerth({ flags: ['--default-runtime', runtime, ...flags.berth], name: `berth-${runtime}` }),
    })),
    { name: `docker (${reference})`, isBerth: false, start: () => startReference(reference, flags.reference) },
  ];
  for (const { name, isBerth, start } of starters) {
    describe(`${title}, ${name}`, () => {
      let engine: TestEngine | undefined;
      before(async () => {
        engine = await start();
        for (const image of images) engine?.must('load', '-q', '-i', busyboxArchive(image));
      });
      after(async () => {
        await engine?.[Symbol.asyncDispose]();
      });
      const declared = (testName: string, check: (engine: TestEngine) => void | Promise<void>) =>
        test(testName, async (t) => {
          if (!engine) t.skip(`${name} cannot be had here`);
          else {
            try {
              await check(engine);
            } catch (error) {
              throw onEngine(engine, error);
            } finally {
              // What a failed check leaves would make the next ones fail too.
              await removeContainers(engine).catch(() => {});
            }
          }
        });
      declare({
        get engine() {
          if (!engine) throw new Error('the engine is there only while tests run');
          return engine;
        },
        same: declared,
        berthOnly: (testName, check) => {
          if (isBerth) declared(testName, check);
        },
      });
    });
  }
}

/** The report names tests by their title alone. */
function onEngine({ name }: TestEngine, error: unknown): unknown {
  if (error instanceof Error) error.stack = `on ${name}: ${error.stack ?? error.message}`;
  return error;
}
