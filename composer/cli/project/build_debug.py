"""``build --debug``: a shell in a step that has failed, before the build ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from composer.api.client import API
from composer.cli.arguments import parse_command
from runtime.errors import ComposerError, ConnectionLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.session import Session

_FILTER = '{"label": ["composer.build.keep"]}'


class _Told(ComposerError):
    """What failed has been shown already."""

    def __init__(self, status: int) -> None:
        super().__init__("the build failed", exit_status=status)


@contextmanager
def debugging(session: Session, body: dict[str, Any]) -> Iterator[None]:
    """When what ``body`` asks for fails in a step, show why and open a shell there; the step is gone afterwards. Where
    there is no terminal, say how to look at it."""
    if os.isatty(0) and os.isatty(1):
        body["shows_failed"] = True
        session.on_failed_step = looking = _Looking(session)
        try:
            yield
        except ComposerError as error:
            if looking.has_shown:
                raise _Told(error.exit_status) from None
            raise
        finally:
            session.on_failed_step = None
        return
    body["debug"] = True
    try:
        yield
    except ComposerError as error:
        answer = session.client.request("GET", f"{API}/containers/json", {"all": "1", "filters": _FILTER})
        kept = [container["Names"][0].removeprefix("/") for container in answer.json()]
        if kept:
            error.hint = (
                f"composer debug {kept[0]} looks at what the step has left, "
                f"composer container rm {kept[0]} removes it"
            )
        raise


class _Looking:
    def __init__(self, session: Session) -> None:
        self._session = session
        self.has_shown = False

    def __call__(self, event: dict[str, Any]) -> None:
        """Say what has failed, converse with a shell in it, and remove it, whereupon the build ends."""
        from composer.cli.faults import describe

        session, container = self._session, event["container"]
        session.forget_connection()  # it goes on telling of the build
        self.has_shown = True
        sys.stderr.write(f"{describe(ComposerError(event['message']))}\n")
        try:
            why = "there is no shell in the image"
            if event.get("shell"):
                self._tell(event, "its shell; exit leaves it; nothing of it is kept")
                try:
                    self._converse(container)
                except ConnectionLost:
                    raise
                except ComposerError as error:
                    why = f"the image's shell does not start ({error.message})"
                else:
                    return
            self._tell(
                event,
                f"{why}: this one is this machine's, with this machine's /usr, /bin and /lib; the image's own are in "
                "/container; exit leaves it",
            )
            try:
                self._debug(container)
            except ComposerError as error:
                sys.stderr.write(f"{describe(error)}\n")
        finally:
            with suppress(ComposerError):
                session.client.request("DELETE", f"{API}/containers/{container}", {"force": "1", "v": "1"})

    def _tell(self, event: dict[str, Any], rest: str) -> None:
        from composer.cli.terminals.terminal import harmless

        text = f"failed step: {event['place']}: {event['command']} — {rest}"
        script = "".join(f"  | {line}\n" for line in event.get("script", "").splitlines())
        sys.stderr.write("".join(f"{harmless(line)}\n" for line in f"{text}\n{script}".splitlines()))
        sys.stderr.flush()

    def _converse(self, container: str) -> None:
        from composer.cli.project.attach import converse_with

        converse_with(self._session, container, stdin=True, start=True)

    def _debug(self, container: str) -> None:
        from composer.cli.project.debug import COMMANDS, run_debug

        run_debug(self._session, parse_command(COMMANDS["debug"], [container]))
