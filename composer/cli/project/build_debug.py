"""``build --debug``: a shell in the file system that a failed step has left."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from composer.api.client import API
from composer.cli.arguments import parse_command
from runtime.errors import ComposerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.session import Session

_FILTER = '{"label": ["composer.build.keep"]}'


class _Told(ComposerError):
    """What failed has been shown already."""

    def __init__(self, status: int) -> None:
        super().__init__("the build failed", exit_status=status)


@contextmanager
def debugging(session: Session) -> Iterator[None]:
    """When what is done inside fails in a step, show why and open a shell there; the step is gone afterwards. Where
    there is no terminal, say how to look at it."""
    try:
        yield
    except ComposerError as error:
        answer = session.client.request("GET", f"{API}/containers/json", {"all": "1", "filters": _FILTER})
        kept = [container["Names"][0].removeprefix("/") for container in answer.json()]
        if not kept:
            raise
        if not (os.isatty(0) and os.isatty(1)):
            error.hint = (
                f"composer debug {kept[0]} looks at what the step has left, "
                f"composer container rm {kept[0]} removes it"
            )
            raise
        from composer.cli.faults import describe
        from composer.cli.project.debug import COMMANDS, run_debug

        sys.stderr.write(f"{describe(error)}\n")
        try:
            run_debug(session, parse_command(COMMANDS["debug"], [kept[0]]))
        finally:
            for name in kept:
                with suppress(ComposerError):
                    session.client.request("DELETE", f"{API}/containers/{name}", {"force": "1", "v": "1"})
        raise _Told(error.exit_status) from None
