import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GoTemplate } from './go-template.ts';
import { GoStruct } from './go-values.ts';

const data = new GoStruct(
  '*logger.Info',
  {
    ContainerName: '/web',
    ContainerArgs: ['a', 'b'],
    ContainerLabels: new Map([
      ['z', '1'],
      ['k', 'v'],
    ]),
  },
  { Name: () => 'web' },
);
const run = (text: string) => new GoTemplate('log-tag', text).run(data);

// Each of these was compared with what the docker CLI prints.
const good: readonly (readonly [string, string])[] = [
  ['plain', 'plain'],
  ['{{.Name}}/{{.ContainerName}}', 'web//web'],
  [
    '{{ .ContainerArgs }} {{.ContainerLabels}} {{.ContainerLabels.k}}{{.ContainerLabels.none}}',
    '[a b] map[k:v z:1] v<no value>',
  ],
  ['{{json .}}', '{"ContainerName":"/web","ContainerArgs":["a","b"],"ContainerLabels":{"k":"v","z":"1"}}'],
  ['{{json "a<b"}}', '"a<b"'],
  ['{{.Name | upper | printf "%s-%s" "x"}}', 'x-WEB'],
  ['{{split "a,b" ","}} {{join (split "a,b" ",") "-"}}', '[a b] a-b'],
  ['{{title "hello wOrld-x it\'s"}}', "Hello WOrld-X It'S"],
  ['{{pad "x" 2 3}}|{{truncate "abcdef" 3}}|{{truncate "ab" 3}}', '  x   |abc|ab'],
  ['{{len "abc"}} {{index (split "a,b" ",") 1}} {{index .ContainerLabels "k"}} {{slice "abcdef" 1 3}}', '3 b v bc'],
  [
    '{{printf "%05d|%-5s|%q|%x|%v|%t|%.2f|%c" 42 "ab" "q\\"" "hi" 3 true 1.5 65}}',
    '00042|ab   |"q\\""|6869|3|true|1.50|A',
  ],
  ['{{printf "%d" "x"}} {{printf "%s %s" "a"}} {{printf "a" "b"}}', '%!d(string=x) a %!s(MISSING) a%!(EXTRA string=b)'],
  ['{{print 1 2 "a" "b" 3}}{{println "a" 1}}', '1 2ab3a 1\n'],
  ['{{if ""}}a{{else if 1}}b{{else}}c{{end}}', 'b'],
  ['{{with .Name}}[{{.}}]{{end}}{{with ""}}{{else}}no{{end}}', '[web]no'],
  ['{{range .ContainerArgs}}<{{.}}>{{end}}{{range $k, $v := .ContainerLabels}}{{$k}}={{$v}};{{end}}', '<a><b>k=v;z=1;'],
  ['{{range split "a,b,c" ","}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}', 'ac'],
  ['{{range split "a,b,c" ","}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}{{range 3}}{{.}}{{end}}', 'a012'],
  ['{{$x := "a"}}{{$x}}{{if true}}{{$x = "b"}}{{end}}{{$x}}', 'ab'],
  ['a {{- "b" -}} c{{/* nothing */}} {{- /* nor this */ -}} d', 'abcd'],
  [
    '{{eq 1 1}} {{ne "a" "b"}} {{lt 1 2}} {{ge "b" "a"}} {{and 1 0}} {{or 0 "x"}} {{not 1}}',
    'true true true true 0 x false',
  ],
  ['{{define "x"}}[{{.}}]{{end}}{{template "x" "y"}}{{block "b" "z"}}<{{.}}>{{end}}', '[y]<z>'],
  ["{{0x1F}} {{1e3}} {{'a'}} {{-3}} {{`raw`}}", '31 1000 97 -3 raw'],
  ['{{html "<a&\'>"}} {{urlquery "a b&"}} {{js "it\'s"}}', "&lt;a&amp;&#39;&gt; a+b%26 it\\'s"],
];

test('templates become what Go makes of them', () => {
  for (const [text, expected] of good) assert.equal(run(text), expected, text);
});

const bad: readonly (readonly [string, string])[] = [
  ['{{.Name', '1: unclosed action'],
  ['{{bogus}}', '1: function "bogus" not defined'],
  ['{{}}', '1: missing value for command'],
  ['{{if}}{{end}}', '1: missing value for if'],
  ['a\n{{if true}}', '2: unexpected EOF'],
  ['{{end}}', '1: unexpected {{end}}'],
  ['{{else}}', '1: unexpected {{else}}'],
  ['{{"abc}}', '1: unterminated quoted string'],
  ['{{$x}}', '1: undefined variable "$x"'],
  ['{{1 | 2}}', '1: non executable command in pipeline stage 2'],
  ['{{(upper "a"}}', '1: unclosed left paren'],
  ['{{upper "a")}}', '1: unexpected right paren'],
  ['{{a$b}}', "1: bad character U+0024 '$'"],
  ['{{/* x', '1: unclosed comment'],
  ['{{break}}', '1: {{break}} outside {{range}}'],
  ['{{.Bogus}}', '1:2: executing "log-tag" at <.Bogus>: can\'t evaluate field Bogus in type *logger.Info'],
  ['é\né{{.Bogus}}', '2:4: executing "log-tag" at <.Bogus>: can\'t evaluate field Bogus in type *logger.Info'],
  ['{{.Name.Foo}}', '1:7: executing "log-tag" at <.Name.Foo>: can\'t evaluate field Foo in type string'],
  ['{{upper}}', '1:2: executing "log-tag" at <upper>: wrong number of args for upper: want 1 got 0'],
  ['{{upper 1}}', '1:8: executing "log-tag" at <1>: expected string; found 1'],
  [
    '{{upper .ContainerArgs}}',
    '1:8: executing "log-tag" at <.ContainerArgs>: wrong type for value; expected string; got []string',
  ],
  [
    '{{index .ContainerArgs 5}}',
    '1:2: executing "log-tag" at <index .ContainerArgs 5>: error calling index: index out of range: 5',
  ],
  ['{{len 3}}', '1:2: executing "log-tag" at <len 3>: error calling len: len of type int'],
  ['{{template "x"}}', '1:11: executing "log-tag" at <{{template "x"}}>: template "x" not defined'],
];

test('what is wrong is said as Go says it', () => {
  for (const [text, message] of bad)
    assert.throws(() => run(text), { kind: 'invalid', message: `template: log-tag:${message}` }, text);
});

test('a template ends, and writes no more than fits', () => {
  assert.throws(() => run('{{define "x"}}{{template "x"}}{{end}}{{template "x"}}'), { kind: 'invalid' });
  assert.throws(() => run('{{range 100000}}{{range 100000}}xxxxxxxxxx{{end}}{{end}}'), { kind: 'invalid' });
});
