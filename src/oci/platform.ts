/** What an image runs on (OCI image-spec, image-index.md, platform). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly 'os.version'?: string;
}

const architectures: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  ia32: '386',
  arm: 'arm',
  riscv64: 'riscv64',
  ppc64: 'ppc64le',
  s390x: 's390x',
};
const aliases: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  i386: '386',
  armhf: 'arm',
};

/** The machine that this process runs on. */
export function hostPlatform(): Platform {
  const architecture = architectures[process.arch] ?? process.arch;
  return architecture === 'arm64' ? { os: 'linux', architecture, variant: 'v8' } : { os: 'linux', architecture };
}

/** Architectures that may stand without `linux/`: any other word alone is more likely a slip. */
const alone: ReadonlySet<string> = new Set([
  ...Object.values(architectures),
  ...['mips', 'mipsle', 'mips64', 'mips64le', 'ppc64', 'riscv', 'loong64', 'wasm'],
]);

/** `os/arch[/variant]`, `arch`, or `os`; undefined when the text is none of these. */
export function parsePlatform(text: string): Platform | undefined {
  const parts = text.toLowerCase().split('/');
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9][a-z0-9_.-]*$/.test(part))) return undefined;
  const known = (name: string) => aliases[name] ?? name;
  if (parts.length === 1) {
    if (parts[0] === 'linux') return hostPlatform();
    const architecture = known(parts[0]!);
    return alone.has(architecture) ? normal({ os: 'linux', architecture }) : undefined;
  }
  const [os, architecture, variant] = parts;
  return normal({ os: os!, architecture: known(architecture!), ...(variant ? { variant } : {}) });
}

function normal(platform: Platform): Platform {
  if (platform.architecture === 'arm64' && !platform.variant) return { ...platform, variant: 'v8' };
  if (platform.architecture === 'arm' && !platform.variant) return { ...platform, variant: 'v7' };
  return platform;
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter(Boolean).join('/');
}

/** How well something made for `offered` runs where `wanted` is asked for: 0 not at all, higher is better. */
export function platformScore(wanted: Platform, offered: Platform): number {
  const want = normal(wanted);
  const offer = normal(offered);
  if (want.os !== offer.os || want.architecture !== offer.architecture) return 0;
  if ((want.variant ?? '') === (offer.variant ?? '')) return 100;
  // An arm machine runs what was made for an older arm.
  if (want.architecture === 'arm' && want.variant && /^v\d$/.test(offer.variant ?? '') && offer.variant! < want.variant)
    return 50 + Number(offer.variant!.slice(1));
  return want.variant && offer.variant ? 0 : 10;
}
