"""From a request to one merged tree: every file read, interpolated, extended, included and merged in turn.

The order of the stages is Docker Compose's, since it shows: variables are replaced before files are merged, a service
is extended within its file, every step of the merge has to be valid. A tree is loaded without places first; when that
goes wrong it is loaded once more with them, and the error says where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from composer.compose.canonical import canonical
from composer.compose.consistency import check, check_rules
from composer.compose.defaults import set_defaults
from composer.compose.deprecation import deprecated
from composer.compose.envfiles import resolve_environment
from composer.compose.errors import ComposeError
from composer.compose.extends import apply_extends
from composer.compose.files import Found, find, normalised_name
from composer.compose.further import Place, as_written, follows, may_relate, rounds_for
from composer.compose.including import apply_include
from composer.compose.interpolation import Variables, interpolate
from composer.compose.merging import enforce_unicity, merge
from composer.compose.normalise import normalise
from composer.compose.paths import resolve_paths
from composer.compose.problem import Problem
from composer.compose.request import LoadRequest, Options, Reader
from composer.compose.schema import validate
from composer.compose.sources import Sources
from composer.compose.trace import key_origin_of, locations, origin_of
from composer.compose.tree import Tree
from composer.compose.yaml_text import drop_paths
from runtime.errors import ComposerError, Location


def load_tree(request: LoadRequest, reader: Reader) -> Tree:
    """Raises :class:`ComposeError` with places, NotFound when there is no file."""
    try:
        return _load(request, reader, traced=False)[0]
    except Problem:
        pass
    return _load_traced(request, reader)


def load_traced(request: LoadRequest, reader: Reader) -> Tree:
    """As :func:`load_tree`, of values that know where they were written."""
    return _load_traced(request, reader)


def locate(request: LoadRequest, reader: Reader, problem: Problem) -> ComposeError:
    """An error of a later stage with its places, by the path that it has."""
    tree, sources = _load(request, reader, traced=True)
    for other in problem.more:
        other.tree = None  # was loaded without places
    return located(problem, tree.tree, sources)


def _load_traced(request: LoadRequest, reader: Reader) -> Tree:
    sources = _sources(request, reader, traced=True)
    try:
        return _load(request, reader, traced=True, sources=sources)[0]
    except Problem as problem:
        error = located(problem, problem.tree, sources)
        if problem.tree is None and problem.at is not None:  # a text that cannot be read hides the rest
            raise error from None
        lines = sum(map(len, sources.lines.values()))
        raise _with_further(error, request, reader, lines) from None


def _with_further(error: ComposeError, request: LoadRequest, reader: Reader, lines: int) -> ComposeError:
    """``error`` with what is wrong beside it, in files that have so many ``lines``."""
    from composer.compose.decoding import decode

    options = request.options._replace(check_consistency=False, resolve_env=False)
    found: list[ComposerError] = list(error.errors or (error,))
    new = found
    places: set[Place] = set()
    for _ in range(rounds_for(lines)):
        places.update(place for place in map(_place_of, new) if place is not None)
        sources = _sources(request, reader, traced=True)
        sources.options, sources.left_out = options, frozenset(places)
        tree: Any = None
        is_last = False
        try:
            loaded = _load(request._replace(options=options), reader, traced=True, sources=sources)[0]
            tree = loaded.tree
            decode(tree)
            is_last = True
            _check_the_rest(loaded, request.options, sources, found)
            break
        except Problem as problem:
            more = located(problem, problem.tree if problem.tree is not None else tree, sources)
        except ComposeError:
            break
        known = [_path_of(one) for one in found]
        said = {(_path_of(one), one.message) for one in found}
        new = [
            one
            for one in more.errors or (more,)
            if _place_of(one) not in places and (_path_of(one), one.message) not in said
        ]
        found += [one for one in new if not follows(_path_of(one), known)]
        for one in new:
            one.locations = tuple(
                Location(at.file, at.line, at.column, as_written(at.path, known), at.text)
                for at in one.locations
            )
        if is_last or not new:
            break
    return joined(found, error)


def _check_the_rest(loaded: Tree, options: Options, sources: Sources, found: Sequence[ComposerError]) -> None:
    """What a load does at its end, each part whether or not an earlier one finds something. Raises Problem."""
    wrong: list[Problem] = []
    try:
        if options.check_consistency and may_relate(map(_path_of, found)):
            check(loaded.tree, loaded.profiles)
    except Problem as problem:
        wrong.append(problem)
    try:
        if options.resolve_env:
            resolve_environment(loaded.tree, loaded.environment, sources, loaded.working_dir, loaded.profiles)
    except Problem as problem:
        wrong.append(problem)
    if wrong:
        wrong[0].more = (*wrong[0].more, *(one for other in wrong[1:] for one in (other, *other.more)))
        raise wrong[0]


def _path_of(error: ComposerError) -> str:
    return error.locations[0].path if error.locations else ""


def _place_of(error: ComposerError) -> Place | None:
    first = error.locations[0] if error.locations else None
    return (first.file, first.line, first.column) if first is not None and first.line else None


def joined(errors: Sequence[ComposerError], first: ComposeError) -> ComposeError:
    """One error of many, in the order of the files and of their lines: the first tells, the others stand below it with
    their places."""
    errors = in_order(errors)
    message = errors[0].message
    for other in errors[1:]:
        message += f"\n{_where(other.locations)}{other.message}" + (f" ({other.hint})" if other.hint else "")
    error = ComposeError(
        message, hint=errors[0].hint, exit_status=first.exit_status, locations=errors[0].locations
    )
    error.errors = tuple(errors) if len(errors) > 1 else ()
    return error


def in_order(errors: Sequence[ComposerError]) -> list[ComposerError]:
    """By file, in the order in which they come, line and column; what has no place goes first."""
    files: dict[str, int] = {}
    for one in errors:
        for at in one.locations[:1]:
            files.setdefault(at.file, len(files))
    return sorted(
        errors,
        key=lambda one: next(((files[at.file], at.line, at.column) for at in one.locations), (-1, 0, 0)),
    )


def located(problem: Problem, tree: Any, sources: Sources) -> ComposeError:
    """``problem`` and what came with it as one error: the first tells, all are shown with their places."""
    places = _places(problem, tree, sources)
    first = ComposeError(
        problem.message, hint=problem.hint, exit_status=problem.exit_status, locations=places
    )
    others = [
        ComposeError(
            other.message,
            hint=other.hint,
            locations=_places(other, other.tree if other.tree is not None else tree, sources),
        )
        for other in problem.more
    ]
    return joined([first, *others], first)


def _where(places: tuple[Location, ...]) -> str:
    if not places:
        return ""
    first = places[0]
    return f"{first.file}:{first.line}:{first.column}: "


def _places(problem: Problem, tree: Any, sources: Sources) -> tuple[Location, ...]:
    origin = problem.at
    if origin is None and tree is not None:
        origin = (key_origin_of if problem.at_key else origin_of)(tree, problem.path)
    if origin is not None and origin.file not in sources.lines and sources.reader.is_file(origin.file):
        sources.note(origin.file, sources.reader.read(origin.file) or b"")
    places = locations(origin, problem.path, sources.lines)
    for via in problem.led_by:
        places += tuple(place for place in locations(via, (), sources.lines) if place not in places)
    if problem.at_key or problem.at is not None or not places:
        return places
    from composer.compose.further import written_value

    value = written_value(places[0].text, places[0].column)
    return (*places, *_definitions(value, sources)) if "$" in value else places


def _definitions(value: str, sources: Sources) -> list[Location]:
    """Where env files say what the variables of a value are."""
    from composer.compose.dotenv import line_of
    from composer.compose.variables import variables_of

    found = []
    for name in variables_of(value):
        for path, data in reversed(list(sources.env_texts.items())):
            text = data.decode("utf-8", "replace")
            if line := line_of(name, text):
                found.append(Location(path, line, 1, "", text.splitlines()[line - 1]))
                break
    return found


def _sources(request: LoadRequest, reader: Reader, *, traced: bool) -> Sources:
    return Sources(
        reader=reader,
        options=request.options,
        stdin=request.stdin,
        home=request.env.get("HOME") or "/",
        traced=traced,
    )


def _load(
    request: LoadRequest, reader: Reader, *, traced: bool, sources: Sources | None = None
) -> tuple[Tree, Sources]:
    sources = sources or _sources(request, reader, traced=traced)
    found = find(request, reader)
    sources.unset.update(found.unset)
    if traced:
        sources.env_texts = found.texts
        for path, data in found.texts.items():
            sources.note(path, data)
    return _Loader(sources, found).load(), sources


class _Loader:
    """One load."""

    def __init__(self, sources: Sources, found: Found) -> None:
        self.sources = sources
        self.options = sources.options
        self.found = found
        self.environment = dict(found.environment)

    def load(self) -> Tree:
        found, options = self.found, self.options
        name = found.name or self._name_in_files()
        if name is None:
            name = found.default_name
        if not name:
            raise ComposeError(
                "project name must not be empty",
                hint="a name has a letter or digit; it is that of -p, of name: in the file or of the directory",
            )
        self.environment["COMPOSE_PROJECT_NAME"] = name
        tree = self.model(found.files, found.directory, found.directory, self.environment, ())
        try:
            unready: dict[str, str] = {}
            if options.normalize:
                normalise(
                    tree, name, self.environment if options.interpolate else {"COMPOSE_PROJECT_NAME": name}
                )
            else:
                tree["name"] = name
            if options.check_consistency:
                check(tree, found.profiles)
            if options.resolve_env:
                unready = resolve_environment(
                    tree,
                    self.environment,
                    self.sources,
                    found.directory,
                    found.profiles,
                )
        except Problem as problem:
            if problem.tree is None:
                problem.tree = tree
            raise
        sentences = Variables({}, unset=dict.fromkeys(self.sources.unset)).warnings()
        places = self.sources.unset.values()
        warnings = [f"{at}{': ' if at else ''}{text}" for at, text in zip(places, sentences, strict=True)]
        return Tree(
            name=name,
            working_dir=found.directory,
            tree=tree,
            compose_files=found.files,
            env_files=found.env_files,
            environment=self.environment,
            profiles=found.profiles,
            warnings=(*found.warnings, *warnings, *self.sources.warnings),
            unready=unready,
            lines=self.sources.lines,
            dropped=self.sources.dropped,
        )

    def _name_in_files(self) -> str | None:
        """``name:`` of the last file that has one, with variables replaced; None when none has."""
        name: str | None = None
        empty: Any = None
        for path in self.found.files:
            for document in self.sources.parse_ahead(path):
                tree = document.tree
                if not isinstance(tree, dict) or not isinstance(tree.get("name"), str) or not tree["name"]:
                    continue
                holder = {"name": tree["name"]}
                if self.options.interpolate:
                    try:
                        interpolate(holder, Variables(self.environment))
                    except Problem as problem:
                        problem.tree = tree
                        raise
                name = normalised_name(holder["name"]) if self.options.normalize else holder["name"]
                if not name:
                    empty = tree
        if name == "":
            raise Problem(
                "project name must not be empty", ("name",), hint="a name has a letter or digit", tree=empty
            )
        return name

    def model(
        self,
        files: tuple[str, ...],
        directory: str,
        base: str,
        environment: Mapping[str, str],
        including: tuple[str, ...],
    ) -> dict[str, Any]:
        """The canonical tree of ``files``, of a project or of an include.

        What they name with ``extends`` and ``include`` is in ``directory``; other paths are put behind ``base``.
        """
        tree: dict[str, Any] = {}
        for path in files:
            for document in self.sources.documents(path, environment):
                try:
                    tree = self._add(
                        tree, document.tree, document.dropped, path, directory, environment, including
                    )
                except Problem as problem:
                    if problem.tree is None:
                        problem.tree = document.tree
                    raise
        if not tree and not including:
            raise ComposeError("empty compose file", hint=f"{', '.join(files)}: begin with services:")
        try:
            set_defaults(tree)
            check_rules(tree)
            if self.options.resolve_paths or including:
                resolve_paths(tree, base, self.sources.home)
        except Problem as problem:
            if problem.tree is None:
                problem.tree = tree
            raise
        return tree

    def _add(
        self,
        tree: dict[str, Any],
        own: dict[str, Any],
        dropped: tuple[tuple[str | int, ...], ...],
        path: str,
        directory: str,
        environment: Mapping[str, str],
        including: tuple[str, ...],
    ) -> dict[str, Any]:
        """One document over what came before it."""
        apply_extends(own, path, directory, dropped, self.sources, environment)
        drop_paths(tree, dropped)
        self.sources.dropped.update(dict.fromkeys(dropped, path))
        apply_include(
            own,
            directory,
            dropped,
            self.sources,
            environment,
            including or ((path,) if path != "-" else ()),
            self.model,
        )
        merged: dict[str, Any] = merge(tree, own)
        try:
            enforce_unicity(merged)
            validate(merged)
            for sentence in deprecated(merged):
                self.sources.warnings[f"{path}: {sentence}"] = None
            canonical(merged, lenient=not self.options.interpolate)
            enforce_unicity(merged)
        except Problem as problem:
            problem.tree = merged
            raise
        merged.pop("version", None)
        return merged
