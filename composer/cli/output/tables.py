"""Tables as Docker prints them, and ``--format``: ``table``, ``json`` or a template of fields."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, narrowest: int = 10, gap: int = 3) -> str:
    """Columns as Go's tabwriter makes them: each cell but the last padded to its column, ``gap`` spaces between, at
    least ``narrowest`` wide. Control characters, which images and labels can contain, become spaces."""
    lines = [tuple(titles), *(tuple(map(_printable, row)) for row in rows)]
    widths = [max(narrowest, *(len(line[i]) + gap for line in lines)) for i in range(len(titles) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + line[-1] + "\n"
        for line in lines
    )


def _printable(cell: str) -> str:
    return cell if cell.isprintable() else cell.translate(_BLANKED)


_BLANKED = dict.fromkeys((*range(32), *range(127, 160)), " ")


def natural(name: str) -> list[tuple[int, int, int]]:
    """What sorts names as Docker's lists do: numbers in them by their value, the shorter first."""
    found, digits = [], ""
    for character in f"{name}\0":
        if character in "0123456789":
            digits += character
            continue
        if digits:
            found.append((ord("0"), int(digits), len(digits)))
            digits = ""
        found.append((ord(character), 0, 0))
    return found


def formatted(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    layout: str,
    *,
    default: Sequence[str],
    json_list: bool = False,
    as_json: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda row: row,
) -> str:
    """``rows`` as ``layout`` says: "" or ``table`` (the ``default`` fields), ``table TEMPLATE``, ``json``, TEMPLATE.

    ``columns`` gives the title of each field. Raises ValueError for a template that is none."""
    from composer.api.plain_json import dumps

    if layout in ("", "table"):
        cells = [[str(row.get(field, "")) for field in default] for row in rows]
        return table([columns[field] for field in default], cells)
    if layout == "json":
        rows = [{key: value for key, value in row.items() if not callable(value)} for row in rows]
        if json_list:
            return dumps([dict(as_json(row)) for row in rows]).decode() + "\n"
        # Docker's keys are in order.
        return "".join(dumps(dict(sorted(as_json(row).items()))).decode() + "\n" for row in rows)
    from composer.cli.output.templates import Template, unescape
    from composer.cli.terminals.terminal import for_stdout

    is_table = layout.startswith("table ")
    template = Template(unescape(layout[len("table ") :] if is_table else layout))
    texts = [template.render(dict(sorted(row.items()))) for row in rows]
    if not is_table:
        return for_stdout("".join(text + "\n" for text in texts))
    methods = {key: str.upper for row in rows[:1] for key, value in row.items() if callable(value)}
    header = template.render({**columns, **methods}, titles=True)
    split = [text.split("\t") for text in (header, *texts)]
    return table(split[0], split[1:])
