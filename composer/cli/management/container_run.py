"""``container create`` and ``container run``."""

from __future__ import annotations

import os

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.management.container_options import OPTIONS
from composer.cli.management.container_views import container_path
from composer.cli.management.conventions import DETACH_KEYS, SIG_PROXY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def create(session: Session, arguments: Arguments) -> str:
    """Make a container, pulling its image if that is wanted; its id."""
    from composer.cli.endurance import lasting_request
    from composer.cli.management.container_options import create_body
    from runtime.errors import InvalidArgument, NotFound

    try:
        body = create_body(arguments, session.env)
    except UsageError as error:
        raise InvalidArgument(error.message, hint=error.hint, exit_status=125) from None
    except OSError as error:
        raise InvalidArgument(f"open {error.filename}: {error.strerror}", exit_status=125) from None
    # The container's id is chosen here: asked again for the same one, the next engine does not make a second.
    query = {
        "name": arguments.text("name") or None,
        "platform": arguments.text("platform") or None,
        "id": os.urandom(32).hex(),
    }
    policy = arguments.text("pull")
    if policy not in ("always", "missing", "never"):
        raise InvalidArgument(
            f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"',
            exit_status=125,
        )

    def made() -> dict[str, Any]:
        path = f"{API}/containers/create"
        answer: dict[str, Any] = lasting_request(session, "POST", path, query, body).json()
        return answer

    with _IdFile(arguments.text("cidfile")) as id_file:
        if policy == "always":
            _pull(session, arguments)
        try:
            answer = made()
        except NotFound as error:
            if policy != "missing" or "No such image" not in error.message:
                raise
            session.write_status(f"Unable to find image '{arguments.words[0]}' locally\n")
            _pull(session, arguments)
            answer = made()
        id_file.keep(answer["Id"])
    for warning in answer.get("Warnings") or ():
        session.warn(warning)
    return str(answer["Id"])


class _IdFile:
    """``--cidfile``: a file that is not there yet takes the container's id, and goes where there is no container."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> _IdFile:
        from runtime.errors import InvalidArgument

        if not self._path:
            return self
        try:
            self._file = open(self._path, "x", encoding="ascii")
        except FileExistsError:
            message = "container ID file found, make sure the other container isn't running or delete "
            raise InvalidArgument(message + self._path, exit_status=125) from None
        except OSError as error:
            message = f"failed to create the container ID file: open {self._path}: {error.strerror}"
            raise InvalidArgument(message, exit_status=125) from None
        return self

    def keep(self, container: str) -> None:
        if self._path:
            self._file.write(container)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._path:
            self._file.close()
            if kind is not None:
                os.unlink(self._path)


def _pull(session: Session, arguments: Arguments) -> None:
    from composer.cli.endurance import lasting_stream
    from composer.cli.management.image_transfer import identity, show_progress

    name = arguments.words[0]
    tag = "" if "@" in name or ":" in name.rpartition("/")[2] else "latest"
    query = {"fromImage": name, "tag": tag, "platform": arguments.text("platform") or None}
    messages = lasting_stream(session, f"{API}/images/create", query, identity(session, name))
    show_progress(session, messages, quiet=arguments.is_on("quiet"), title="Pulling", parent=name)


def run_create(session: Session, arguments: Arguments) -> int:
    session.write(create(session, arguments) + "\n")
    return 0


def run_run(session: Session, arguments: Arguments) -> int:
    from composer.cli.endurance import lasting_request
    from composer.cli.management.container_options import streams
    from composer.cli.project.attach import check_detach_keys, converse_with
    from composer.cli.project.exec import check_terminal
    from runtime.errors import ComposerError

    if not arguments.is_on("detach"):
        check_terminal(tty=arguments.is_on("tty"), stdin=arguments.is_on("interactive"))
    if arguments.has("detach-keys"):
        check_detach_keys(arguments.text("detach-keys"))
    try:
        container = create(session, arguments)
        if arguments.is_on("detach"):
            lasting_request(session, "POST", container_path(container, "start"))
            session.write(f"{container}\n")
            return 0
        return converse_with(
            session,
            container,
            stdin=arguments.is_on("interactive"),
            sig_proxy=arguments.is_on("sig-proxy"),
            detach_keys=arguments.text("detach-keys"),
            start=True,
            outputs=[name for name in streams(arguments) if name != "stdin"],
        )
    except ComposerError as error:
        if error.exit_status == 1:
            error.exit_status = 125
        raise


COMMANDS = {
    "create": Command(
        "container create [OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Make a container",
        run_create,
        OPTIONS,
        at_least=1,
        is_interspersed=False,
    ),
    "run": Command(
        "container run [OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Make and run a container",
        run_run,
        (*OPTIONS, Flag("detach", "d", help="In the background; print the id"), DETACH_KEYS, SIG_PROXY),
        at_least=1,
        is_interspersed=False,
    ),
}
