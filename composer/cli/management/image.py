"""``image``: images of this machine."""

from __future__ import annotations

from composer.api.client import API, quote
from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.management.conventions import (
    FILTER,
    FORCE,
    FORMAT,
    INSPECT_FORMAT,
    NO_TRUNC,
    QUIET,
    confirm,
    inspect_each,
    parse_filters,
    report_failures,
    show_pruned,
)
from composer.cli.management.image_build import build_command
from composer.cli.management.image_list import run_ls, short_id
from composer.cli.management.image_transfer import run_pull, run_push
from composer.cli.registries.search import FLAGS as SEARCH_FLAGS
from composer.cli.registries.search import run_search

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_import(session: Session, arguments: Arguments) -> int:
    from composer.cli.management import image_archive  # what it imports takes a pull's start too long

    return image_archive.run_import(session, arguments)


def run_load(session: Session, arguments: Arguments) -> int:
    from composer.cli.management import image_archive

    return image_archive.run_load(session, arguments)


def run_save(session: Session, arguments: Arguments) -> int:
    from composer.cli.management import image_archive

    return image_archive.run_save(session, arguments)


def run_rm(session: Session, arguments: Arguments) -> int:
    from runtime.errors import ComposerError, NotFound

    failures: list[ComposerError] = []
    missing: list[ComposerError] = []
    query: dict[str, Any] = {
        "force": arguments.is_on("force"),
        "noprune": arguments.is_on("no-prune"),
        "platforms": arguments.list("platform"),
    }
    for name in arguments.words:
        try:
            for change in session.client.request("DELETE", f"{API}/images/{quote(name)}", query).json():
                session.write("".join(f"{what}: {which}\n" for what, which in change.items()))
        except NotFound as error:
            # What is to be gone, and is, is no failure with --force.
            (missing if arguments.is_on("force") else failures).append(error)
        except ComposerError as error:
            failures.append(error)
    report_failures(session, missing)
    return report_failures(session, failures)


def run_tag(session: Session, arguments: Arguments) -> int:
    source, target = arguments.words
    session.client.request("POST", f"{API}/images/{quote(source)}/tag", {"repo": target})
    return 0


def run_inspect(session: Session, arguments: Arguments) -> int:
    query = {"platform": arguments.text("platform") or None}
    return inspect_each(session, arguments, lambda name: f"{API}/images/{quote(name)}/json", "image", query)


def run_history(session: Session, arguments: Arguments) -> int:
    from composer.api.durations import human_duration
    from composer.cli.output.tables import formatted
    from composer.cli.output.units import human_size, rfc3339
    from composer.cli.project.containers import shortened

    query = {"platform": arguments.text("platform") or None}
    steps = session.client.request("GET", f"{API}/images/{quote(arguments.words[0])}/history", query).json()
    full = arguments.is_on("no-trunc")
    rows = []
    for step in steps:
        size = human_size(step["Size"]) if arguments.is_on("human") else str(step["Size"])
        created = step["Created"]
        command = step["CreatedBy"].replace("\t", " ")
        rows.append(
            {
                "ID": step["Id"] if full or step["Id"] == "<missing>" else short_id(step["Id"]),
                "CreatedSince": f"{human_duration(session.started - created)} ago" if created else "N/A",
                "CreatedAt": rfc3339(created * 10**9, 0),
                "CreatedBy": command if full else shortened(command, 45),
                "Size": size,
                "Comment": step["Comment"],
            }
        )
    if arguments.is_on("quiet"):
        session.write("".join(f"{row['ID']}\n" for row in rows))
        return 0
    titles = {
        "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE",
        "Comment": "COMMENT",
    }  # fmt: skip
    default = (
        "ID",
        "CreatedSince" if arguments.is_on("human") else "CreatedAt",
        "CreatedBy",
        "Size",
        "Comment",
    )
    try:
        session.write(formatted(rows, titles, arguments.text("format"), default=default))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


def run_prune(session: Session, arguments: Arguments) -> int:
    everything = arguments.is_on("all")
    what = (
        "all images without at least one container associated to them"
        if everything
        else "all dangling images"
    )
    if not confirm(session, arguments, f"This will remove {what}."):
        return 0
    filters = parse_filters(arguments.list("filter"))
    filters["dangling"] = ["false" if everything else "true"]
    return show_pruned(
        session, session.client.request("POST", f"{API}/images/prune", {"filters": filters}).json()
    )


PLATFORM = Flag("platform", kind="string", help="Platform of a multi-platform image, such as linux/arm64")

_ONE_PLATFORM = Flag("platform", kind="string", help="Of an image of several platforms, such as linux/arm64")
_UNSIGNED = Flag(
    "disable-content-trust",
    help="Skip the verification of signatures",
    refusal="signatures are never verified; digests always are",
    is_hidden=True,
)

_LS = Command(
    "image ls [OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    run_ls,
    (
        Flag("all", "a", help="Also images without a name"),
        Flag("digests", help="Show digests"),
        FILTER,
        FORMAT,
        NO_TRUNC,
        QUIET,
        Flag("tree", help="What each has for which platform, as a tree"),
    ),
    at_most=1,
)
_RM = Command(
    "image rm [OPTIONS] IMAGE [IMAGE...]",
    "Remove images",
    run_rm,
    (
        Flag("force", "f", help="Also when stopped containers use it"),
        Flag("no-prune", help="Keep parents without a name"),
        Flag("platform", kind="strings", help="Only what is here for these platforms"),
    ),
    at_least=1,
)
COMMANDS = {
    "build": build_command("image"),
    "history": Command(
        "image history [OPTIONS] IMAGE",
        "Show how an image was made",
        run_history,
        (
            FORMAT,
            Flag("human", "H", help="Sizes and times for people", default="true"),
            NO_TRUNC,
            QUIET,
            _ONE_PLATFORM,
        ),
        at_least=1,
        at_most=1,
    ),
    "import": Command(
        "image import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Make an image of the tar of a root file system",
        run_import,
        (
            Flag("change", "c", "list", "Apply a Dockerfile instruction"),
            Flag("message", "m", "string", "Comment"),
            PLATFORM,
        ),
        at_least=1,
        at_most=2,
    ),
    "inspect": Command(
        "image inspect [OPTIONS] IMAGE [IMAGE...]",
        "Show all about images",
        run_inspect,
        (INSPECT_FORMAT, _ONE_PLATFORM),
        at_least=1,
    ),
    "load": Command(
        "image load [OPTIONS]",
        "Bring in images of an archive (docker-archive or OCI layout)",
        run_load,
        (
            Flag("input", "i", "string", "Read from a file instead of the standard input"),
            _ONE_PLATFORM,
            Flag("quiet", "q", help="No progress"),
        ),
        at_most=0,
    ),
    "ls": _LS,
    "list": _LS,
    "prune": Command(
        "image prune [OPTIONS]",
        "Remove unused images",
        run_prune,
        (
            Flag("all", "a", help="All that no container uses, not only those without a name"),
            Flag("filter", kind="filter", help="Only those with a property"),
            FORCE,
        ),
        at_most=0,
    ),
    "pull": Command(
        "image pull [OPTIONS] NAME[:TAG|@DIGEST]",
        "Pull an image from a registry",
        run_pull,
        (
            Flag("all-tags", "a", help="All tags of the repository"),
            PLATFORM,
            Flag("quiet", "q", help="No progress"),
            _UNSIGNED,
        ),
        at_least=1,
        at_most=1,
    ),
    "push": Command(
        "image push [OPTIONS] NAME[:TAG]",
        "Push an image to a registry",
        run_push,
        (
            Flag("all-tags", "a", help="All tags of the repository"),
            Flag("quiet", "q", help="No progress"),
            _ONE_PLATFORM,
            _UNSIGNED,
        ),
        at_least=1,
        at_most=1,
    ),
    "rm": _RM,
    "remove": _RM,
    "save": Command(
        "image save [OPTIONS] IMAGE [IMAGE...]",
        "Write images to an archive",
        run_save,
        (Flag("output", "o", "string", "Write to a file instead of the standard output"), _ONE_PLATFORM),
        at_least=1,
    ),
    "search": Command(
        "image search [OPTIONS] TERM",
        "Search a registry for images",
        run_search,
        SEARCH_FLAGS,
        at_least=1,
        at_most=1,
    ),
    "tag": Command(
        "image tag SOURCE[:TAG] TARGET[:TAG]", "Give an image another name", run_tag, at_least=2, at_most=2
    ),
}
