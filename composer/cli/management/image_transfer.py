"""``image pull`` and ``image push``: images from and to registries, and how such work is shown."""

from __future__ import annotations

from composer.api.client import API, quote
from composer.cli.arguments import UsageError
from runtime.image.naming import DEFAULT_TAG, has_tag, split_domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_pull(session: Session, arguments: Arguments) -> int:
    """Progress of each layer goes to stderr; what is said of the whole, and at last the reference, to stdout."""
    from composer.cli.endurance import lasting_stream

    name = arguments.words[0]
    every, is_quiet = arguments.is_on("all-tags"), arguments.is_on("quiet")
    if every and has_tag(name):
        raise UsageError("tag can't be used with --all-tags/-a")
    if tag := _default_tag(session, name, every=every, quiet=is_quiet):
        name = f"{name}:{tag}"
    show_progress(
        session,
        lasting_stream(
            session,
            f"{API}/images/create",
            {"fromImage": name, "tag": "", "platform": arguments.text("platform") or None},
            identity(session, name),
        ),
        quiet=is_quiet,
        title="Pulling",
        parent=name,
        to_stdout=True,
    )
    session.write_line("/".join(split_domain(name)))
    return 0


def run_push(session: Session, arguments: Arguments) -> int:
    """Progress of each layer goes to stderr; what is said of the whole to stdout, with --quiet just the reference."""
    name = arguments.words[0]
    every, is_quiet = arguments.is_on("all-tags"), arguments.is_on("quiet")
    if "@" in name:
        raise UsageError("cannot push a digest reference")
    if every and has_tag(name):
        raise UsageError("tag can't be used with --all-tags/-a")
    if tag := _default_tag(session, name, every=every, quiet=is_quiet):
        name = f"{name}:{tag}"
    repository, _, tag = (name, "", "") if every else name.rpartition(":")
    _push(session, repository, tag, arguments.text("platform"), quiet=is_quiet)
    if is_quiet:
        session.write_line("/".join(split_domain(name)))
    return 0


def _default_tag(session: Session, name: str, *, every: bool, quiet: bool) -> str:
    """The tag that is meant when there is none, which is told; "" when there is one, or all are meant. Raises
    InvalidArgument when there is no name."""
    if not name.strip():
        from runtime.image.reference import parse_reference

        parse_reference(name)
    if every or has_tag(name):
        return ""
    _tell_default(session, DEFAULT_TAG, quiet=quiet)
    return DEFAULT_TAG


def _tell_default(session: Session, tag: str, *, quiet: bool) -> None:
    if session.shows_sentences(quiet=quiet):
        session.write_line(f"Using default tag: {tag}")
    else:
        session.renderer(quiet=quiet).line(f"Using default tag: {tag}")


def push_image(session: Session, name: str, *, quiet: bool) -> None:
    """Push one image. Raises ComposerError."""
    repository, _, tag = name.rpartition(":") if has_tag(name) else (name, "", "latest")
    _push(session, repository, tag, quiet=quiet)


def _push(session: Session, repository: str, tag: str, platform: str = "", *, quiet: bool) -> None:
    from composer.cli.endurance import lasting_stream

    messages = lasting_stream(
        session,
        f"{API}/images/{quote(repository)}/push",
        {"tag": tag, "platform": platform or None},
        identity(session, repository),
    )
    show_progress(session, messages, quiet=quiet, title="Pushing", parent=repository, to_stdout=True)


def identity(session: Session, name: str) -> dict[str, str]:
    """The header that tells the engine who one is to the registry of ``name``, when that is known here. When it
    cannot be found out, one is nobody: many images are for everybody."""
    import os

    # Most have no such file, and need none of what reads it.
    home = session.env.get("HOME") or os.path.expanduser("~")
    if not os.path.exists(f"{session.env.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json"):
        return {}
    from runtime.errors import ComposerError
    from runtime.image.reference import parse_reference
    from runtime.image.registry.credentials import encode_header, load_credentials

    domain = parse_reference(name).domain
    try:
        found = load_credentials(session.env, domain)
    except ComposerError as error:
        session.warn(f"no credentials for {domain}: {error.message}")
        return {}
    return {"X-Registry-Auth": encode_header(found, domain)} if found is not None else {}


def show_progress(
    session: Session,
    messages: Iterable[dict[str, Any]],
    *,
    quiet: bool,
    title: str,
    parent: str = "",
    to_stdout: bool = False,
) -> None:
    """Docker's progress messages as steps, and sentences about the whole: to stderr with the steps, or ``to_stdout``.
    Raises ComposerError for one that is an error."""
    from runtime.errors import ComposerError

    renderer = session.renderer(title, quiet=quiet)
    tell = renderer.line
    if to_stdout and session.shows_sentences(quiet=quiet):
        tell = session.write_line
    try:
        for message in messages:
            if "error" in message:
                hint = (message.get("errorDetail") or {}).get("hint", "")
                raise ComposerError(message["error"], hint=hint)
            if message.get("status", "").startswith("Pulling from "):
                tell(f"{message['id']}: {message['status']}")
            elif layer := message.get("id"):
                detail = message.get("progressDetail") or {}
                state, reason = message.get("status", ""), ""
                if state.startswith("Retrying "):
                    state, _, reason = state.partition(" ")
                renderer.step(
                    {
                        "type": "step",
                        "kind": "Image",
                        "name": layer,
                        "parent": parent,
                        "status": state,
                        "text": reason,
                        "current": detail.get("current", 0),
                        "total": detail.get("total", 0),
                    }
                )
            elif text := message.get("stream"):
                renderer.close()
                session.write(text)
            elif status := message.get("status"):
                tell(status)
    finally:
        renderer.close()
