import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { arch } from 'node:os';
import { join } from 'node:path';
import { codeOf } from '../base/errors.ts';
import type { Seccomp, Spec } from '../oci/runtime-spec.ts';

/** crun takes a compiled filter by this annotation. Whoever may set it chooses the filter. */
const annotation = 'run.oci.seccomp_bpf_data';
const checksumLength = 32;

/**
 * Filters that crun compiled, by profile. Compiling one takes libseccomp 10 ms at every start; the same profile on the
 * same machine and crun gives the same program.
 */
export class SeccompCache {
  readonly #directory: string;
  readonly #programs = new Map<string, string>();

  constructor(deps: { readonly directory: string }) {
    this.#directory = deps.directory;
  }

  key(profile: Seccomp, runtime: { readonly path: string; readonly version: string }): string {
    return createHash('sha256')
      .update(`${JSON.stringify(profile)}\0${arch()}\0${runtime.path}\0${runtime.version}`)
      .digest('hex');
  }

  /** The program in base64, or undefined when there is none, or none that is whole. */
  async get(key: string): Promise<string | undefined> {
    const known = this.#programs.get(key);
    if (known) return known;
    try {
      const file = await readFile(join(this.#directory, key));
      const program = file.subarray(checksumLength);
      if (!isProgram(program) || !checksum(program).equals(file.subarray(0, checksumLength))) return undefined;
      return this.#remember(key, program);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Keeps the program that crun wrote to `path`. */
  async learn(key: string, path: string): Promise<void> {
    const program = await readFile(path);
    if (!isProgram(program)) return;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    // Not synced: a start waits for this, and what power loss spoils the checksum finds.
    const beside = join(this.#directory, `${key}.${process.pid}.tmp`);
    await writeFile(beside, Buffer.concat([checksum(program), program]), { mode: 0o600 });
    await rename(beside, join(this.#directory, key));
    this.#remember(key, program);
  }

  #remember(key: string, program: Buffer): string {
    const text = program.toString('base64');
    this.#programs.set(key, text);
    return text;
  }
}

/** A spec without the annotations that steer crun: no request decides about those. */
export function withoutRuntimeAnnotations(spec: Spec): Spec {
  const kept = Object.entries(spec.annotations ?? {}).filter(([key]) => !key.toLowerCase().startsWith('run.oci.'));
  return { ...spec, annotations: Object.fromEntries(kept) };
}

/** The spec with a compiled filter in place of the profile. crun still wants the object, and takes the flags from it. */
export function withProgram(spec: Spec, program: string): Spec {
  const { defaultAction, flags } = spec.linux.seccomp!;
  const seccomp: Seccomp = { defaultAction, ...(flags ? { flags } : {}), syscalls: [] };
  return {
    ...spec,
    annotations: { ...spec.annotations, [annotation]: program },
    linux: { ...spec.linux, seccomp },
  };
}

/** Whole instructions of 8 bytes (struct sock_filter), no more than the kernel takes. */
function isProgram(bytes: Buffer): boolean {
  return bytes.length > 0 && bytes.length % 8 === 0 && bytes.length <= 4096 * 8;
}

function checksum(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
