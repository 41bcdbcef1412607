"""``attach``: this terminal and a service's running container."""

from __future__ import annotations

import os

from composer.api.client import API
from composer.cli.arguments import Command, Flag
from runtime.errors import ComposerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from composer.api.client import EngineClient
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_attach(session: Session, arguments: Arguments) -> int:
    from composer.cli.project.exec import running_container

    container = running_container(session, arguments.words[0], arguments.number("index") or 0)
    return converse_with(
        session,
        container["Id"],
        stdin=not arguments.is_on("no-stdin"),
        sig_proxy=arguments.is_on("sig-proxy"),
        detach_keys=arguments.text("detach-keys"),
    )


def check_detach_keys(text: str) -> None:
    """Raises InvalidArgument for keys that are none."""
    from composer.api.detaching import parse_detach_keys
    from runtime.errors import InvalidArgument

    try:
        parse_detach_keys(text)
    except ValueError as error:
        raise InvalidArgument(f"Invalid escape keys ({text}) provided", hint=str(error)) from None


def usual_detach_keys(session: Session) -> str:
    """Those of ``detachKeys`` in Docker's ``config.json`` for who names none; "" when it has none. Raises
    InvalidArgument for keys that are none."""
    home = session.env.get("HOME") or os.path.expanduser("~")
    path = f"{session.env.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json"
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return ""
    if b"detachKeys" not in content:
        return ""
    from json import loads

    try:
        document = loads(content)
    except ValueError:
        return ""  # whoever needs it for more than this says what is wrong with it
    keys = document.get("detachKeys") if isinstance(document, dict) else None
    if not isinstance(keys, str) or not keys:
        return ""
    check_detach_keys(keys)
    return keys


def converse_with(
    session: Session,
    container: str,
    *,
    stdin: bool,
    sig_proxy: bool = True,
    detach_keys: str = "",
    start: bool = False,
    logs: bool = False,
    outputs: Sequence[str] = ("stdout", "stderr"),
) -> int:
    """Attach to a container, ``start`` it then if wanted, and return its exit status when it has ended. When it is left
    instead: 0 for who started it, Detached for who came to it, as with Docker."""
    from composer.cli.terminals.streams import Detached, converse

    client = session.client
    details = client.request("GET", f"{API}/containers/{container}/json").json()
    tty = bool(details["Config"]["Tty"])
    takes_input = stdin and bool(details["Config"]["OpenStdin"])
    if tty and takes_input:
        detach_keys = detach_keys or usual_detach_keys(session)
    query: dict[str, Any] = {
        "stream": 1,
        "stdout": int("stdout" in outputs),
        "stderr": int("stderr" in outputs),
        "stdin": int(takes_input),
        "logs": int(logs),
    }
    if detach_keys:
        query["detachKeys"] = detach_keys
    waiter = session.connect()
    # Who has it removed at its end finds it gone afterwards.
    at_start = "removed" if details["HostConfig"]["AutoRemove"] else "next-exit"
    ended = _begin_wait(waiter, container, at_start if start else "not-running")
    try:
        connection, received = client.hijack("POST", f"{API}/containers/{container}/attach", query)
    except ComposerError:
        if start and details["HostConfig"]["AutoRemove"]:
            # It will not be started, so its end will not remove it.
            client.request("DELETE", f"{API}/containers/{container}", {"v": 1})
        raise

    def resize(rows: int, columns: int) -> None:
        session.client.request("POST", f"{API}/containers/{container}/resize", {"h": rows, "w": columns})

    try:
        if start:
            session.client.request("POST", f"{API}/containers/{container}/start")

        def speak() -> bool:
            return converse(
                connection,
                received,
                tty=tty,
                stdin=takes_input,
                resize=resize if tty else None,
                detach_keys=detach_keys,
            )

        if sig_proxy:
            from composer.cli.terminals.signals import SignalProxy

            def send(name: str) -> None:
                session.connect().request("POST", f"{API}/containers/{container}/kill", {"signal": name})

            with SignalProxy(send):
                is_detached = speak()
        else:
            is_detached = speak()
    finally:
        connection.close()
    if is_detached:
        if not start:
            raise Detached
        return 0
    # Its last output comes before its end is known.
    return int(ended())


def _begin_wait(client: EngineClient, container: str, condition: str) -> Callable[[], int]:
    """Ask for the exit before it can happen: the head of the answer says that the engine waits. What is returned
    reads the exit status when the conversation is over."""
    answers = client.stream("POST", f"{API}/containers/{container}/wait", {"condition": condition})

    def ended() -> int:
        for answer in answers:
            return int(answer["StatusCode"])
        raise ComposerError("the engine ended before the container did")

    return ended


COMMANDS = {
    "attach": Command(
        "attach [OPTIONS] SERVICE",
        "Attach the terminal's streams to a service's running container",
        run_attach,
        (
            Flag("detach-keys", kind="string", help="Keys that leave the container running"),
            Flag("index", kind="int", help="Number of the container, if the service has several"),
            Flag("no-stdin", help="Do not attach the standard input"),
            Flag("sig-proxy", help="Pass signals on to the process", default="true"),
        ),
        at_least=1,
        at_most=1,
    )
}
