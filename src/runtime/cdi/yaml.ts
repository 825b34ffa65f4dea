/** The only file that knows the package `yaml`: loaded when there is something in that form to read. */
export async function parseYaml(text: string): Promise<unknown> {
  const loaded: unknown = await import('yaml');
  // In Node a CommonJS module, in the bundle one of its own: both have the whole of it as default.
  const { parse } = (loaded as { readonly default: typeof import('yaml') }).default;
  // Aliases could make a small file large; documents of devices have none.
  return parse(text, { maxAliasCount: 0 });
}
