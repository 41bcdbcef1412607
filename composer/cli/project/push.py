"""``push``: send the images that services are built to."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_push(session: Session, arguments: Arguments) -> int:
    """One image after the other; without --ignore-push-failures the first failure ends it."""
    from composer.cli.management.image_transfer import push_image
    from runtime.errors import ComposerError

    services = session.resolve(arguments.words)["Services"]
    is_quiet = arguments.is_on("quiet")
    for image in images_to_push(services, arguments.words, with_deps=arguments.is_on("include-deps")):
        try:
            push_image(session, image, quiet=is_quiet)
        except ComposerError as error:
            if not arguments.is_on("ignore-push-failures"):
                raise
            session.warn(f"{image} was not pushed: {error.message}")
    return 0


def images_to_push(
    services: Iterable[dict[str, Any]], wanted: Sequence[str], *, with_deps: bool = False
) -> list[str]:
    """The images of the services ``wanted`` (all when there are none), each once: those that are built here and have
    a name; others came from a registry. Pure."""
    known = {service["Name"]: service for service in services}
    pending = list(wanted or known)
    chosen: dict[str, dict[str, Any]] = {}
    while pending:
        name = pending.pop(0)
        if name in known and name not in chosen:
            chosen[name] = known[name]
            pending += known[name]["DependsOn"] if with_deps else ()
    return list(dict.fromkeys(s["Image"] for s in chosen.values() if s["HasBuild"] and s["Image"]))


COMMANDS = {
    "push": Command(
        "push [OPTIONS] [SERVICE...]",
        "Push the images that services are built to",
        run_push,
        (
            Flag("ignore-push-failures", help="Push what can be pushed"),
            Flag("include-deps", help="Also the images of what the services depend on"),
            Flag("quiet", "q", help="Without progress"),
        ),
    )
}
