import type { Option } from './command.ts';
import { compileTemplate } from './template.ts';
import { plain, plainLine, table } from './terminal.ts';

/** `--format` of commands that docker has it for. */
export const formatOption: Option = {
  value: 'TEMPLATE',
  about: "a Go template of docker's fields, as '{{.Names}}', 'table {{.ID}}\\t{{.Image}}', or json",
};

/** Items by `--format`: one a line, or as a table whose head is made of the fields' names. */
export function formatted(format: string, items: readonly Readonly<Record<string, unknown>>[]): string {
  if (format === 'json') return items.map((item) => `${JSON.stringify(item)}\n`).join('');
  const isTable = /^table(?:\s|$)/.test(format);
  const render = compileTemplate(isTable ? format.replace(/^table\s*/, '') : format);
  if (!isTable) return items.map((item) => `${plain(render(item))}\n`).join('');
  const heads = Object.fromEntries(Object.keys(items[0] ?? {}).map((name) => [name, headOf(name)]));
  const cells = (text: string) => text.split('\t').map(plainLine);
  const rows = items.map((item) => cells(render(item)));
  const head = items.length > 0 ? cells(render(heads)) : format.match(/\.\w+/g)?.map((name) => headOf(name.slice(1)));
  const width = Math.max(0, ...rows.map(({ length }) => length), head?.length ?? 0);
  const filled = (row: readonly string[]) => [...row, ...Array<string>(width - row.length).fill('')];
  return table(filled(head ?? []), rows.map(filled));
}

/** One value by `--format`, of which `json` is the value itself. */
export function formattedOne(format: string, value: unknown): string {
  return `${format === 'json' ? JSON.stringify(value) : plain(compileTemplate(format)(value))}\n`;
}

/** `CREATED AT` of `CreatedAt`. */
function headOf(name: string): string {
  return name.replace(/([a-z])([A-Z])/g, '$1 $2').toUpperCase();
}
