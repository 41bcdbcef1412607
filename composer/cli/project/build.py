"""``build``: images of the services that have a build section."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from composer.cli.arguments import Arguments
    from composer.cli.session import Session


def build_arguments(words: list[str], env: dict[str, str]) -> dict[str, str]:
    """``NAME=VALUE`` items; ``NAME`` alone takes the value from ``env``, if it has one."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise UsageError(f'invalid --build-arg option "{word}": write NAME=VALUE')
        if equals:
            found[name] = value
        elif name in env:
            found[name] = env[name]
    return found


def absolute_agents(words: list[str]) -> list[str]:
    """``--ssh`` with paths made absolute."""
    import os

    found = []
    for word in words:
        name, equals, text = word.partition("=")
        found.append(name + equals + ",".join(os.path.abspath(path) for path in text.split(",") if path))
    return found


def run_build(session: Session, arguments: Arguments) -> int:
    import os

    body = {
        "services": arguments.words,
        "args": build_arguments(arguments.list("build-arg"), dict(os.environ)),
        "no_cache": arguments.is_on("no-cache"),
        "pull": arguments.is_on("pull"),
        "quiet": arguments.is_on("quiet"),
        "with_dependencies": arguments.is_on("with-dependencies"),
        "explain": arguments.is_on("explain"),
        "check": arguments.is_on("check"),
        "push": arguments.is_on("push"),
        "ssh": absolute_agents(arguments.list("ssh")),
        "provenance": arguments.text("provenance"),
        "sbom": arguments.text("sbom"),
    }
    if arguments.text("builder") not in ("", "default"):
        raise UsageError("--builder is not available in composer: there is one builder, the engine's")
    session.progress = arguments.text("progress") or session.progress
    if arguments.is_on("debug"):
        from composer.cli.project.build_debug import debugging

        with debugging(session, body):
            return session.perform("build", body, title="Building", quiet=arguments.is_on("quiet"))
    return session.perform("build", body, title="Building", quiet=arguments.is_on("quiet"))


COMMANDS = {
    "build": Command(
        "build [OPTIONS] [SERVICE...]",
        "Build or rebuild services",
        run_build,
        (
            Flag("build-arg", kind="stringArray", help="Set build-time variables for services"),
            Flag("builder", kind="string", help="Set builder to use (there is one: default)", is_hidden=True),
            Flag("check", help="Check build configuration"),
            Flag("compress", help="Compress the build context (it is read in place)", is_hidden=True),
            Flag("debug", help="Open a shell in a step that fails"),
            Flag("explain", help="Say of each step why it was done, or why not"),
            Flag("force-rm", help="Always remove intermediate containers (they are)", is_hidden=True),
            Flag(
                "memory",
                "m",
                "bytes",
                "Set memory limit for the build",
                refusal="steps are not limited; what limits the engine limits them",
            ),
            Flag("no-cache", help="Do not use the cache when building the image"),
            Flag(
                "no-rm", help="Keep intermediate containers of successful builds (none are)", is_hidden=True
            ),
            Flag("parallel", help="Build services side by side (they are)", default="true", is_hidden=True),
            Flag(
                "print",
                help="Print equivalent bake file",
                refusal="there are no bake files here; `composer config` prints what is built",
            ),
            Flag("progress", kind="string", help="As --progress in front of the command", is_hidden=True),
            Flag("provenance", kind="string", help="Add a provenance attestation"),
            Flag("pull", help="Always attempt to pull a newer version of the image"),
            Flag("push", help="Push service images"),
            Flag("quiet", "q", help="Suppress the build output"),
            Flag("sbom", kind="string", help="Add a SBOM attestation"),
            Flag("ssh", kind="stringArray", help="Set SSH authentications (default, ID=SOCKET or ID=KEY)"),
            Flag("with-dependencies", help="Also build dependencies (transitively)"),
        ),
    )
}
