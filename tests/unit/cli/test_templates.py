"""Go templates: each text is what Docker's own command prints for the same document."""

from __future__ import annotations

from typing import Any

import pytest

from composer.cli.output.tables import formatted
from composer.cli.output.templates import Template, TemplateError, refused

DOCUMENT: dict[str, Any] = {
    "Id": "0123",
    "Name": "/one",
    "State": {"ExitCode": 0, "Running": True, "Status": "running"},
    "Config": {"Cmd": ["sleep", "1000"], "Labels": {"b": "2", "a": "1"}, "Env": None, "WorkingDir": ""},
    "HostConfig": {
        "NetworkMode": "web",
        "PidsLimit": None,
        "Binds": None,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {}},
    },
    "NetworkSettings": {
        "Networks": {"web": {"IPAddress": "10.0.0.2"}},
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/tcp": None},
    },
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        # Values as Go prints them
        ("{{.Config.Cmd}} {{.Config.Labels}} {{.State.Running}}", "[sleep 1000] map[a:1 b:2] true"),
        ("{{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig}}", "{no 0} {json-file map[]}"),
        ("{{.HostConfig.PidsLimit}} {{.HostConfig.Binds}} {{.Config.Env}}", "<nil> [] []"),
        ('{{.Config.Labels.no}}|{{index .Config.Labels "no"}}', "<no value>|"),
        ("{{json .Config}}", '{"Cmd":["sleep","1000"],"Labels":{"a":"1","b":"2"},"Env":null,"WorkingDir":""}'),
        ("{{json .State.Health}} {{.ID}}", "null 0123"),
        # What Docker's structs have although its JSON does not
        ("{{if .State.Health}}y{{else}}n{{end}}{{.HostConfig.Tmpfs}}{{.HostConfig.Mounts}}", "nmap[][]"),
        ("{{.HostConfig.KernelMemory}}|{{.Config.StopSignal}}|{{.Config.Shell}}{{.Config.StopTimeout}}", "0||[]<nil>"),
        # Control
        ("{{range $i, $e := .Config.Cmd}}{{$i}}={{$e}} {{else}}none{{end}}", "0=sleep 1=1000 "),
        ("{{range .HostConfig.Binds}}x{{else}}none{{end}}", "none"),
        ('{{range $p, $c := .NetworkSettings.Ports}}{{$p}}:{{if $c}}{{(index $c 0).HostPort}}{{end}} {{end}}',
         "80/tcp:8080 90/tcp: "),
        ('{{range .Config.Cmd}}{{if eq . "1000"}}{{continue}}{{end}}{{.}}{{end}}', "sleep"),
        ("{{range .Config.Cmd}}{{.}}{{break}}{{end}}", "sleep"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ('{{if eq .Name "x"}}a{{else if .State.Running}}b{{else}}c{{end}}', "b"),
        ("{{with .State}}{{.Status}} {{$.Name}}{{end}}", "running /one"),
        ("{{with $x := .HostConfig.Binds}}a{{else}}b{{end}}", "b"),
        ("{{$n := 1}}{{range .Config.Cmd}}{{$n = 5}}{{end}}{{$n}}", "5"),
        ('{{define "t"}}<{{.}}>{{end}}{{template "t" .Name}}{{block "u" 1}}{{.}}{{end}}', "</one>1"),
        ("a  {{- .Name -}}  b{{/* not shown */}}", "a/oneb"),
        # Functions
        ('{{printf "%s-%d-%v-%q|%-4s|%04d|%x|%T" .Name 7 true "a\\"b" "x" 5 255 1}}',
         '/one-7-true-"a\\"b"|x   |0005|ff|int'),
        ('{{printf "%d" "a"}} {{printf "%s"}} {{printf "a" 1}}', "%!d(string=a) %!s(MISSING) a%!(EXTRA int=1)"),
        ('{{(index .Config.Cmd 1) | printf "%05s"}} {{.Name | upper | printf "%s"}}', "01000 /ONE"),
        ('{{join .Config.Cmd ","}} {{split .Name "n"}} {{title "ab cd"}} {{lower "AB"}}', "sleep,1000 [/o e] Ab Cd ab"),
        ("{{slice .Name 1 3}} {{truncate .Name 3}}{{pad .Name 2 3}}.", "on /on  /one   ."),
        ("{{slice .Config.Cmd 1}} {{slice .Config.Cmd 0 1}} {{slice .Name 2}}", "[1000] [sleep] ne"),
        ("{{len .Name}} {{len .Config.Cmd}} {{len .NetworkSettings.Ports}}", "4 2 2"),
        ('{{print 1 2 "x" "y"}} {{println "a" 1}}', "1 2xy a 1\n"),
        ('{{html "<a>"}} {{js "it\'s"}} {{urlquery "a b/"}}', "&lt;a&gt; it\\'s a+b%2F"),
        ('{{and true 0 .Nope}} {{or 0 "" "x" .Nope}} {{not true}} {{eq 1 2 1}} {{ne 1 2}} {{lt "a" "b"}} {{ge 2 3}}',
         "0 x false true true true false"),
        ("{{`raw \\n`}} {{\"q }}\\t\"}}", "raw \\n q }}\t"),
    ],
)  # fmt: skip
def test_text(template: str, text: str) -> None:
    assert Template(template).render(DOCUMENT) == text


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{.Name", "template: :1: unclosed action"),
        ("{{if .Name}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("a\n{{nope .Name}}", 'template: :2: function "nope" not defined'),
        ('{{"a}}', "template: :1: unterminated quoted string"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{(.Name}}", "template: :1: unclosed left paren"),
    ],
)
def test_what_is_no_template(template: str, says: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(template)
    assert str(caught.value) == says
    assert refused(caught.value).exit_status == 64


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{.State.Nope}}", ':1:8: executing "" at <.State.Nope>: map has no entry for key "Nope"; there are ExitCode'),
        ("{{.State.Health.Status}}", "nil pointer evaluating Status"),
        ("{{slice .Config.Cmd 3}}", "error calling slice: index out of range: 3"),
        ("{{slice .Name 2 1}}", "error calling slice: invalid slice index: 2 > 1"),
        ('{{slice .Config.Cmd "a"}}', "error calling slice: cannot index slice/array with type string"),
        ("{{slice .Name 0 1 1}}", "error calling slice: cannot 3-index slice a string"),
        ("{{index .Config.Cmd 5}}", "error calling index: index out of range: 5"),
        ('{{eq 1 "1"}}', "error calling eq: incompatible types for comparison"),
        ("{{call .Name}}", "error calling call: non-function of type string"),
        ("{{.Name 1}}", "can't give argument to non-function .Name"),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{upper}}", "wrong number or type of args for upper"),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered(template: str, says: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(template).render(DOCUMENT)
    assert says in str(caught.value)
    assert refused(caught.value).exit_status == 1


def test_tables() -> None:
    """Escapes count outside of actions; in a title functions leave things as they are; methods take arguments."""
    rows = [{"Name": "one", "Label": {"a": "b"}.get}]
    columns = {"Name": "NAME"}

    def shown(layout: str) -> str:
        return formatted(rows, columns, layout, default=("Name",))

    assert shown(r'{{.Name}}\t{{.Label "a"}}') == "one\tb\n"
    assert shown(r"table {{upper .Name}}\t{{json .Name}}") == 'NAME      NAME\nONE       "one"\n'
    assert shown("json") == '{"Name":"one"}\n'
