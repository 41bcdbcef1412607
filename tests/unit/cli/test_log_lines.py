"""Lines of logs as they are shown."""

from __future__ import annotations

from typing import Any

import pytest

from composer.cli.project.log_lines import LogPrinter

SECOND = 1_700_000_000


def event(
    text: str, *, service: str = "web", stream: str = "stdout", partial: bool = False
) -> dict[str, Any]:
    times = [SECOND * 10**9 + number for number in range(text.count("\n") + 1)]
    names = {"service": service, "container": f"shop-{service}-1", "number": 1}
    return {**names, "stream": stream, "times": times, "text": text, "partial": partial}


def shown(*events: dict[str, Any], **options: Any) -> str:
    written: list[bytes] = []
    printer = LogPrinter(written.append, colour=False, **options)
    printer.register("web-1")
    printer.register("longer-1")
    for each in events:
        printer.log(each)
    printer.end_line()
    return b"".join(written).decode()


def test_lines_that_come_together() -> None:
    assert shown(event("one\n\nthree")) == "web-1     | one\nweb-1     | \nweb-1     | three\n"


@pytest.mark.parametrize("timestamps", [False, True])
def test_half_a_line_is_gone_on_with(timestamps: bool) -> None:
    said = shown(
        event("one\nhalf", partial=True), event(" and half\ntwo"), prefix=False, timestamps=timestamps
    )
    first, second = "2023-11-14T22:13:20.000000000Z ", "2023-11-14T22:13:20.000000001Z "
    times = (first, second, second) if timestamps else ("", "", "")
    assert said == "{}one\n{}half and half\n{}two\n".format(*times)


def test_half_a_line_is_ended_before_another_containers() -> None:
    said = shown(event("half", partial=True), event("other", service="longer"))
    assert said == "web-1     | half\nlonger-1  | other\n"


def test_streams_have_their_own_writers() -> None:
    errors: list[bytes] = []
    said = shown(event("out"), event("err", stream="stderr"), write_errors=errors.append)
    assert (said, errors) == ("web-1     | out\n", [b"web-1     | err\n"])


def test_what_is_not_text() -> None:
    assert (
        shown({**event("", partial=False), "text64": "AGEKYg==", "times": [1, 2]}, prefix=False) == "\0a\nb\n"
    )
