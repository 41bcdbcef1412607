"""Which files a project is read from, what it is called, and the variables that its values may name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import basename, dirname, isabs, join, normpath

from composer.compose.dotenv import parse_dotenv
from composer.compose.errors import ComposeError
from composer.compose.request import LoadRequest, Reader
from runtime.errors import NotFound

STANDARD_INPUT = "-"
NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_NOT_IN_NAME = re.compile(r"[^-_a-z0-9]+")
_NAME = re.compile(r"[a-z0-9][-_a-z0-9]*")

DISABLE = "COMPOSE_DISABLE_ENV_FILE"


@dataclass
class Found:
    """What a command's flags and environment come to, before any Compose file is read."""

    files: tuple[str, ...]
    """Absolute paths; ``-`` for standard input."""
    directory: str
    """The project's."""
    environment: dict[str, str]
    """The command's own over that of the env files."""
    env_files: tuple[str, ...]
    profiles: tuple[str, ...]
    name: str
    """As given by flag or variable; "" leaves it to the files and the directory."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """Env files that were read."""
    unset: dict[str, str] = field(default_factory=dict)
    """Variables that they name and nobody sets, and where first."""
    warnings: tuple[str, ...] = ()

    @property
    def default_name(self) -> str:
        return normalised_name(basename(self.directory))


def find(request: LoadRequest, reader: Reader) -> Found:
    """Raises NotFound when there is no Compose file, :class:`ComposeError` for a bad name or env file.

    A ``.env`` where the command is run may say which files there are; the one in the project's directory then fills
    what the first left open.
    """
    loader = _EnvFiles(request, reader)
    given = _absolute(request.cwd, request.project_directory) if request.project_directory else ""
    named = _named_files(request, request.files)
    env_files = loader.load(given or _directory_of(named) or request.cwd)
    if not named:
        named = _from_variable(request, loader.environment)
    directory = given or _directory_of(named) or request.cwd
    warnings: list[str] = []
    files = _existing(named, reader) if named else _search(directory, reader, warnings)
    if not given:
        directory = _directory_of(files) or request.cwd
    env_files = loader.load(directory) or env_files
    environment = loader.environment
    return Found(
        files=files,
        directory=directory,
        environment=environment,
        env_files=env_files,
        profiles=_profiles(request, environment),
        name=_given_name(request, environment),
        texts=loader.texts,
        unset=loader.unset,
        warnings=tuple(warnings),
    )


class _EnvFiles:
    """The variables of a command's environment and, where that has none, of its env files."""

    def __init__(self, request: LoadRequest, reader: Reader) -> None:
        self.reader = reader
        self.environment = dict(request.env)
        self.environment.setdefault("PWD", request.cwd)  # services and timers run commands without it
        self.texts: dict[str, bytes] = {}
        self.unset: dict[str, str] = {}
        named = request.env_files or tuple(filter(None, request.env.get("COMPOSE_ENV_FILES", "").split(",")))
        self.named = tuple(_absolute(request.cwd, path) for path in named)
        self.is_disabled = not self.named and _is_disabled(request.env)

    def load(self, directory: str) -> tuple[str, ...]:
        """Take what the env files named, or the ``.env`` of a directory, add. Which files that were."""
        paths = self.named
        if not paths and not self.is_disabled and self.reader.is_file(join(directory, ".env")):
            paths = (join(directory, ".env"),)
        if all(path in self.texts for path in paths):
            return paths
        added: dict[str, str] = {}
        for path in paths:
            data = self.reader.read(path) if not self.reader.is_dir(path) else None
            if data is None:
                if self.reader.is_dir(path):
                    raise ComposeError(f"{path} is a directory", hint="--env-file names a file")
                raise ComposeError(f"couldn't find env file: {path}")
            self.texts[path] = data
            added.update(parse_dotenv(data, path, self.environment.get, added, self.unset))
        if (
            not self.named
            and DISABLE not in self.environment
            and _is_disabled(added, paths[0] if paths else "")
        ):
            # A .env that turns itself off still says which files, name and profiles there are.
            self.is_disabled = True
            added = {name: value for name, value in added.items() if name.startswith("COMPOSE_")}
        for name, value in added.items():
            self.environment.setdefault(name, value)
        return paths


def normalised_name(text: str) -> str:
    """A project name of any text: lower case, without other characters, beginning with a letter or digit."""
    return _NOT_IN_NAME.sub("", text.lower()).lstrip("_-")


def check_name(name: str) -> str:
    """Raises :class:`ComposeError` for what is no project name."""
    if not _NAME.fullmatch(name):
        raise ComposeError(
            f'invalid project name "{name}": must consist only of lowercase alphanumeric characters, hyphens, and '
            "underscores as well as start with a letter or number",
            hint=f"for instance {normalised_name(name)}" if normalised_name(name) else "",
        )
    return name


def _given_name(request: LoadRequest, environment: Mapping[str, str]) -> str:
    given = request.project_name or environment.get("COMPOSE_PROJECT_NAME", "")
    return check_name(given) if given else ""


def _profiles(request: LoadRequest, environment: Mapping[str, str]) -> tuple[str, ...]:
    named = request.profiles or tuple(environment.get("COMPOSE_PROFILES", "").split(","))
    return tuple(dict.fromkeys(profile.strip() for profile in named if profile.strip()))


def _named_files(request: LoadRequest, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name if name == STANDARD_INPUT else _absolute(request.cwd, name) for name in names)


def _from_variable(request: LoadRequest, environment: Mapping[str, str]) -> tuple[str, ...]:
    value = environment.get("COMPOSE_FILE", "")
    separator = environment.get("COMPOSE_PATH_SEPARATOR") or ":"
    return _named_files(request, tuple(filter(None, value.split(separator))))


def _existing(files: tuple[str, ...], reader: Reader) -> tuple[str, ...]:
    for path in files:
        if path != STANDARD_INPUT and not reader.is_file(path):
            problem = "is a directory" if reader.is_dir(path) else "no such file or directory"
            raise NotFound(f"open {path}: {problem}")
    return files


def _search(start: str, reader: Reader, warnings: list[str]) -> tuple[str, ...]:
    """The Compose file of a directory or of the nearest one above, and its override file."""
    directory = start
    while True:
        present = [join(directory, name) for name in NAMES if reader.is_file(join(directory, name))]
        if present:
            overrides = [join(directory, name) for name in OVERRIDES if reader.is_file(join(directory, name))]
            for kind, found in (("config", present), ("override", overrides)):
                if len(found) > 1:
                    warnings.append(
                        f"Found multiple {kind} files with supported names: {', '.join(found)}; using {found[0]}"
                    )
            return (present[0], *overrides[:1])
        if directory == dirname(directory):
            raise NotFound(
                "no configuration file provided: not found",
                hint=f"there is no {NAMES[0]} in {start} or above it; -f names one elsewhere",
            )
        directory = dirname(directory)


def _directory_of(files: tuple[str, ...]) -> str:
    """That of the first which is a file."""
    return next((dirname(path) for path in files if path != STANDARD_INPUT), "")


def _is_disabled(environment: Mapping[str, str], file: str = "") -> bool:
    """``file``: the env file that says it, when one does."""
    value = environment.get(DISABLE, "")
    if value.lower() in ("", "0", "f", "false"):
        return False
    if value.lower() in ("1", "t", "true"):
        return True
    raise ComposeError(f'{file}{": " if file else ""}{DISABLE} is "{value}"', hint="true or false")


def _absolute(base: str, path: str) -> str:
    return normpath(path if isabs(path) else join(base, path))
