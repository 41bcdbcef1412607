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

    @property
    def default_name(self) -> str:
        return normalised_name(basename(self.directory))


def find(request: LoadRequest, reader: Reader) -> Found:
    """Raises NotFound when there is no Compose file, :class:`ComposeError` for a bad name or env file."""
    texts: dict[str, bytes] = {}
    environment = dict(request.env)
    chosen = request.files
    directory = _absolute(request.cwd, request.project_directory) if request.project_directory else ""
    env_files = _env_files(request, environment)
    loaded_early = False
    if not env_files and not _is_set(environment, "COMPOSE_DISABLE_ENV_FILE"):
        # A .env beside where we are may say which files there are.
        base = directory or _directory_of(chosen, request.cwd) or request.cwd
        loaded_early = _load_env_file(
            join(base, ".env"), reader, request.env, environment, texts, is_required=False
        )
        env_files = (join(base, ".env"),) if loaded_early else ()
    else:
        for path in env_files:
            _load_env_file(path, reader, request.env, environment, texts, is_required=True)
    files = _compose_files(request, environment, reader)
    if not directory:
        directory = next((dirname(path) for path in files if path != STANDARD_INPUT), request.cwd)
        if files and files[0] == STANDARD_INPUT:
            directory = request.cwd
    if (
        not loaded_early
        and not env_files
        and not _is_set(environment, "COMPOSE_DISABLE_ENV_FILE")
        and _load_env_file(
            join(directory, ".env"), reader, request.env, environment, texts, is_required=False
        )
    ):
        env_files = (join(directory, ".env"),)
    return Found(
        files=files,
        directory=directory,
        environment=environment,
        env_files=env_files,
        profiles=_profiles(request, environment),
        name=_given_name(request, environment),
        texts=texts,
    )


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


def _compose_files(request: LoadRequest, environment: Mapping[str, str], reader: Reader) -> tuple[str, ...]:
    named = request.files
    base = request.cwd
    if not named and environment.get("COMPOSE_FILE"):
        separator = environment.get("COMPOSE_PATH_SEPARATOR") or ":"
        named = tuple(filter(None, environment["COMPOSE_FILE"].split(separator)))
        base = _absolute(request.cwd, request.project_directory) if request.project_directory else request.cwd
    if named:
        files = tuple(path if path == STANDARD_INPUT else _absolute(base, path) for path in named)
        for path in files:
            if path != STANDARD_INPUT and not reader.is_file(path):
                problem = "is a directory" if reader.is_dir(path) else "no such file or directory"
                raise NotFound(f"open {path}: {problem}")
        return files
    start = _absolute(request.cwd, request.project_directory) if request.project_directory else request.cwd
    directory = start
    while True:
        if present := [name for name in NAMES if reader.is_file(join(directory, name))]:
            files = (join(directory, present[0]),)
            overrides = [name for name in OVERRIDES if reader.is_file(join(directory, name))]
            return (*files, *(join(directory, name) for name in overrides[:1]))
        if directory == dirname(directory):
            raise NotFound(
                "no configuration file provided: not found",
                hint=f"there is no {NAMES[0]} in {start} or above it; -f names one elsewhere",
            )
        directory = dirname(directory)


def _directory_of(files: tuple[str, ...], cwd: str) -> str:
    if files and files[0] != STANDARD_INPUT:
        return dirname(_absolute(cwd, files[0]))
    return ""


def _env_files(request: LoadRequest, environment: Mapping[str, str]) -> tuple[str, ...]:
    named = request.env_files or tuple(filter(None, environment.get("COMPOSE_ENV_FILES", "").split(",")))
    return tuple(_absolute(request.cwd, path) for path in named)


def _load_env_file(
    path: str,
    reader: Reader,
    shell: Mapping[str, str],
    environment: dict[str, str],
    texts: dict[str, bytes],
    *,
    is_required: bool,
) -> bool:
    """Add what the file says and the shell does not; later files win over earlier ones. Whether it exists."""
    data = reader.read(path) if not reader.is_dir(path) else None
    if data is None:
        if is_required:
            raise ComposeError(f"couldn't find env file: {path}", exit_status=14)
        return False
    texts[path] = data
    for name, value in parse_dotenv(data, path, environment.get).items():
        if name not in shell:
            environment[name] = value
    return True


def _absolute(base: str, path: str) -> str:
    return normpath(path if isabs(path) else join(base, path))


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() in ("1", "t", "true", "y", "yes", "on")
