"""Values in Go templates: the kinds of Go's that JSON does not tell, and how they are printed. pkg.go.dev/fmt"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from composer.cli.output.quoting import QUOTED, quoted

_MAPS = frozenset(
    "Annotations Attributes Containers Data DriverOpts ExposedPorts Labels Networks Options PortBindings Ports "
    "Runtimes StorageOpt Sysctls Tmpfs Volumes".split()
)
"""Members of Docker's documents that are maps; other objects are structs."""
_LISTS = frozenset(
    "Aliases Args Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps "
    "BlkioWeightDevice CapAdd CapDrop Cmd DNSNames DeviceCgroupRules DeviceRequests Devices Dns DnsOptions DnsSearch "
    "Entrypoint Env ExecIDs ExtraHosts GroupAdd Links MaskedPaths Mounts OnBuild ReadonlyPaths RepoDigests RepoTags "
    "SecondaryIPAddresses SecondaryIPv6Addresses SecurityOpt Shell Ulimits VolumesFrom".split()
)


class Failure(Exception):
    """Why a template cannot be rendered."""


class Nil:
    """A value that is not there, as Go prints one of its kind."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        if self.text == "<nil>":
            raise Failure("len of nil pointer")
        return 0


MISSING = Nil("<no value>")
_EMPTY: dict[str, dict[str, Any]] = {
    "Status": {"Health": Nil("<nil>")},
    "HostConfig": {"SizeRw": Nil("<nil>"), "SizeRootFs": Nil("<nil>")},
    "NetworkMode": {
        **dict.fromkeys(("Annotations", "StorageOpt", "Sysctls", "Tmpfs"), Nil("map[]")),
        **dict.fromkeys(("KernelMemory", "KernelMemoryTCP"), 0),
        "Mounts": Nil("[]"),
    },
    "WorkingDir": {
        **dict.fromkeys(("Healthcheck", "StopTimeout"), Nil("<nil>")),
        **dict.fromkeys(("ExposedPorts", "Volumes"), Nil("map[]")),
        **dict.fromkeys(("OnBuild", "Shell"), Nil("[]")),
        **dict.fromkeys(("MacAddress", "StopSignal"), ""),
        **dict.fromkeys(("ArgsEscaped", "NetworkDisabled"), False),
    },
}
"""By a member that a struct of Docker's always has: members that are not in its JSON where they are empty."""


def absent(value: Mapping[str, Any], name: str) -> Any:
    """What Docker's struct has for a member that its JSON leaves out; None when it has no such member."""
    for mark, members in _EMPTY.items():
        if mark in value and name in members:
            return members[name]
    return None


class GoMap(dict[str, Any]):
    """A map, not a struct: it may lack any key."""


def typed(value: Any, name: str = "", above: str = "") -> Any:
    """What came as JSON, with maps told from structs and the kinds of null told apart, by the name of the member."""
    if isinstance(value, Mapping):
        if name in _MAPS or (name, above) == ("Config", "LogConfig"):
            return GoMap({key: typed(item) for key, item in value.items()})
        return {key: typed(item, key, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    if value is None:
        return Nil("[]" if name in _LISTS else "map[]" if name in _MAPS else "<nil>")
    return value


def is_true(value: Any) -> bool:
    """Not false, 0, empty or nil."""
    return bool(value)


def shown(value: Any, *, quotes: bool = False) -> str:
    """As Go's fmt prints with %v (and %q of strings within, if ``quotes``)."""
    if value is None:
        return "<nil>"
    if isinstance(value, Nil):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, GoMap):
        return "map[" + " ".join(f"{key}:{shown(value[key], quotes=quotes)}" for key in sorted(value)) + "]"
    if isinstance(value, Mapping):
        return "{" + " ".join(shown(item, quotes=quotes) for item in value.values()) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(shown(item, quotes=quotes) for item in value) + "]"
    if isinstance(value, float):
        return _general(value)
    return quoted(value) if quotes and isinstance(value, str) else str(value)


def _general(value: float) -> str:
    """%v of a float64: the shortest that reads back, with an exponent from 1e21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return re.sub(r"e([+-])(\d)$", r"e\g<1>0\2", repr(value))


_BACK = {escape[1]: char for char, escape in QUOTED.items()} | {"'": "'"}


def unquoted(token: str) -> str:
    """A Go string or character literal's text."""
    if token[0] == "`":
        return token[1:-1]

    def back(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] in "xuU" and len(code) > 1 else _BACK.get(code[0], code)

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", back, token[1:-1])


_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d*))?(?P<verb>[a-zA-Z%])")


def sprintf(text: Any, *arguments: Any) -> str:
    """fmt.Sprintf, wrong verbs and numbers of arguments as Go tells them."""
    rest = list(arguments)

    def one(match: re.Match[str]) -> str:
        verb, flags = match["verb"], match["flags"]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        precision = None if match["precision"] is None else int(match["precision"] or 0)
        width = int(match["width"] or 0)
        body = _verb(verb, value, precision, "+" in flags, "#" in flags)
        if "-" in flags:
            return body.ljust(width)
        if "0" in flags:
            sign = body[:1] if body[:1] in "+-" else ""
            return sign + body[len(sign) :].rjust(width - len(sign), "0")
        return body.rjust(width)

    result = _VERB.sub(one, str(text))
    if rest:
        extra = ", ".join(f"{type_name(value)}={shown(value)}" for value in rest)
        result += f"%!(EXTRA {extra})"
    return result


def _verb(verb: str, value: Any, precision: int | None, plus: bool, sharp: bool) -> str:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    is_number = is_int or isinstance(value, float)
    if verb == "v" and not isinstance(value, float):
        return quoted(value) if sharp and isinstance(value, str) else shown(value)
    if verb == "T":
        return type_name(value)
    if verb == "t" and isinstance(value, bool):
        return shown(value)
    if verb in "sq" and isinstance(value, list | Mapping | Nil):
        return shown(value, quotes=verb == "q")
    if verb in "sq" and isinstance(value, str):
        cut = value if precision is None else value[:precision]
        return quoted(cut) if verb == "q" else cut
    if verb in "xX" and isinstance(value, str):
        return _in_case(value.encode().hex(), verb)
    if verb in "dboxXc" and is_int:
        return chr(value) if verb == "c" else ("+" if plus and value >= 0 else "") + format(value, verb)
    if verb in "feEgGv" and is_number and not (is_int and verb != "v"):
        sign = "+" if plus and value >= 0 else ""
        if verb in "gGv" and precision is None:
            return sign + _general(value)
        return sign + format(value, f".{6 if precision is None else precision}{'g' if verb == 'v' else verb}")
    return f"%!{verb}({type_name(value)}={shown(value)})"


def _in_case(text: str, verb: str) -> str:
    return text.upper() if verb.isupper() else text


def type_name(value: Any) -> str:
    if isinstance(value, Nil):
        return "<nil>"
    for kind, name in (
        (bool, "bool"),
        (int, "int"),
        (float, "float64"),
        (str, "string"),
        (list, "[]interface {}"),
    ):
        if isinstance(value, kind):
            return name
    return "map[string]interface {}"
