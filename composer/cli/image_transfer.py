"""``image pull`` and ``image push``: images from and to registries, and how such work is shown."""

from __future__ import annotations

from composer.api.client import API, quote
from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_pull(session: Session, arguments: Arguments) -> int:
    """Progress of each layer goes to stderr, the reference to stdout."""
    name = arguments.words[0]
    every = arguments.is_on("all-tags")
    if every and _has_tag(name):
        raise UsageError("tag can't be used with --all-tags/-a")
    query = {
        "fromImage": name,
        "tag": "" if _has_tag(name) or every else "latest",
        "platform": arguments.text("platform") or None,
    }
    show_progress(
        session,
        session.client.stream("POST", f"{API}/images/create", query, headers=identity(session, name)),
        quiet=arguments.is_on("quiet"),
        title="Pulling",
        parent=name,
    )
    session.write(f"{name}\n")
    return 0


def run_push(session: Session, arguments: Arguments) -> int:
    """Progress of each layer goes to stderr, the reference to stdout when it is all that is wanted."""
    name = arguments.words[0]
    repository, tag = name, "latest"
    if "@" in name:
        raise UsageError("cannot push a digest reference")
    if _has_tag(name):
        repository, _, tag = name.rpartition(":")
        if arguments.is_on("all-tags"):
            raise UsageError("tag can't be used with --all-tags/-a")
    is_quiet = arguments.is_on("quiet")
    _push(session, repository, "" if arguments.is_on("all-tags") else tag, quiet=is_quiet)
    if is_quiet:
        session.write(f"{name}\n")
    return 0


def push_image(session: Session, name: str, *, quiet: bool) -> None:
    """Push one image. Raises ComposerError."""
    repository, _, tag = name.rpartition(":") if _has_tag(name) else (name, "", "latest")
    _push(session, repository, tag, quiet=quiet)


def _push(session: Session, repository: str, tag: str, *, quiet: bool) -> None:
    messages = session.client.stream(
        "POST",
        f"{API}/images/{quote(repository)}/push",
        {"tag": tag},
        headers=identity(session, repository),
    )
    show_progress(session, messages, quiet=quiet, title="Pushing", parent=repository)


def identity(session: Session, name: str) -> dict[str, str]:
    """The header that tells the engine who one is to the registry of ``name``, when that is known here. When it
    cannot be found out, one is nobody: many images are for everybody."""
    import os

    # Most have no such file, and need none of what reads it.
    home = session.env.get("HOME") or os.path.expanduser("~")
    if not os.path.exists(f"{session.env.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json"):
        return {}
    from runtime.errors import ComposerError
    from runtime.image.credentials import encode_header, load_credentials
    from runtime.image.reference import parse_reference

    domain = parse_reference(name).domain
    try:
        found = load_credentials(session.env, domain)
    except ComposerError as error:
        session.warn(f"no credentials for {domain}: {error.message}")
        return {}
    return {"X-Registry-Auth": encode_header(found, domain)} if found is not None else {}


def _has_tag(name: str) -> bool:
    return "@" in name or ":" in name.rpartition("/")[2]


def show_progress(
    session: Session, messages: Iterable[dict[str, Any]], *, quiet: bool, title: str, parent: str = ""
) -> None:
    """Docker's progress messages as steps. Raises ComposerError for one that is an error."""
    from runtime.errors import ComposerError

    renderer = session.renderer(title, quiet=quiet)
    try:
        for message in messages:
            if "error" in message:
                raise ComposerError(message["error"], hint=message.get("hint", ""))
            if message.get("status", "").startswith("Pulling from "):
                renderer.line(f"{message['id']}: {message['status']}")
            elif layer := message.get("id"):
                detail = message.get("progressDetail") or {}
                renderer.step(
                    {
                        "type": "step",
                        "kind": "Image",
                        "name": layer,
                        "parent": parent,
                        "status": message.get("status", ""),
                        "current": detail.get("current", 0),
                        "total": detail.get("total", 0),
                    }
                )
            elif text := message.get("stream"):
                renderer.close()
                session.write(text)
            elif status := message.get("status"):
                renderer.line(status)
    finally:
        renderer.close()
