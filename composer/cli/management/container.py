"""``container``: single containers."""

from __future__ import annotations

from composer.api.client import API
from composer.cli.arguments import Command, Flag, UsageError
from composer.cli.management.container_exec import COMMANDS as CONTAINER_EXEC
from composer.cli.management.container_options import RESOURCES
from composer.cli.management.container_run import COMMANDS as CONTAINER_RUN
from composer.cli.management.container_views import (
    container_path,
    run_inspect,
    run_logs,
    run_ls,
    run_port,
    run_stats,
    run_top,
    run_wait,
)
from composer.cli.management.conventions import (
    DETACH_KEYS,
    FILTER,
    FORCE,
    FORMAT,
    INSPECT_FORMAT,
    NO_TRUNC,
    QUIET,
    SIG_PROXY,
)
from composer.cli.management.cp import CONTAINER_COMMANDS
from composer.cli.project.stats import FLAGS as STATS_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_start(session: Session, arguments: Arguments) -> int:
    if arguments.is_on("attach") or arguments.is_on("interactive"):
        from composer.cli.project.attach import converse_with

        if len(arguments.words) != 1:
            raise UsageError("you cannot start and attach multiple containers at once")
        return converse_with(
            session,
            arguments.words[0],
            stdin=arguments.is_on("interactive"),
            detach_keys=arguments.text("detach-keys"),
            start=True,
        )
    failed: list[str] = []
    status = _each(session, arguments.words, "start", {}, failed)
    if failed:
        session.write_status(f"Error: failed to start containers: {', '.join(failed)}\n")
    return status


def _each(
    session: Session, names: list[str], action: str, query: dict[str, Any], failed: list[str] | None = None
) -> int:
    """An action on several containers; each is named when it is done. Names of the others go to ``failed``."""
    from composer.cli.endurance import REPEATABLE, lasting_request
    from composer.cli.management.conventions import report_failures
    from runtime.errors import ComposerError

    failures: list[ComposerError] = []
    for name in names:
        try:
            if action in REPEATABLE:
                lasting_request(session, "POST", container_path(name, action), query)
            else:
                session.client.request("POST", container_path(name, action), query)
            session.write(f"{name}\n")
        except ComposerError as error:
            failures.append(error)
            if failed is not None:
                failed.append(name)
    return report_failures(session, failures)


def run_stop(session: Session, arguments: Arguments) -> int:
    return _each(session, arguments.words, "stop", _grace(arguments))


def run_restart(session: Session, arguments: Arguments) -> int:
    return _each(session, arguments.words, "restart", _grace(arguments))


def _grace(arguments: Arguments) -> dict[str, Any]:
    timeout = arguments.number("timeout" if arguments.has("timeout") else "time")
    return {"t": timeout, "signal": arguments.text("signal") or None}


def run_kill(session: Session, arguments: Arguments) -> int:
    return _each(session, arguments.words, "kill", {"signal": arguments.text("signal") or None})


def run_pause(session: Session, arguments: Arguments) -> int:
    return _each(session, arguments.words, "pause", {})


def run_unpause(session: Session, arguments: Arguments) -> int:
    return _each(session, arguments.words, "unpause", {})


def run_rm(session: Session, arguments: Arguments) -> int:
    from composer.cli.endurance import lasting_request
    from composer.cli.management.conventions import report_failures
    from runtime.errors import ComposerError, NotFound

    failures: list[ComposerError] = []
    for name in arguments.words:
        query = {"force": arguments.is_on("force"), "v": arguments.is_on("volumes")}
        try:
            lasting_request(session, "DELETE", container_path(name), query, done=404)
            session.write(f"{name}\n")
        except ComposerError as error:
            failures.append(error)
    report_failures(session, failures)
    # With --force, one that is gone is what was wanted; it is told all the same.
    is_forced = arguments.is_on("force")
    return int(any(not (is_forced and isinstance(failure, NotFound)) for failure in failures))


def run_attach(session: Session, arguments: Arguments) -> int:
    from composer.cli.project.attach import check_detach_keys, converse_with
    from runtime.errors import Conflict

    if arguments.has("detach-keys"):
        check_detach_keys(arguments.text("detach-keys"))
    state = session.client.request("GET", container_path(arguments.words[0], "json")).json()["State"]
    if not state["Running"]:
        raise Conflict("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise Conflict("You cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise Conflict("You cannot attach to a restarting container, wait until it is running")
    return converse_with(
        session,
        arguments.words[0],
        stdin=not arguments.is_on("no-stdin"),
        sig_proxy=arguments.is_on("sig-proxy"),
        detach_keys=arguments.text("detach-keys"),
    )


# Changing


def run_rename(session: Session, arguments: Arguments) -> int:
    from runtime.errors import ComposerError

    name, new = arguments.words
    try:
        session.client.request("POST", container_path(name, "rename"), {"name": new})
    except ComposerError as error:
        error.message += f"\nError: failed to rename container named {name}"
        raise
    return 0


def run_update(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.container_options import resources, restart_policy
    from composer.cli.management.conventions import report_failures
    from runtime.errors import ComposerError

    if not any(arguments.has(flag.name) for flag in (*RESOURCES, _RESTART)):
        raise UsageError("you must provide one or more flags when using this command")
    body = {key: value for key, value in resources(arguments).items() if value or key == "PidsLimit"}
    if text := arguments.text("restart"):
        body["RestartPolicy"] = restart_policy(text)
    failures: list[ComposerError] = []
    for name in arguments.words:
        try:
            session.client.request("POST", container_path(name, "update"), body=body)
            session.write(f"{name}\n")
        except ComposerError as error:
            failures.append(error)
    return report_failures(session, failures)


def run_prune(session: Session, arguments: Arguments) -> int:
    from composer.cli.management.conventions import confirm, parse_filters, show_pruned

    if not confirm(session, arguments, "This will remove all stopped containers."):
        return 0
    filters = parse_filters(arguments.list("filter"))
    answer = session.client.request("POST", f"{API}/containers/prune", {"filters": filters or None}).json()
    return show_pruned(session, answer)


_RESTART = Flag("restart", kind="string", help="Restart policy")
_SIGNAL = Flag("signal", "s", "string", "Signal to send")
_TIMEOUT = (
    Flag("timeout", "t", "int", "Seconds until it is killed"),
    Flag("time", kind="int", help="What --timeout was called before", is_hidden=True),
)


def _several(name: str, summary: str, run: Any, flags: tuple[Flag, ...] = ()) -> Command:
    options = " [OPTIONS]" if flags else ""
    return Command(f"container {name}{options} CONTAINER [CONTAINER...]", summary, run, flags, at_least=1)


_LS = Command(
    "container ls [OPTIONS]",
    "List containers",
    run_ls,
    (
        Flag("all", "a", help="Also those that do not run"),
        FILTER,
        FORMAT,
        Flag("last", "n", "int", "The last N, whatever their state"),
        Flag("latest", "l", help="The last one, whatever its state"),
        NO_TRUNC,
        QUIET,
        Flag("size", "s", help="Show sizes"),
    ),
    at_most=0,
)
_RM = _several(
    "rm",
    "Remove containers",
    run_rm,
    (
        Flag("force", "f", help="Kill those that run"),
        Flag("link", "l", refusal="links are names, there is nothing to remove"),
        Flag("volumes", "v", help="Remove their anonymous volumes, too"),
    ),
)
_SIZE = Flag(
    "size",
    "s",
    help="With the sizes of its files: SizeRw, SizeRootFs",
)

COMMANDS = {
    "attach": Command(
        "container attach [OPTIONS] CONTAINER",
        "Attach the terminal's streams to a running container",
        run_attach,
        (DETACH_KEYS, Flag("no-stdin", help="Do not attach the standard input"), SIG_PROXY),
        at_least=1,
        at_most=1,
    ),
    "commit": CONTAINER_COMMANDS["commit"],
    "cp": CONTAINER_COMMANDS["cp"],
    "create": CONTAINER_RUN["create"],
    "diff": CONTAINER_COMMANDS["diff"],
    "exec": CONTAINER_EXEC["exec"],
    "export": CONTAINER_COMMANDS["export"],
    "inspect": _several("inspect", "Show all about containers", run_inspect, (INSPECT_FORMAT, _SIZE)),
    "kill": _several("kill", "Send a signal to containers (SIGKILL)", run_kill, (_SIGNAL,)),
    "logs": Command(
        "container logs [OPTIONS] CONTAINER",
        "Show what a container has written",
        run_logs,
        (
            Flag("details", help="Show attributes, too"),
            Flag("follow", "f", help="Go on with what is written from now on"),
            Flag("since", kind="string", help="From a time or so long ago"),
            Flag("tail", "n", "string", "Number of lines from the end", "all"),
            Flag("timestamps", "t", help="Show when lines were written"),
            Flag("until", kind="string", help="Up to a time or so long ago"),
        ),
        at_least=1,
        at_most=1,
    ),
    "ls": _LS,
    "list": _LS,
    "ps": _LS,
    "pause": _several("pause", "Freeze containers", run_pause),
    "port": Command(
        "container port CONTAINER [PRIVATE_PORT[/PROTO]]",
        "List published ports",
        run_port,
        at_least=1,
        at_most=2,
    ),
    "prune": Command(
        "container prune [OPTIONS]",
        "Remove all stopped containers",
        run_prune,
        (Flag("filter", kind="filter", help="Only those with a property"), FORCE),
        at_most=0,
    ),
    "rename": Command(
        "container rename CONTAINER NEW_NAME", "Rename a container", run_rename, at_least=2, at_most=2
    ),
    "restart": _several("restart", "Restart containers", run_restart, (_SIGNAL, *_TIMEOUT)),
    "rm": _RM,
    "remove": _RM,
    "run": CONTAINER_RUN["run"],
    "start": _several(
        "start",
        "Start containers",
        run_start,
        (
            Flag("attach", "a", help="Attach its output"),
            Flag("checkpoint", kind="string", refusal="there are no checkpoints"),
            Flag("checkpoint-dir", kind="string", refusal="there are no checkpoints"),
            DETACH_KEYS,
            Flag("interactive", "i", help="Attach its input, too"),
        ),
    ),
    "stats": Command(
        "container stats [OPTIONS] [CONTAINER...]", "Show what containers use", run_stats, STATS_FLAGS
    ),
    "stop": _several("stop", "Stop containers", run_stop, (_SIGNAL, *_TIMEOUT)),
    "top": Command(
        "container top CONTAINER [ps OPTIONS]",
        "Show a container's processes",
        run_top,
        at_least=1,
        is_interspersed=False,
    ),
    "unpause": _several("unpause", "Let frozen containers go on", run_unpause),
    "update": _several(
        "update",
        "Change limits and restart policies",
        run_update,
        (*RESOURCES, _RESTART),
    ),
    "wait": _several("wait", "Wait until containers end, and print their exit statuses", run_wait),
}
