"""``--call``: what is asked of a Dockerfile, and the answers as buildx prints them."""

from __future__ import annotations

from typing import Any, NamedTuple

from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES = ("build", "check", "outline", "targets")
_TRUE = ("1", "t", "true")
_FALSE = ("0", "f", "false")


class Call(NamedTuple):
    """What is asked. ``ignores_status``: what a check finds is no failure of the command."""

    name: str
    is_json: bool = False
    ignores_status: bool = False


def parse_call(text: str) -> Call:
    """``NAME[,format=FORMAT][,ignorestatus=BOOL]``. Raises UsageError."""
    name = ""
    options = {"format": "text", "ignorestatus": "false"}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals:
            if name:
                raise UsageError(f'invalid --call "{text}": one of {", ".join(_NAMES)}', is_flag=True)
            name = key
        elif key not in options:
            raise UsageError(
                f'invalid --call "{text}": there is no {key}, only format and ignorestatus', is_flag=True
            )
        else:
            options[key] = value.lower()
    name = "check" if name == "lint" else name or "build"
    if name not in _NAMES:
        raise UsageError(
            f"--call {name} is not available in composer: there are {', '.join(_NAMES)}", is_flag=True
        )
    if options["format"] not in ("text", "json"):
        raise UsageError(f'invalid --call "{text}": the format is text or json', is_flag=True)
    if options["ignorestatus"] not in (*_TRUE, *_FALSE):
        raise UsageError(f'invalid --call "{text}": ignorestatus is true or false', is_flag=True)
    return Call(name, options["format"] == "json", options["ignorestatus"] in _TRUE)


def answer(call: Call, data: dict[str, Any]) -> tuple[str, int]:
    """What is printed, and the exit status."""
    findings, document = data["Findings"], data["Document"]
    if call.name == "check":
        text = _json(_lint(findings, document)) if call.is_json else _found(findings)
        return text, 1 if findings and not call.ignores_status else 0
    if call.is_json:
        return _json(document), 0
    return (_outline(document) if call.name == "outline" else _targets(document)), 0


def _found(findings: list[dict[str, Any]]) -> str:
    """Each with its page, the line, and how many at last."""
    text = "".join(
        f"WARNING: {one['Rule']} - {one['Url']}\n{one['Message']}\n{one['Place']}\n{one['Excerpt']}\n\n"
        for one in findings
    )
    count = len(findings)
    if not count:
        return "Check complete, no warnings found.\n"
    return f"{text}Check complete, {count} {'warning has' if count == 1 else 'warnings have'} been found!\n"


def _lint(findings: list[dict[str, Any]], document: dict[str, Any]) -> dict[str, Any]:
    warnings = [
        {
            "ruleName": one["Rule"],
            "description": one["Description"],
            "url": one["Url"],
            "detail": one["Message"],
            "location": {"ranges": [{"start": {"line": one["Line"]}, "end": {"line": one["Line"]}}]},
        }
        for one in findings
    ]
    return {"warnings": warnings, **document}


def _targets(document: dict[str, Any]) -> str:
    rows = [("TARGET", "DESCRIPTION")]
    for target in document["targets"]:
        words = [target.get("name", ""), "(default)" if target.get("default") else ""]
        rows.append((" ".join(word for word in words if word), target.get("description", "")))
    return _columns(rows, 1)


def _outline(document: dict[str, Any]) -> str:
    tables: list[str] = []
    name, description = document.get("name", ""), document.get("description", "")
    if name or description:
        rows = [("TARGET:", name or "(default)")]
        tables.append(_columns([*rows, ("DESCRIPTION:", description)] if description else rows, 1))
    if arguments := document.get("args"):
        shown = [(one["name"], one.get("value", ""), one.get("description", "")) for one in arguments]
        tables.append(_columns([("BUILD ARG", "VALUE", "DESCRIPTION"), *shown], 3))
    for key, title in (("secrets", "SECRET"), ("ssh", "SSH")):
        if mounts := document.get(key):
            needs = [(one["name"], "true" if one.get("required") else "") for one in mounts]
            tables.append(_columns([(title, "REQUIRED"), *needs], 3))
    return "".join(f"{table}\n" for table in tables)


def _columns(rows: Sequence[tuple[str, ...]], gap: int) -> str:
    """As Go's tabwriter aligns them: all but the last column are filled up."""
    widths = [max(len(row[number]) for row in rows) + gap for number in range(len(rows[0]) - 1)]
    lines = (
        "".join(text.ljust(width) for text, width in zip(row, widths, strict=False)) + row[-1] for row in rows
    )
    return "".join(f"{line}\n" for line in lines)


def _json(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
