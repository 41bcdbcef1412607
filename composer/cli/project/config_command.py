"""``config``: check, resolve and print the Compose file, in this process: no engine, no root."""

from __future__ import annotations

from composer.cli.arguments import Arguments, Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.session import Session
    from composer.compose.tree import Tree

LISTS = (
    "explain",
    "services",
    "volumes",
    "networks",
    "models",
    "hash",
    "profiles",
    "images",
    "variables",
    "environment",
)
"""Flags that ask for something else than the document, in the order in which the first one counts."""


def run_config(session: Session, arguments: Arguments) -> int:
    """Load the project and print what was asked for."""
    form = arguments.text("format")
    asked = next((name for name in LISTS if arguments.text(name) or arguments.has(name)), "")
    if asked in ("hash", "explain") and not arguments.text(asked):
        asked = ""
    if form not in ("", "yaml", "json", "table") and not asked:
        raise UsageError(f'unsupported format "{form}"', hint="yaml or json", is_flag=True)
    if form != "json":
        return _run(session, arguments, asked, form)
    from runtime.errors import ComposerError

    try:
        return _run(session, arguments, asked, form)
    except ComposerError as error:
        import sys

        from composer.cli.project.config_errors import to_json

        sys.stderr.write(to_json(error))
        return error.exit_status


WITHOUT_ENVIRONMENT = frozenset({"services", "images", "volumes", "networks", "models", "profiles"})
"""Lists that do not need the services' environment, so that env files may be missing."""


def _run(session: Session, arguments: Arguments, asked: str, form: str) -> int:
    from composer.compose.problem import Problem

    loading = _Loading(
        session,
        arguments,
        interpolate=asked != "variables",
        needs_environment=asked not in WITHOUT_ENVIRONMENT,
        is_list=bool(asked),
    )
    try:
        if not asked:
            loading.check_makeable()
        text = loading.listed(asked, form) if asked else loading.document(form)
    except Problem as problem:
        raise loading.located(problem) from None
    is_list = asked not in ("", "environment")
    if is_list or not arguments.is_on("quiet"):
        _print(session, arguments, text)
    return 0


class _Loading:
    """One project, and what is printed of it."""

    def __init__(
        self,
        session: Session,
        arguments: Arguments,
        *,
        interpolate: bool,
        needs_environment: bool,
        is_list: bool,
    ) -> None:
        from composer.compose.pipeline import load_tree
        from composer.compose.request import LoadRequest, Options
        from composer.disk import Disk

        self.session = session
        self.arguments = arguments
        self.interpolate = interpolate and not arguments.is_on("no-interpolate")
        source = session.source()
        self.reader = Disk()
        self.request = LoadRequest(
            cwd=source["cwd"],
            files=tuple(source.get("files", ())),
            project_name=source.get("project_name", ""),
            project_directory=source.get("project_directory", ""),
            profiles=tuple(source.get("profiles", ())),
            env_files=tuple(source.get("env_files", ())),
            env=source["env"],
            stdin=source.get("stdin"),
            options=Options(
                interpolate=self.interpolate,
                normalize=not arguments.is_on("no-normalize"),
                resolve_paths=not arguments.is_on("no-path-resolution"),
                check_consistency=self.interpolate and not arguments.is_on("no-consistency"),
                resolve_env=self.interpolate and needs_environment,
            ),
        )
        self.tree: Tree = load_tree(self.request, self.reader)
        for warning in self.tree.warnings:
            session.warn(warning)
        if self.interpolate and (
            arguments.is_on("advice")
            if arguments.has("advice")
            else not is_list and not arguments.is_on("quiet")
        ):
            self.advise()

    def advise(self) -> None:
        """Say what is valid and will bite."""
        from composer.compose.advice import advise
        from composer.compose.choice import chosen_services

        tree = self.tree
        active = chosen_services(tree.tree, (), tree.profiles, tree.unready)
        found = advise(tree.tree, active, self.reader.exists)
        if not found:
            return
        from composer.compose.explanation import place
        from composer.compose.pipeline import load_traced

        traced = load_traced(self.request, self.reader)
        for advice in found:
            where = place(traced, advice.path)
            self.session.warn(f"{where}{': ' if where else ''}{advice.message} [{advice.code}]")

    def located(self, problem: Any) -> Exception:
        from composer.compose.pipeline import locate

        return locate(self.request, self.reader, problem)

    def names(self, *, given: bool = True) -> list[str]:
        """The services that the profiles and, if ``given``, the command line choose, sorted."""
        from composer.compose.choice import chosen_services

        words = self.arguments.words if given else ()
        return chosen_services(self.tree.tree, words, self.tree.profiles, self.tree.unready)

    def check_makeable(self) -> None:
        """Tell what ``up`` would refuse for what stands in the file. Raises ComposeError with ``--quiet``."""
        if self.request.options.check_consistency:
            from composer.cli.project.config_makeable import check_makeable

            warn = None if self.arguments.is_on("quiet") else self.session.warn
            check_makeable(self.request, self.reader, self.tree, warn)

    def document(self, form: str) -> str:
        from composer.compose.rendering import document, render

        if self.interpolate:
            from composer.compose.choice import without_disabled

            names = self.names()
            tree = without_disabled(self.tree.tree, names) if self.arguments.words else self.tree.tree
            values = document(tree, names, is_json=form == "json")
        else:
            from composer.compose.rendering import undecoded

            is_raw = self.arguments.is_on("no-normalize")
            values = undecoded(self.tree.tree, is_json=form == "json", is_normalised=not is_raw)
            if is_raw:
                values.pop("name", None)
        if self.arguments.is_on("resolve-image-digests") or self.arguments.is_on("lock-image-digests"):
            from composer.cli.project.config_digests import lock_images

            values = lock_images(values, self.session.env, only=self.arguments.is_on("lock-image-digests"))
        return render(values, is_json=form == "json", escape_dollars=self.interpolate)

    def listed(self, asked: str, form: str) -> str:
        from composer.cli.project import config_lists

        if asked == "explain":
            from composer.compose.explanation import explain
            from composer.compose.pipeline import load_traced

            traced = load_traced(self.request, self.reader)
            return explain(traced, self.arguments.text("explain"), self.request.env)
        is_resource = asked in ("services", "volumes", "networks", "models")
        if asked == "variables":
            return config_lists.variables(self.tree.tree, form)
        if not self.interpolate and is_resource:
            return "".join(f"{name}\n" for name in self.tree.tree.get(asked) or ())
        names = self.names(given=not is_resource and asked != "hash")
        if asked == "environment":
            return config_lists.environment(self.tree.environment)
        if asked == "profiles":
            return config_lists.profiles(self.tree.tree)
        if asked == "services":
            return config_lists.services(self.tree.tree, names)
        if asked == "hash":
            return config_lists.hashes(self.tree, names, self.arguments.text("hash"))
        if asked == "images":
            return config_lists.images(self.tree.tree, names, self.tree.name)
        return config_lists.resources(self.tree.tree, names, asked)


def _print(session: Session, arguments: Arguments, text: str) -> None:
    path = arguments.text("output")
    if not path:
        session.write(text)
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        from runtime.errors import ComposerError

        raise ComposerError(f"write {path}: {error.strerror}") from error


_CONFIG = Command(
    "config [OPTIONS] [SERVICE...]",
    "Check, resolve and print the Compose file in canonical form",
    run_config,
    (
        Flag("advice", help="Say what is valid and will bite (default: with the document)"),
        Flag("environment", help="Print the environment that variables are taken from"),
        Flag("explain", kind="string", help="Tell where a value comes from (services.web.environment.URL)"),
        Flag("format", kind="string", help="Form of the output (yaml | json); with json errors are JSON too"),
        Flag("hash", kind="string", help='Print configuration hashes of services ("*" for all)'),
        Flag("images", help="Print the names of images"),
        Flag("lock-image-digests", help="Print an override file that pins images to digests"),
        Flag("models", help="Print the names of models"),
        Flag("networks", help="Print the names of networks"),
        Flag("no-consistency", help="Do not check whether what is referred to is there"),
        Flag("no-env-resolution", help="Without effect, as in Docker Compose"),
        Flag("no-interpolate", help="Do not replace variables"),
        Flag("no-normalize", help="Do not fill in what the file leaves to defaults"),
        Flag("no-path-resolution", help="Do not make paths absolute"),
        Flag("output", "o", "string", "Write to a file"),
        Flag("profiles", help="Print the names of profiles"),
        Flag("quiet", "q", help="Only check, print no document"),
        Flag("resolve-image-digests", help="Pin images to digests"),
        Flag("services", help="Print the names of services"),
        Flag("variables", help="Print variables and their defaults"),
        Flag("volumes", help="Print the names of volumes"),
    ),
    needs_root=False,
)

COMMANDS = {"config": _CONFIG, "convert": _CONFIG}
