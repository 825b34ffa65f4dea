import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatted } from './format.ts';
import { compileTemplate } from './template.ts';

const value = {
  Name: '/web',
  State: { Status: 'running', Pid: 7, Health: null },
  Args: ['a', 'b'],
  Ports: { '80/tcp': [{ HostPort: '8080' }], '90/udp': null },
  Labels: { b: '2', a: '1' },
};
const render = (text: string) => compileTemplate(text)(value);

test('fields, functions and pipes, as Go prints them', () => {
  assert.equal(render('{{.Name}} {{ .State.Pid }}'), '/web 7');
  assert.equal(render('{{json .Args}} {{.Args}} {{.Labels}}'), '["a","b"] [a b] map[a:1 b:2]');
  assert.equal(render('{{(index (index .Ports "80/tcp") 0).HostPort}}'), '8080');
  assert.equal(render('{{index .Args 1}}{{len .Args}}'), 'b2');
  assert.equal(render('{{.Name | upper | printf "%s-%q" "x"}}'), 'x-"/WEB"');
  assert.equal(render('{{join .Args ", "}} {{.Nothing}} {{.Nothing.More}}'), 'a, b <no value> <no value>');
  assert.equal(render('{{.Name}}\\n{{"a\\tb"}}'), '/web\na\tb');
});

test('range, if, with, else, variables, trimmed space', () => {
  assert.equal(render('{{range .Args}}<{{.}}>{{end}}'), '<a><b>');
  assert.equal(render('{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}'), 'a=1;b=2;');
  assert.equal(
    render('{{range $p, $c := .Ports}}{{if $c}}{{$p}}->{{(index $c 0).HostPort}}{{else}}{{$p}}{{end}} {{end}}'),
    '80/tcp->8080 90/udp ',
  );
  assert.equal(render('{{if .State.Health}}yes{{else if eq .State.Status "running"}}runs{{else}}no{{end}}'), 'runs');
  assert.equal(render('{{with .State}}{{.Pid}}{{$.Name}}{{end}}'), '7/web');
  assert.equal(render('{{range .None}}x{{else}}none{{end}}'), 'none');
  assert.equal(render('{{$x := .Name}}a {{- $x -}} b'), 'a/webb');
  assert.equal(render('{{if and (gt .State.Pid 1) (not .State.Health)}}both{{end}}'), 'both');
});

test('what is no template is refused', () => {
  for (const text of [
    '{{.Name',
    '{{range .Args}}',
    '{{end}}',
    '{{nosuch .Name}}',
    '{{.Name .Name}}',
    '{{}}',
    '{{(.Name}}',
  ])
    assert.throws(() => compileTemplate(text), /template parsing error/, text);
  assert.throws(() => render('{{$y}}'), /undefined variable "\$y"/);
});

test('lists: lines, tables with a head, JSON', () => {
  const items = [
    { ID: '1', CreatedAt: 'now' },
    { ID: '22', CreatedAt: 'then' },
  ];
  assert.equal(formatted('{{.ID}}:{{.CreatedAt}}', items), '1:now\n22:then\n');
  assert.equal(formatted('table {{.ID}}\\t{{.CreatedAt}}', items), 'ID   CREATED AT\n1    now\n22   then\n');
  assert.equal(formatted('table {{.ID}}\\t{{.CreatedAt}}', []), 'ID   CREATED AT\n');
  assert.equal(formatted('json', items), '{"ID":"1","CreatedAt":"now"}\n{"ID":"22","CreatedAt":"then"}\n');
});
