"""Errors and warnings of a whole load, with their places."""

from __future__ import annotations

import json

import pytest

from composer.cli.project.config_errors import to_json
from composer.compose.decoding import decode
from composer.compose.errors import ComposeError
from composer.compose.pipeline import load_tree, locate
from composer.compose.problem import Problem
from composer.compose.request import LoadRequest, Options


class Files:
    """Files in memory below ``/p``."""

    def __init__(self, **texts: str) -> None:
        self.texts = {f"/p/{name}.yaml": text for name, text in texts.items()}

    def read(self, path: str) -> bytes | None:
        text = self.texts.get(path)
        return None if text is None else text.encode()

    def is_file(self, path: str) -> bool:
        return path in self.texts

    def is_dir(self, path: str) -> bool:
        return path == "/p"

    def exists(self, path: str) -> bool:
        return self.is_file(path) or self.is_dir(path)


def test_a_variable_that_is_not_set_is_told_with_its_first_place() -> None:
    files = Files(compose='services:\n  a:\n    image: "$$NOPE${NOPE}"\n    command: $NOPE ${OTHER:-x}\n')
    assert load_tree(LoadRequest(cwd="/p"), files).warnings == (
        '/p/compose.yaml:3:19: The "NOPE" variable is not set. Defaulting to a blank string.',
    )


def test_a_variable_of_another_file() -> None:
    files = Files(
        compose="services: {a: {extends: {file: base.yaml, service: b}}}",
        base="services:\n  b: {image: x$V}\n",
    )
    assert load_tree(LoadRequest(cwd="/p"), files).warnings[0].startswith("/p/base.yaml:2:15: ")


def test_all_mistakes_of_a_file_in_one_run() -> None:
    files = Files(compose="services:\n  a: {imag: x}\n  b: {image: x, restat: no}\n")
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    error = caught.value
    assert str(error.locations[0]) == "/p/compose.yaml:2:7"
    assert "/p/compose.yaml:3:17: unknown attribute 'restat'" in error.message
    found = json.loads(to_json(error))["errors"]
    assert [(e["locations"][0]["line"], e["locations"][0]["path"], e["hint"]) for e in found] == [
        (2, "services.a.imag", "did you mean image?"),
        (3, "services.b.restat", "did you mean restart?"),
    ]


def test_the_chain_of_files_that_led_there() -> None:
    files = Files(
        compose="services:\n  a:\n    extends: {file: base.yaml, service: b}\n",
        base="services:\n  b: {image: x, ports: [x:y]}\n",
    )
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    assert [place.file for place in caught.value.locations] == ["/p/base.yaml", "/p/compose.yaml"]


def test_what_later_stages_find_is_told_in_the_same_run() -> None:
    files = Files(
        compose="""services:
  a:
    imag: x
    ports: ["x:y"]
  b:
    image: y
    mem_limit: 1zz
    depends_on: [a]
  c: {image: z, stop_grace_period: soon, extends: {service: none}}
volumes: {v: {drivr: x}}
"""
    )
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    assert {error.locations[0].line for error in caught.value.errors} == {3, 4, 7, 9, 10}
    assert len({str(error.locations[0]) for error in caught.value.errors}) == len(caught.value.errors)


def test_what_is_left_out_is_missed_nowhere() -> None:
    """The service without what was wrong in it has no image; that is not worth a word."""
    files = Files(compose="services:\n  a:\n    image: 5.5.5: x\n  b: {image: [x], depends_on: [a]}\n")
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    assert len(caught.value.errors or (caught.value,)) == 1


def test_references_are_looked_at_beside_other_mistakes() -> None:
    """When no name of a service or resource was left out; and the dependency whose condition was is not told again."""
    files = Files(
        compose="""services:
  a:
    image: x
    prots: ["80:80"]
    depends_on: {b: {condition: service_helthy}, bb: {condition: service_started}}
    networks: [nett]
  b: {image: y}
networks: {net: }
"""
    )
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    found = {error.locations[0].path for error in caught.value.errors}
    assert found == {
        "services.a.prots",
        "services.a.depends_on.b.condition",
        "services.a.depends_on.bb",
        "services.a.networks.nett",
    }


IMAGE = "services: {a: {image: 'i:${PWD}'}}"


@pytest.mark.parametrize(("env", "expected"), [({}, "i:/p"), ({"PWD": "/q"}, "i:/q")])
def test_the_working_directory_is_known_without_a_shell(env: dict[str, str], expected: str) -> None:
    tree = load_tree(LoadRequest(cwd="/p", env=env), Files(compose=IMAGE))
    assert tree.tree["services"]["a"]["image"] == expected


def test_without_normalising_a_name_stays_as_it_is_written() -> None:
    files = Files(compose="name: My.Name\nservices: {a: {image: i}}")
    names = [
        load_tree(LoadRequest(cwd="/p", options=Options(normalize=n)), files).name for n in (True, False)
    ]
    assert names == ["myname", "My.Name"]


@pytest.mark.parametrize(
    ("attribute", "is_refused"),
    [
        ("volumes: [':/target']", True),
        ("volumes: ['${V}::/target']", False),
        ("ports: ['${P}:x']", False),
        ("ports: [{published: '80'}]", True),
        ("build: {context: ., ssh: [foo]}", True),
        ("build: {context: ., ssh: ['$FOO']}", False),
    ],
)
def test_without_interpolation_what_has_a_variable_is_left(attribute: str, is_refused: bool) -> None:
    files = Files(compose="services:\n  a:\n    image: i\n    " + attribute)
    request = LoadRequest(
        cwd="/p", options=Options(interpolate=False, check_consistency=False, resolve_env=False)
    )
    if is_refused:
        with pytest.raises(ComposeError):
            load_tree(request, files)
    else:
        load_tree(request, files)


def test_a_mistake_of_extends_in_a_file_that_is_extended() -> None:
    files = Files(
        compose="services:\n  a: {extends: {file: base.yaml, service: b}}\n",
        base="services:\n  b:\n    extends: {file: gone.yaml, service: c}\n",
    )
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    place = caught.value.locations[0]
    assert (place.file, place.line, place.path) == ("/p/base.yaml", 3, "services.b.extends")
    assert "\n" not in caught.value.message


def test_a_wrong_value_of_a_variable_is_followed_to_the_env_file() -> None:
    files = Files(compose="services:\n  a:\n    image: x\n    mem_limit: ${MEM:-1g}\n")
    files.texts["/p/.env"] = "A=1\nexport MEM=lots\n"
    with pytest.raises(ComposeError) as caught:
        from composer.compose.loader import load_project

        load_project(LoadRequest(cwd="/p"), files)
    assert [(p.file, p.line) for p in caught.value.locations] == [("/p/compose.yaml", 4), ("/p/.env", 2)]


def test_a_mistake_is_told_once_though_what_is_wrong_is_left_out() -> None:
    files = Files(compose="services:\n  a: {image: x, healthcheck: {test: [a, b, c]}}\n")
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    assert str(caught.value).count("must start either by") == 1


def test_what_is_wrong_further_on_in_a_list_has_its_own_index() -> None:
    files = Files(compose='services:\n  a: {image: x, ports: ["80:80:80:80", "99999:80", "1:1"]}\n')
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    paths = [one.locations[0].path for one in caught.value.errors]
    assert paths == ["services.a.ports[0]", "services.a.ports[1]"]
    assert [one.hint for one in caught.value.errors] == [
        '"[ADDRESS:][HOST:]CONTAINER[/PROTOCOL]" expected',
        "ports are 1 to 65535",
    ]


class Directory(Files):
    """Files by their own names."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = {f"/p/{name}": text for name, text in texts.items()}


def test_variables_of_env_files_that_are_not_set_are_told_with_their_place() -> None:
    files = Directory(
        {
            ".env": "A=1\nB='$NONE' # ${NONE}\nC=x${A}${GONE}\n",
            "e.env": 'X="a\n${LOST}"\n',
            "l.env": "L=$MISSING\n",
            "off.env": "Z=$UNSEEN\n",
            "compose.yaml": "services:\n"
            "  a: {image: x, env_file: e.env, label_file: l.env}\n"
            "  b: {image: x, env_file: off.env, profiles: [never]}\n",
        }
    )
    found = load_tree(LoadRequest(cwd="/p"), files).warnings
    assert [(line.split(" ")[0], line.split('"')[1]) for line in found] == [
        ("/p/.env:3:8:", "GONE"),
        ("/p/e.env:2:1:", "LOST"),
        ("/p/l.env:1:3:", "MISSING"),
    ]


def test_an_env_file_that_turns_itself_off_counts_for_compose_only() -> None:
    text = "COMPOSE_DISABLE_ENV_FILE=1\nCOMPOSE_PROJECT_NAME=named\nTAG=2\n"
    files = Directory({".env": text, "compose.yaml": "services: {a: {image: 'x:${TAG:-1}'}}\n"})
    tree = load_tree(LoadRequest(cwd="/p"), files)
    assert (tree.name, tree.tree["services"]["a"]["image"]) == ("named", "x:1")
    shell = {"COMPOSE_DISABLE_ENV_FILE": "0"}
    assert load_tree(LoadRequest(cwd="/p", env=shell), files).tree["services"]["a"]["image"] == "x:2"
    files.texts["/p/.env"] = "COMPOSE_DISABLE_ENV_FILE=sometimes\n"
    with pytest.raises(ComposeError, match=r"/p/.env: COMPOSE_DISABLE_ENV_FILE is"):
        load_tree(LoadRequest(cwd="/p"), files)


def test_what_should_be_written_otherwise_is_told() -> None:
    files = Files(
        compose="version: '3'\nservices: {a: {image: x, init: yes, networks: [n]}}\n"
        "networks: {n: {external: {name: other}}}\n"
    )
    assert [line.partition(": ")[2] for line in load_tree(LoadRequest(cwd="/p"), files).warnings] == [
        'services.a.init: "yes" for boolean is not supported by YAML 1.2, please use `true`',
        "the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion",
        "networks.n: external.name is deprecated. Please set name and external: true (name: other)",
    ]


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("name: '--'\nservices: {a: {image: x}}\n", "/p/compose.yaml:1:7", "a name has a letter or digit"),
        (
            "services:\n",
            "/p/compose.yaml:1:10",
            "the services stand below it, indented, each by its name: `web:`",
        ),
        (
            "services:\n  a: {image: x, depends_on: {b: {condition: healthy}}}\n  b: {image: x}\n",
            "/p/compose.yaml:2:45",
            "did you mean service_healthy?",
        ),
        ("services:\n  a: {extends: a}\n", "/p/compose.yaml:2:16", "take one of these out"),
    ],
)
def test_what_to_do_about_it(text: str, place: str, hint: str) -> None:
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), Files(compose=text))
    first = (caught.value.errors or (caught.value,))[0]
    assert (str(first.locations[0]), first.hint) == (place, hint)


def test_values_that_cannot_be_read_have_all_their_places() -> None:
    files = Files(
        compose="services:\n  a:\n    image: x\n    shm_size: lots\n    deploy:\n"
        "      resources: {limits: {memory: 5 gigs, cpus: half}}\n"
    )
    request = LoadRequest(cwd="/p")
    tree = load_tree(request, files)
    with pytest.raises(Problem) as caught:
        decode(tree.tree)
    found = locate(request, files, caught.value).errors
    assert [str(error.locations[0]) for error in found] == [
        "/p/compose.yaml:4:15",
        "/p/compose.yaml:6:36",
        "/p/compose.yaml:6:50",
    ]


def _chain(**texts: str) -> list[str]:
    """The places of what is wrong with a project, innermost first."""
    files = Files(**{name: text for name, text in texts.items() if name != "env"})
    if "env" in texts:
        files.texts["/p/bad.env"] = texts["env"]
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    return [str(place).removeprefix("/p/") for place in caught.value.locations]


def test_a_mistake_in_an_included_file_names_all_that_led_there() -> None:
    assert _chain(
        compose="include:\n  - a.yaml\n", a="include: [b.yaml]\n", b="services:\n  web: {imag: x}\n"
    ) == ["b.yaml:2:9", "a.yaml:1:11", "compose.yaml:2:5"]


def test_an_included_file_that_is_no_yaml_names_what_includes_it() -> None:
    assert _chain(compose="include:\n  - a.yaml\n", a="services:\n\tweb:\n") == [
        "a.yaml:2:1",
        "compose.yaml:2:5",
    ]


def test_a_mistake_in_an_env_file_names_what_names_it() -> None:
    bad = "A=1\nB C=2\n"
    service = "services:\n  web:\n    image: x\n    env_file:\n"
    assert _chain(compose=f"{service}      - bad.env\n", env=bad) == ["bad.env:2:1", "compose.yaml:5:9"]
    assert _chain(compose=f"{service}      - path: bad.env\n", env=bad) == [
        "bad.env:2:1",
        "compose.yaml:5:15",
    ]
    included = "include:\n  - path: a.yaml\n    env_file: bad.env\n"
    assert _chain(compose=included, a="services: {}\n", env=bad) == ["bad.env:2:1", "compose.yaml:3:15"]


def test_an_extended_file_that_cannot_be_read_names_what_extends_it() -> None:
    extending = "services:\n  web:\n    extends:\n      service: s\n      file: {}.yaml\n"
    assert _chain(compose=extending.format("a"), a="services:\n\tweb:\n") == [
        "a.yaml:2:1",
        "compose.yaml:5:13",
    ]
    assert _chain(
        compose=extending.format("a"), a=extending.replace("web", "s").format("b"), b="services:\n\tweb:\n"
    ) == ["b.yaml:2:1", "a.yaml:5:13", "compose.yaml:5:13"]


def test_what_is_included_and_there_already_names_both_places() -> None:
    files = Files(
        compose="include: [a.yaml]\nservices:\n  web: {image: x}\n", a="services:\n\n  web: {image: y}\n"
    )
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    assert caught.value.message == "services.web conflicts with imported resource"
    assert caught.value.hint.startswith("one web is at /p/compose.yaml:3:3, the other at /p/a.yaml:3:3: ")


def test_what_is_wrong_in_env_files_is_told_beside_all_else() -> None:
    """Of every service, but of one file once."""
    files = Directory(
        {
            "bad.env": "A B=1\n",
            "worse.env": "F=1\nC D=1\n",
            "compose.yaml": "services:\n"
            "  a: {image: x, env_file: bad.env}\n"
            "  b: {image: x, env_file: [worse.env], ports: [x]}\n"
            "  c: {image: x, env_file: bad.env}\n"
            "  d: {image: x, env_file: gone.env, networks: [nowhere]}\n",
        }
    )
    with pytest.raises(ComposeError) as caught:
        load_tree(LoadRequest(cwd="/p"), files)
    found = [str(error.locations[0]).partition(" ")[0] for error in caught.value.errors]
    assert sorted(place.rstrip(":") for place in found) == [
        "/p/bad.env:1:1",
        "/p/compose.yaml:3:48",
        "/p/compose.yaml:5:27",
        "/p/compose.yaml:5:48",
        "/p/worse.env:2:1",
    ]
