import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, EngineError, messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { type CdiDocument, type ContainerEdits, readCdiDocument } from './document.ts';
import { parseYaml } from './yaml.ts';

/** Larger ones are not read. */
const mostBytes = 8 * 1024 * 1024;

export interface CdiRegistryDeps {
  /** Later ones win (SPEC.md, "CDI JSON Definition": /etc/cdi, then /var/run/cdi). */
  readonly directories: readonly string[];
  readonly log: Log;
}

interface KnownDevice {
  readonly document: CdiDocument;
  readonly edits: ContainerEdits;
  /** The place of its directory. */
  readonly priority: number;
  /** Two files of the same directory have it: neither counts. */
  readonly ambiguous: boolean;
}

/** The devices that files of the Container Device Interface describe. Read again at each question: they come and go. */
export class CdiRegistry {
  readonly #deps: CdiRegistryDeps;
  /** Told once, and again when it changed. */
  #told = '';

  constructor(deps: CdiRegistryDeps) {
    this.#deps = deps;
  }

  get directories(): readonly string[] {
    return this.#deps.directories;
  }

  /** Qualified names, sorted. */
  async list(): Promise<readonly string[]> {
    return [...(await this.#read())].flatMap(([name, { ambiguous }]) => (ambiguous ? [] : name)).toSorted();
  }

  /**
   * What a container gets with these devices, in the order in which it is done: for each file its own edits once, before
   * those of its first device. Throws `invalid` in Docker's words.
   */
  async editsFor(names: readonly string[]): Promise<readonly ContainerEdits[]> {
    const known = names.length > 0 ? await this.#read() : new Map<string, KnownDevice>();
    const missing = names.filter((name) => known.get(name)?.ambiguous !== false);
    if (missing.length > 0)
      throw new EngineError('invalid', `CDI device injection failed: unresolvable CDI devices ${missing.join(', ')}`, {
        hint: `docker info lists the devices that are known; they are described by files in ${this.#deps.directories.join(' or ')}`,
      });
    const edits: ContainerEdits[] = [];
    const begun = new Set<CdiDocument>();
    for (const name of new Set(names)) {
      const device = known.get(name)!;
      if (!begun.has(device.document)) edits.push(device.document.edits);
      begun.add(device.document);
      edits.push(device.edits);
    }
    return edits;
  }

  async #read(): Promise<ReadonlyMap<string, KnownDevice>> {
    const devices = new Map<string, KnownDevice>();
    const troubles: string[] = [];
    for (const [priority, directory] of this.#deps.directories.entries())
      for (const file of await filesOf(directory)) {
        try {
          const document = await readDocument(file);
          for (const { name, edits } of document.devices) {
            const qualified = `${document.kind}=${name}`;
            const ambiguous = devices.get(qualified)?.priority === priority;
            if (ambiguous) troubles.push(`${file}: another file has ${qualified} too`);
            devices.set(qualified, { document, edits, priority, ambiguous });
          }
        } catch (error) {
          troubles.push(messageOf(error));
        }
      }
    const told = troubles.join('\n');
    if (told !== this.#told && told !== '') this.#deps.log.warn('CDI files that cannot be used', { troubles });
    this.#told = told;
    return devices;
  }
}

async function filesOf(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return [];
    throw error;
  });
  return names
    .filter((name) => /\.(json|ya?ml)$/.test(name))
    .toSorted()
    .map((name) => join(directory, name));
}

async function readDocument(file: string): Promise<CdiDocument> {
  const facts = await stat(file);
  if (!facts.isFile()) throw new EngineError('invalid', `invalid CDI file ${file}: it is not a regular file`);
  if (facts.size > mostBytes)
    throw new EngineError('invalid', `invalid CDI file ${file}: larger than ${mostBytes} bytes`);
  const text = await readFile(file, 'utf8');
  let value: unknown;
  try {
    value = file.endsWith('.json') ? JSON.parse(text) : await parseYaml(text);
  } catch (cause) {
    throw new EngineError('invalid', `invalid CDI file ${file}: ${messageOf(cause).split('\n')[0]}`, { cause });
  }
  return readCdiDocument(value, file);
}
