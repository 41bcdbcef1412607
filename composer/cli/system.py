"""``system``: what the engine keeps, and tidying it."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag
from composer.cli.image import FORCE, FORMAT
from composer.cli.system_df import run_df

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_fsck(session: Session, arguments: Arguments) -> int:
    """Problems to stdout; status 1 when some are left."""
    renderer = session.renderer("Checking")
    query = {"repair": arguments.is_on("repair")}
    problems: list[dict[str, Any]] = []
    left = 0
    try:
        for message in session.client.stream("POST", "/composer/v1/images/check", query):
            if "result" in message:
                left = message["result"]["problems"] - message["result"]["mended"]
                continue
            detail = message["progressDetail"]
            is_done = detail["current"] == detail["total"]
            renderer.step(
                {
                    "type": "step",
                    "kind": "Images",
                    "name": "",
                    "status": "Checked" if is_done else "Checking",
                    **detail,
                }
            )
            if "problem" in message:
                problems.append(message["problem"])
    finally:
        renderer.close()
    for problem in problems:
        state = " (mended)" if problem["is_mended"] else ""
        images = ", ".join(problem["images"])
        session.write(f"{problem['kind']} {problem['id']} {problem['what']}{state}: {images}\n")
        if problem["advice"]:
            session.write(f"  {problem['advice']}\n")
    if not problems:
        session.write("No problems found.\n")
    return 1 if left else 0


def run_info(session: Session, arguments: Arguments) -> int:
    import json

    session.write(json.dumps(session.client.request("GET", f"{API}/info").json(), indent=2) + "\n")
    return 0


def run_prune(session: Session, arguments: Arguments) -> int:
    from composer.cli.image import confirm, show_pruned

    everything = arguments.is_on("all")
    parts = ["all stopped containers", "all networks not used by at least one container"]
    parts.append("all images without at least one container" if everything else "all dangling images")
    if arguments.is_on("volumes"):
        parts.insert(2, "all anonymous volumes not used by at least one container")
    if not confirm(session, arguments, "This will remove:\n  - " + "\n  - ".join(parts)):
        return 0
    kinds = ["containers", "networks", *(["volumes"] if arguments.is_on("volumes") else []), "images"]
    total = 0
    for kind in kinds:
        filters = {"dangling": ["false" if everything else "true"]} if kind == "images" else None
        answer = session.client.request("POST", f"{API}/{kind}/prune", {"filters": filters}).json()
        total += answer.pop("SpaceReclaimed", 0) or 0
        show_pruned(session, answer)
    return show_pruned(session, {"SpaceReclaimed": total})


COMMANDS = {
    "df": Command(
        "system df [OPTIONS]",
        "Show disk usage",
        run_df,
        (FORMAT, Flag("verbose", "v", help="Of each thing")),
        at_most=0,
    ),
    "fsck": Command(
        "system fsck [OPTIONS]",
        "Verify that all images are on the disk as they came",
        run_fsck,
        (Flag("repair", help="Unpack damaged layers again, forget damaged downloads"),),
        at_most=0,
    ),
    "info": Command("system info", "Show facts about the machine and the engine", run_info, at_most=0),
    "prune": Command(
        "system prune [OPTIONS]",
        "Remove what is not used",
        run_prune,
        (
            Flag("all", "a", help="All unused images, not only those without a name"),
            FORCE,
            Flag("volumes", help="Anonymous volumes, too"),
        ),
        at_most=0,
    ),
}
