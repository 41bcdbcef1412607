"""``cp``, ``export``, ``diff`` and ``commit``: files of containers."""

from __future__ import annotations

import sys

from composer.api.client import API, quote
from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.api.client import QueryValue
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

_ARCHIVE = Flag("archive", "a", help="Keep user and group of what is copied")
_FOLLOW = Flag("follow-link", "L", help="Copy what a link leads to")


def split_end(text: str) -> tuple[str, str]:
    """``CONTAINER:PATH``; a local path has no container: it begins with ``/`` or ``.``, or has no colon."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        return "", text
    return name, path


def run_container_cp(session: Session, arguments: Arguments) -> int:
    """How much was copied is told on a terminal, unless quiet or when the tar goes to stdout."""
    from composer.cli.management.copying import copy_in, copy_out
    from composer.cli.output.units import human_size

    begin, end = arguments.words
    (source, path), (target, place) = split_end(begin), split_end(end)
    if source and target:
        raise UsageError("copying between containers is not supported")
    if not source and not target:
        raise UsageError("must specify at least one container source")
    container, client = source or target, session.client
    client.request("GET", f"{API}/containers/{quote(container)}/json")
    follows = arguments.is_on("follow-link")
    if source:
        total = copy_out(client, container, _path(path), place, follows=follows)
        where = place
    else:
        owners = arguments.is_on("archive")
        total = copy_in(client, container, path, _path(place), follows=follows, owners=owners)
        where = f"{container}:{place}"
    is_told = not arguments.is_on("quiet") if arguments.has("quiet") else sys.stderr.isatty()
    if is_told and place != "-":
        session.write_status(f"Successfully copied {human_size(total)} to {where}\n")
    return 0


def run_cp(session: Session, arguments: Arguments) -> int:
    """Into every replica, or out of the first."""
    from composer.cli.management.copying import copy_in, copy_out

    begin, end = arguments.words
    (source, path), (target, place) = split_end(begin), split_end(end)
    if source and target:
        raise UsageError("copying between services is not supported")
    if not source and not target:
        raise UsageError("unknown copy direction")
    names = _replicas(session, source or target, arguments)
    follows = arguments.is_on("follow-link")
    for name in names[:1] if source else names:
        told = f"{name}:{path} to {place}" if source else f"{path} to {name}:{place}"
        if source:
            copy_out(session.client, name, _path(path), place, follows=follows)
        else:
            owners = arguments.is_on("archive")
            copy_in(session.client, name, path, _path(place), follows=follows, owners=owners)
        if place != "-":
            session.write_status(f" {name} copy {told} Copied\n")
    return 0


def _replicas(session: Session, service: str, arguments: Arguments) -> list[str]:
    """The names of a service's containers, also of those that do not run; one-off ones with ``--all``."""
    from composer.cli.project.containers import plain_name
    from composer.cli.project.exec import running_container

    index, every = arguments.number("index") or 0, arguments.is_on("all")
    found = [c for c in session.resolve()["Containers"] if c["Service"] == service]
    found = [c for c in found if (every or not c["OneOff"]) and (not index or c["Number"] == index)]
    if not found:
        running_container(session, service, index)  # raises, with what is near
    return [plain_name(c) for c in sorted(found, key=lambda c: (c["OneOff"], c["Number"]))]


def _path(path: str) -> str:
    """A container's path; a relative one counts from the root. Raises UsageError."""
    if not path:
        raise UsageError("the path in the container is empty", hint="its root is /")
    return path if path.startswith("/") else f"/{path}"


def run_export(session: Session, arguments: Arguments) -> int:
    """A tar of a service container's files."""
    from composer.cli.project.containers import plain_name
    from composer.cli.project.exec import running_container

    container = running_container(session, arguments.words[0], arguments.number("index") or 0)
    return _export(session, plain_name(container), arguments.text("output"))


def run_container_export(session: Session, arguments: Arguments) -> int:
    return _export(session, arguments.words[0], arguments.text("output"))


def _export(session: Session, container: str, output: str) -> int:
    from composer.cli.management.image_archive import refuse_terminal, write_archive

    refuse_terminal(output)
    return write_archive(session.client.chunks("GET", f"{API}/containers/{quote(container)}/export"), output)


def run_diff(session: Session, arguments: Arguments) -> int:
    """``C`` changed, ``A`` added, ``D`` deleted, and the path."""
    answer = session.client.request("GET", f"{API}/containers/{quote(arguments.words[0])}/changes")
    session.write("".join(f"{'CAD'[change['Kind']]} {change['Path']}\n" for change in answer.json() or ()))
    return 0


def run_commit(session: Session, arguments: Arguments) -> int:
    """Make an image of a service's container."""
    from composer.cli.project.containers import plain_name
    from composer.cli.project.exec import running_container

    container = running_container(session, arguments.words[0], arguments.number("index") or 0)
    return _commit(session, arguments, plain_name(container))


def run_container_commit(session: Session, arguments: Arguments) -> int:
    return _commit(session, arguments, arguments.words[0])


def _commit(session: Session, arguments: Arguments, container: str) -> int:
    name = arguments.words[1] if len(arguments.words) > 1 else ""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    query: dict[str, QueryValue] = {
        "container": container,
        "repo": repository or None,
        "tag": tag or None,
        "author": arguments.text("author") or None,
        "comment": arguments.text("message") or None,
        "changes": arguments.list("change"),
        "pause": arguments.is_on("pause"),
    }
    answer = session.client.request("POST", f"{API}/commit", query).json()
    session.write(f"{answer['Id']}\n")
    return 0


_COMMIT = (
    Flag("author", "a", "string", "Who made it"),
    Flag("change", "c", "list", "Dockerfile instruction that alters the image's configuration"),
    Flag("message", "m", "string", "Commit message"),
    Flag("pause", "p", help="Pause the container meanwhile", default="true"),
)
_OUTPUT = Flag("output", "o", "string", help="Write to a file instead of stdout")
COMMANDS = {
    "commit": Command(
        "commit [OPTIONS] SERVICE [REPOSITORY[:TAG]]",
        "Make an image of a service container's changes",
        run_commit,
        (*_COMMIT, Flag("index", kind="int", help="Number of the container, if the service has several")),
        at_least=1,
        at_most=2,
    ),
    "cp": Command(
        "cp [OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n       composer cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH",
        "Copy files between a service's containers and the local file system",
        run_cp,
        (
            Flag("all", help="One-off containers too"),
            _ARCHIVE,
            _FOLLOW,
            Flag("index", kind="int", help="Number of the container, if the service has several"),
        ),
        at_least=2,
        at_most=2,
    ),
    "export": Command(
        "export [OPTIONS] SERVICE",
        "Write a service container's file system as a tar archive",
        run_export,
        (Flag("index", kind="int", help="Number of the container, if the service has several"), _OUTPUT),
        at_least=1,
        at_most=1,
    ),
}
CONTAINER_COMMANDS = {
    "commit": Command(
        "container commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Make an image of a container's changes",
        run_container_commit,
        _COMMIT,
        at_least=1,
        at_most=2,
    ),
    "cp": Command(
        "container cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n"
        "       composer container cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        "Copy files between a container and the local file system",
        run_container_cp,
        (_ARCHIVE, _FOLLOW, Flag("quiet", "q", help="Do not tell how much was copied")),
        at_least=2,
        at_most=2,
    ),
    "diff": Command("container diff CONTAINER", "Show changed files", run_diff, at_least=1, at_most=1),
    "export": Command(
        "container export [OPTIONS] CONTAINER",
        "Write a container's file system as a tar archive",
        run_container_export,
        (_OUTPUT,),
        at_least=1,
        at_most=1,
    ),
}
