"""``pull``: bring the images of services."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def run_pull(session: Session, arguments: Arguments) -> int:
    policy = arguments.text("policy")
    if policy not in ("", "missing", "always"):
        raise UsageError(f'unsupported --policy value "{policy}"', hint="missing or always")
    body = {
        "services": arguments.words,
        "ignore_pull_failures": arguments.is_on("ignore-pull-failures"),
        "ignore_buildable": arguments.is_on("ignore-buildable"),
        "include_deps": arguments.is_on("include-deps"),
        "policy": policy,
        "quiet": arguments.is_on("quiet"),
    }
    return session.perform("pull", body, title="Pulling", quiet=arguments.is_on("quiet"))


COMMANDS = {
    "pull": Command(
        "pull [OPTIONS] [SERVICE...]",
        "Pull the images of services",
        run_pull,
        (
            Flag(
                "ignore-buildable",
                help="Pass over services that have a build section",
            ),
            Flag("ignore-pull-failures", help="Pull what can be pulled"),
            Flag("include-deps", help="Also the images of what the services depend on"),
            Flag("no-parallel", help="Without effect, as in Docker Compose", is_hidden=True),
            Flag("parallel", help="Pull several at once (as always)", default="true", is_hidden=True),
            Flag("policy", kind="string", help='"missing" or "always"'),
            Flag("quiet", "q", help="Without progress"),
        ),
    )
}
