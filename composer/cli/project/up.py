"""``up``, ``create`` and ``scale``."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session

INTERRUPTED = 130
PULL = ("always", "missing", "never", "build", "policy", "if_not_present")


def run_up(session: Session, arguments: Arguments) -> int:
    """Bring the project up; attached, show its logs until it ends or is interrupted."""
    body = _request(arguments)
    attached = (
        not arguments.is_on("detach") and not arguments.is_on("no-start") and not arguments.is_on("wait")
    )
    _check(arguments, attached)
    if arguments.is_on("wait") and not arguments.is_on("no-start"):
        body["wait"] = True
        body["wait_timeout"] = arguments.number("wait-timeout") or 0
    if arguments.is_on("no-start"):
        body["start"] = False
    if session.is_dry_run:
        return session.rehearse("up", body)
    quiet = arguments.is_on("quiet-build") and arguments.is_on("quiet-pull")
    if not attached:
        try:
            return session.perform("up", body, title="Running", quiet=quiet and session.is_debug)
        except KeyboardInterrupt:
            session.write_status(
                "canceled: what was started goes on (`composer ps` shows it, `composer down` removes it)\n"
            )
            return INTERRUPTED
    from composer.cli.project.attached import run_attached

    body |= {
        "attach": True,
        "attach_services": arguments.list("attach"),
        "no_attach": arguments.list("no-attach"),
        "attach_dependencies": arguments.is_on("attach-dependencies"),
        "abort_on_container_exit": arguments.is_on("abort-on-container-exit"),
        "abort_on_container_failure": arguments.is_on("abort-on-container-failure"),
        "exit_code_from": arguments.text("exit-code-from"),
    }
    return run_attached(session, arguments, body)


def run_create(session: Session, arguments: Arguments) -> int:
    """Create what ``up`` would start."""
    body = _request(arguments) | {"start": False}
    if session.is_dry_run:
        return session.rehearse("create", body)
    return session.perform("create", body, title="Creating")


def run_scale(session: Session, arguments: Arguments) -> int:
    """Set numbers of containers."""
    body = {
        "scale": scales(arguments.words, "invalid scale specifier: {}"),
        "no_deps": arguments.is_on("no-deps"),
    }
    return session.rehearse("scale", body) if session.is_dry_run else session.perform("scale", body)


def scales(
    words: list[str], refusal: str = 'invalid --scale option "{}". Should be SERVICE=NUM'
) -> dict[str, int]:
    """``SERVICE=NUM`` items. Raises UsageError with ``refusal`` about one that is none."""
    found = {}
    for word in words:
        service, equals, number = word.partition("=")
        if not equals or not service or not number.isdecimal():
            raise UsageError(refusal.format(word))
        found[service] = int(number)
    return found


def _request(arguments: Arguments) -> dict[str, Any]:
    pull = arguments.text("pull")
    if pull and pull not in PULL:
        raise UsageError(f'invalid --pull option "{pull}"', hint="always, missing, never, build or policy")
    if arguments.is_on("build") and arguments.is_on("no-build"):
        raise UsageError("--build and --no-build are incompatible")
    if arguments.is_on("force-recreate") and arguments.is_on("no-recreate"):
        raise UsageError("--force-recreate and --no-recreate are incompatible")
    switches = {
        "force_recreate": "force-recreate",
        "no_recreate": "no-recreate",
        "remove_orphans": "remove-orphans",
        "quiet_pull": "quiet-pull",
        "build": "build",
        "no_build": "no-build",
    }
    optional = {
        "no_deps": "no-deps",
        "always_recreate_deps": "always-recreate-deps",
        "renew_anon_volumes": "renew-anon-volumes",
        "quiet_build": "quiet-build",
    }
    body: dict[str, Any] = {
        "build_auto": arguments.text("build") == "auto",
        "services": arguments.words,
        "scale": scales(arguments.list("scale")),
    }
    if pull:
        body["pull"] = pull
    if address := arguments.text("address"):
        body["address"] = address
    body |= {field: True for field, flag in switches.items() if arguments.is_on(flag)}
    body |= {
        field: True for field, flag in optional.items() if arguments.knows(flag) and arguments.is_on(flag)
    }
    if arguments.knows("timeout") and arguments.number("timeout") is not None:
        body["timeout"] = arguments.number("timeout")
    return body


def _check(arguments: Arguments, attached: bool) -> None:
    """What Docker Compose refuses together."""
    aborts = (
        arguments.is_on("abort-on-container-exit")
        or arguments.is_on("abort-on-container-failure")
        or arguments.has("exit-code-from")
    )
    stays = aborts or arguments.list("attach") or arguments.is_on("attach-dependencies")
    if stays and not attached:
        name = "--detach" if arguments.is_on("detach") else "--wait"
        raise UsageError(
            f"{name} cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, "
            "--attach-dependencies or --exit-code-from"
        )
    if arguments.is_on("abort-on-container-exit") and arguments.is_on("abort-on-container-failure"):
        raise UsageError("--abort-on-container-failure cannot be combined with --abort-on-container-exit")
    if arguments.is_on("always-recreate-deps") and arguments.is_on("no-recreate"):
        raise UsageError("--always-recreate-deps and --no-recreate are incompatible")
    if arguments.is_on("watch"):
        raise UsageError("--watch is not available in composer: files are not watched yet", is_flag=True)


_COMMON = (
    Flag(
        "address",
        kind="string",
        help="Publish ports on a loopback address: auto (the project's own) or 127.x.y.z",
    ),
    Flag(
        "build", help="Build images before starting containers (=auto: where an input changed)", word="auto"
    ),
    Flag("force-recreate", help="Recreate containers even if nothing of theirs has changed"),
    Flag("no-build", help="Don't build an image, even if it is missing"),
    Flag("no-recreate", help="Leave containers that exist as they are, also when their service has changed"),
    Flag("pull", kind="string", help='Pull images before running ("always"|"missing"|"never"|"build")'),
    Flag("quiet-pull", help="Pull without showing progress"),
    Flag("remove-orphans", help="Remove containers of services that the file does not have"),
    Flag("scale", kind="scale", help="Set the number of containers of a service: SERVICE=NUM"),
    Flag("yes", "y", help='Assume "yes" as answer to all prompts (there are none)'),
)

COMMANDS = {
    "up": Command(
        "up [OPTIONS] [SERVICE...]",
        "Create and start containers",
        run_up,
        (
            Flag("abort-on-container-exit", help="Stop all containers when one ends"),
            Flag("abort-on-container-failure", help="Stop all containers when one fails"),
            Flag("always-recreate-deps", help="Recreate what the services depend on, too"),
            Flag("attach", kind="stringArray", help="Show the logs of these services only"),
            Flag("attach-dependencies", help="Show the logs of what the services depend on, too"),
            *_COMMON,
            Flag("detach", "d", help="Run in the background"),
            Flag(
                "exit-code-from", kind="string", help="End with the exit status of this service's container"
            ),
            Flag("menu", refusal="there is no menu of keys", help="Show a menu of keys"),
            Flag("no-attach", kind="stringArray", help="Do not show the logs of these services"),
            Flag("no-color", help="Without colours"),
            Flag("no-deps", help="Don't start what the services depend on"),
            Flag("no-log-prefix", help="Don't print a prefix in front of log lines"),
            Flag("no-start", help="Create the containers, do not start them"),
            Flag("quiet-build", help="Build without output"),
            Flag("renew-anon-volumes", "V", help="Make anonymous volumes anew instead of carrying them over"),
            Flag("timeout", "t", "int", "Seconds until a container that has to stop is killed"),
            Flag("timestamps", help="Show when lines were written"),
            Flag("wait", help="Wait until services run or are healthy; implies --detach"),
            Flag("wait-timeout", kind="int", help="Seconds to wait at most"),
            Flag("watch", "w", help="Update containers when files change"),
        ),
    ),
    "create": Command(
        "create [OPTIONS] [SERVICE...]", "Create the containers of services", run_create, _COMMON
    ),
    "scale": Command(
        "scale [SERVICE=REPLICAS...]",
        "Set the number of containers of services",
        run_scale,
        (Flag("no-deps", help="Don't start what the services depend on"),),
        at_least=1,
    ),
}
