import { jsonText } from './terminal.ts';

export type Yaml = string | number | boolean | readonly Yaml[] | { readonly [key: string]: Yaml };

/** YAML in block style. Every text that could be read as anything else than itself stands in double quotes, as in JSON. */
export function toYaml(value: Yaml, indent = ''): string {
  if (Array.isArray(value)) return value.map((item: Yaml) => `${indent}- ${itemText(item, indent)}`).join('');
  if (typeof value === 'object')
    return Object.entries(value)
      .map(([key, entry]) => `${indent}${scalar(key)}:${entryText(entry, indent)}`)
      .join('');
  return `${indent}${scalar(value as string)}\n`;
}

const isEmpty = (value: object) => Object.keys(value).length === 0;

function entryText(value: Yaml, indent: string): string {
  if (typeof value !== 'object') return ` ${scalar(value)}\n`;
  if (isEmpty(value)) return ` ${Array.isArray(value) ? '[]' : '{}'}\n`;
  return `\n${toYaml(value, `${indent}  `)}`;
}

/** Behind its dash, in the same line. */
function itemText(value: Yaml, indent: string): string {
  if (typeof value !== 'object') return `${scalar(value)}\n`;
  if (isEmpty(value)) return `${Array.isArray(value) ? '[]' : '{}'}\n`;
  return toYaml(value, `${indent}  `).trimStart();
}

/** Words that YAML 1.1 takes for something else. */
const taken = /^(?:true|false|yes|no|on|off|null|y|n)$/i;

function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  return /^[A-Za-z_/][\w./-]*$/.test(value) && !taken.test(value) ? value : jsonText(value);
}
