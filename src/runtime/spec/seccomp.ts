import { EngineError, messageOf } from '../../base/errors.ts';
import type { Seccomp, SeccompRule } from '../../oci/runtime-spec.ts';

/**
 * A seccomp profile as Docker's users write them: the runtime spec's `seccomp` object, with conditions on its rules and
 * `archMap` instead of a list of architectures.
 */
export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly archMap?: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[];
  readonly flags?: readonly string[];
  readonly syscalls: readonly SeccompProfileRule[];
}

export interface SeccompProfileRule extends SeccompRule {
  /** All that is named must hold. */
  readonly includes?: SeccompCondition;
  /** None of what is named may hold. */
  readonly excludes?: SeccompCondition;
}

export interface SeccompCondition {
  readonly arches?: readonly string[];
  readonly caps?: readonly string[];
  readonly minKernel?: string;
}

/** What conditions are decided by. `architecture` as Node names it. */
export interface SeccompFacts {
  readonly architecture: string;
  readonly kernel: readonly [number, number];
  /** The container's bounding set. */
  readonly capabilities: readonly string[];
}

/** The profile for one container, or undefined when it confines nothing. */
export function resolveSeccomp(profile: SeccompProfile, facts: SeccompFacts): Seccomp | undefined {
  if (profile.defaultAction === '' && profile.syscalls.length === 0) return undefined;
  const native = nativeNames[facts.architecture];
  const mapped = profile.archMap?.find(({ architecture }) => architecture === native?.seccomp);
  const architectures = mapped ? [mapped.architecture, ...mapped.subArchitectures] : (profile.architectures ?? []);
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }),
    ...(architectures.length > 0 && { architectures }),
    ...(profile.flags && profile.flags.length > 0 && { flags: profile.flags }),
    syscalls: profile.syscalls
      .filter((rule) => applies(rule, facts, native?.go ?? facts.architecture))
      .map(({ names, action, errnoRet, args }) => ({
        names,
        action,
        ...(errnoRet !== undefined && { errnoRet }),
        ...(args && args.length > 0 && { args }),
      })),
  };
}

function applies({ includes, excludes }: SeccompProfileRule, facts: SeccompFacts, architecture: string) {
  const has = (capability: string) => facts.capabilities.includes(capability);
  if (excludes?.arches?.includes(architecture)) return false;
  if (excludes?.caps?.some(has)) return false;
  if (excludes?.minKernel && atLeast(facts.kernel, excludes.minKernel)) return false;
  if (includes?.arches?.length && !includes.arches.includes(architecture)) return false;
  if (includes?.caps && !includes.caps.every(has)) return false;
  return !(includes?.minKernel && !atLeast(facts.kernel, includes.minKernel));
}

function atLeast([major, minor]: readonly [number, number], version: string) {
  const [wantMajor, wantMinor] = version.split('.').map(Number) as [number, number];
  return major > wantMajor || (major === wantMajor && minor >= wantMinor);
}

const nativeNames: Readonly<Record<string, { readonly go: string; readonly seccomp: string }>> = {
  x64: { go: 'amd64', seccomp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', seccomp: 'SCMP_ARCH_AARCH64' },
  ia32: { go: 'x86', seccomp: 'SCMP_ARCH_X86' },
  arm: { go: 'arm', seccomp: 'SCMP_ARCH_ARM' },
  ppc64: { go: 'ppc64le', seccomp: 'SCMP_ARCH_PPC64LE' },
  s390x: { go: 's390x', seccomp: 'SCMP_ARCH_S390X' },
  riscv64: { go: 'riscv64', seccomp: 'SCMP_ARCH_RISCV64' },
};

/** A profile from `--security-opt seccomp=`: the file's content, which the CLI sends inline. Throws `invalid`. */
export function parseSeccompProfile(text: string): SeccompProfile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new EngineError('invalid', `Decoding seccomp profile failed: ${messageOf(cause)}`, { cause });
  }
  const root = object(json, 'the profile');
  const architectures = texts(root.architectures, 'architectures');
  const archMap = list(root.archMap, 'archMap').map((entry) => {
    const map = object(entry, 'archMap');
    return {
      architecture: string(map.architecture, 'archMap.architecture'),
      subArchitectures: texts(map.subArchitectures, 'archMap.subArchitectures'),
    };
  });
  if (architectures.length > 0 && archMap.length > 0) throw either("'architectures'", "'archMap'");
  const defaultErrnoRet = errno(root.defaultErrnoRet, 'defaultErrnoRet');
  return {
    defaultAction: action(root.defaultAction ?? '', 'defaultAction'),
    ...(defaultErrnoRet !== undefined && { defaultErrnoRet }),
    architectures,
    archMap,
    flags: texts(root.flags, 'flags'),
    syscalls: list(root.syscalls, 'syscalls').map(parseRule),
  };
}

function parseRule(json: unknown): SeccompProfileRule {
  const rule = object(json, 'syscalls');
  const name = rule.name === undefined ? '' : string(rule.name, 'name');
  const names = texts(rule.names, 'names');
  if (name !== '' && names.length > 0) throw either("'name'", "'names'");
  const errnoRet = errno(rule.errnoRet, 'errnoRet');
  const includes = parseCondition(rule.includes);
  const excludes = parseCondition(rule.excludes);
  return {
    names: name === '' ? names : [name],
    action: action(rule.action ?? '', 'action'),
    ...(errnoRet !== undefined && { errnoRet }),
    args: list(rule.args, 'args').map(parseArgument),
    ...(includes && { includes }),
    ...(excludes && { excludes }),
  };
}

function parseArgument(json: unknown) {
  const argument = object(json, 'args');
  const value = number(argument.value ?? 0, 'args.value', Number.MAX_VALUE);
  const op = string(argument.op ?? '', 'args.op');
  if (!/^SCMP_CMP_(NE|LT|LE|EQ|GE|GT|MASKED_EQ)$/.test(op)) throw bad(`args.op "${op}" is not a comparison`);
  const valueTwo =
    argument.valueTwo === undefined ? undefined : number(argument.valueTwo, 'valueTwo', Number.MAX_VALUE);
  const index = number(argument.index ?? 0, 'args.index', 5);
  return { index, value, ...(valueTwo !== undefined && { valueTwo }), op };
}

function parseCondition(json: unknown): SeccompCondition | undefined {
  if (json === undefined || json === null) return undefined;
  const condition = object(json, 'includes and excludes');
  const minKernel = condition.minKernel === undefined ? undefined : string(condition.minKernel, 'minKernel');
  if (minKernel !== undefined && !/^\d+\.\d+$/.test(minKernel))
    throw bad(`invalid kernel version "${minKernel}", expected "<kernel>.<major>"`);
  return {
    arches: texts(condition.arches, 'arches'),
    caps: texts(condition.caps, 'caps'),
    ...(minKernel !== undefined && { minKernel }),
  };
}

const bad = (fact: string) => new EngineError('invalid', `Decoding seccomp profile failed: ${fact}`);
const either = (one: string, other: string) =>
  new EngineError(
    'invalid',
    `${one} and ${other} were specified in the seccomp profile, use either ${one} or ${other}`,
  );

/**
 * SCMP_ACT_NOTIFY is refused: it hands the container's calls to a listener, and Berth has no way to name one. Empty is
 * Docker's "not said".
 */
function action(value: unknown, name: string) {
  const text = string(value, name);
  if (text !== '' && !/^SCMP_ACT_(KILL|KILL_PROCESS|KILL_THREAD|TRAP|ERRNO|TRACE|ALLOW|LOG)$/.test(text))
    throw bad(`${name} "${text}" is not an action that can be used here`);
  return text;
}

function object(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(`${name} must be an object`);
  return value as Record<string, unknown>;
}

function list(value: unknown, name: string): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw bad(`${name} must be a list`);
  return value;
}

const texts = (value: unknown, name: string) => list(value, name).map((item) => string(item, name));

function string(value: unknown, name: string): string {
  if (typeof value !== 'string') throw bad(`${name} must be a text`);
  return value;
}

function number(value: unknown, name: string, most: number): number {
  if (typeof value !== 'number' || value < 0 || value > most || !Number.isInteger(value))
    throw bad(`${name} must be a number that is not negative`);
  return value;
}

const errno = (value: unknown, name: string) =>
  value === undefined || value === null ? undefined : number(value, name, 4095);
