import { EngineError } from '../base/errors.ts';

export type TokenKind =
  | 'text'
  | 'open'
  | 'close'
  | 'space'
  | 'keyword'
  | 'word'
  | 'bool'
  | 'nil'
  | 'field'
  | 'variable'
  | 'dot'
  | 'string'
  | 'raw'
  | 'character'
  | 'number'
  | 'pipe'
  | 'declare'
  | 'assign'
  | 'left'
  | 'right'
  | 'char'
  | 'end of file';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** In the template, in characters. */
  readonly at: number;
}

export const keywords = new Set([
  'block',
  'break',
  'continue',
  'define',
  'else',
  'end',
  'if',
  'range',
  'template',
  'with',
]);

/** What Go's parser throws, with the line where it stood. */
export function badTemplate(name: string, template: string, at: number, what: string): EngineError {
  const line = template.slice(0, at).split('\n').length;
  return new EngineError('invalid', `template: ${name}:${line}: ${what}`);
}

const shapes: readonly (readonly [TokenKind, RegExp])[] = [
  ['space', /[ \t\r\n]+/y],
  ['declare', /:=/y],
  ['assign', /=/y],
  ['pipe', /\|/y],
  ['string', /"(?:[^"\\\n]|\\[^\n])*"/y],
  ['raw', /`[^`]*`/y],
  ['character', /'(?:[^'\\\n]|\\[^\n])+'/y],
  ['number', /[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|[+-]/y],
  ['field', /\.[\p{L}_][\p{L}\p{N}_]*/uy],
  ['dot', /\./y],
  ['variable', /\$(?:[\p{L}_][\p{L}\p{N}_]*)?/uy],
  ['word', /[\p{L}_][\p{L}\p{N}_]*/uy],
  ['left', /\(/y],
  ['right', /\)/y],
  ['char', /[!-~]/y],
];

/** Text and actions of a template, in the order in which they stand. Throws `invalid` in Go's words. */
export function templateTokens(name: string, template: string): readonly Token[] {
  const tokens: Token[] = [];
  const fail = (at: number, what: string) => badTemplate(name, template, at, what);
  let at = 0;
  let trims = false;
  while (at < template.length) {
    const open = template.indexOf('{{', at);
    const until = open < 0 ? template.length : open;
    const trimsBefore = open >= 0 && /^-[ \t\r\n]/.test(template.slice(open + 2, open + 4));
    let text = template.slice(at, until);
    if (trims) text = text.replace(/^[ \t\r\n]+/, '');
    if (trimsBefore) text = text.replace(/[ \t\r\n]+$/, '');
    if (text !== '') tokens.push({ kind: 'text', text, at });
    if (open < 0) break;
    at = open + (trimsBefore ? 4 : 2);
    if (template.startsWith('/*', at)) {
      const end = template.indexOf('*/', at);
      if (end < 0) throw fail(open, 'unclosed comment');
      const [whole, trim] = /^(\s+-)?\}\}/.exec(template.slice(end + 2)) ?? [];
      if (whole === undefined) throw fail(open, 'comment ends before closing delimiter');
      trims = trim !== undefined;
      at = end + 2 + whole.length;
      continue;
    }
    tokens.push({ kind: 'open', text: '{{', at: open });
    for (let depth = 0; ; ) {
      const [close, trim] = /^([ \t\r\n]-)?\}\}/.exec(template.slice(at, at + 4)) ?? [];
      if (close !== undefined) {
        if (depth > 0) throw fail(at, 'unclosed left paren');
        trims = trim !== undefined;
        tokens.push({ kind: 'close', text: '}}', at });
        at += close.length;
        break;
      }
      const token = nextToken(template, at, fail);
      if (token.kind === 'left') depth++;
      if (token.kind === 'right' && --depth < 0) throw fail(at, 'unexpected right paren');
      tokens.push(token);
      at += token.text.length;
    }
  }
  return [...tokens, { kind: 'end of file', text: '', at: template.length }];
}

function nextToken(template: string, at: number, fail: (at: number, what: string) => EngineError): Token {
  if (at >= template.length) throw fail(at, 'unclosed action');
  const spaceBeforeTrim = /^[ \t\r\n]+(?=[ \t\r\n]-\}\})/.exec(template.slice(at));
  if (spaceBeforeTrim) return { kind: 'space', text: spaceBeforeTrim[0], at };
  for (const [kind, shape] of shapes) {
    shape.lastIndex = at;
    const text = shape.exec(template)?.[0];
    if (text === undefined) continue;
    if (kind === 'number' && text.length > 1 && /^[\p{L}\p{N}_]/u.test(template.slice(at + text.length)))
      throw fail(at, `bad number syntax: ${JSON.stringify(template.slice(at, at + text.length + 1))}`);
    if (kind === 'char' && text === '"') throw fail(at, 'unterminated quoted string');
    if (kind === 'char' && text === '`') throw fail(at, 'unterminated raw quoted string');
    if (kind === 'char' && text === "'") throw fail(at, 'unterminated character constant');
    if (kind === 'char' && text === ':') throw fail(at, 'expected :=');
    if (kind === 'word' || kind === 'field' || kind === 'variable') {
      const after = template.codePointAt(at + text.length);
      if (
        after !== undefined &&
        !/[\s.,|:()]/.test(String.fromCodePoint(after)) &&
        !template.startsWith('}}', at + text.length)
      )
        throw fail(at, `bad character ${unicode(after)}`);
    }
    if (kind !== 'word') return { kind, text, at };
    if (text === 'true' || text === 'false') return { kind: 'bool', text, at };
    return { kind: text === 'nil' ? 'nil' : keywords.has(text) ? 'keyword' : 'word', text, at };
  }
  throw fail(at, `unrecognized character in action: ${unicode(template.codePointAt(at)!)}`);
}

/** `U+0001 '...'`, as %#U. */
function unicode(code: number): string {
  const hex = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  return code < 0x20 || code === 0x7f ? hex : `${hex} '${String.fromCodePoint(code)}'`;
}

/** As Go's parser shows a token in a message. */
export function shownToken({ kind, text }: Token): string {
  if (kind === 'end of file') return 'EOF';
  if (kind === 'keyword' || kind === 'dot' || kind === 'nil') return `<${text}>`;
  return text.length > 10 ? `${JSON.stringify(text.slice(0, 10))}...` : JSON.stringify(text);
}
