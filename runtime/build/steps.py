"""The steps that a build is made of, as the frontend says them, the solver orders them and the worker does them.

A step holds what it needs: together they are a graph without circles, with sources (images, contexts, what is fetched)
at its beginning. ``facts`` are what tells a step from others besides what it reads, each with a name for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from runtime.build.git_urls import GitSource
from runtime.errors import InvalidArgument


def told(text: str) -> str:
    """What is said of names in a context, which may have any bytes: those that are no characters, or would move a
    terminal's cursor, are escaped."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text
    )


class DockerfileError(InvalidArgument):
    """A mistake in a Dockerfile, or a step that failed, told with its place."""


def combined(errors: Sequence[DockerfileError]) -> DockerfileError:
    """One error that tells all of ``errors``."""
    if len(errors) == 1:
        return errors[0]
    return DockerfileError("\n".join(error.message for error in errors))


class Place(Protocol):
    """Where in a Dockerfile something is said."""

    @property
    def where(self) -> str:
        """File and line."""

    def error(self, message: str, part: str = "", details: str = "") -> DockerfileError:
        """A mistake here; a caret points at ``part``, ``details`` come last."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """Something that has a result: a file tree, made of layers or found somewhere."""

    text: str
    """The instruction, on one line, as histories have it."""
    written: str = ""
    """The same with its flags, and how its here-documents begin; "": ``text``."""
    place: Place
    stage: str = ""
    number: int = 0
    """In its stage, from 1; 0 for what has no line of its own."""
    total: int = 0

    @property
    def title(self) -> str:
        """For people: ``[stage 2/5] RUN make``."""
        text = self.written or self.text
        if not self.number:
            return text
        return f"[{self.stage + ' ' if self.stage else ''}{self.number}/{self.total}] {text}"

    def error(self, message: str, part: str = "") -> DockerfileError:
        """Something is wrong with it."""
        return self.place.error(message, part)

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The steps whose results it reads."""
        return ()

    @property
    def facts(self) -> Mapping[str, object]:
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSource(Step):
    """An image that FROM, ``--from`` or a named context asks for."""

    reference: str
    platform: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class ContextSource(Step):
    """A directory: the context (""), or a named one."""

    name: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class FetchSource(Step):
    """A file from a URL, named as the URL's path ends; ``checksum`` is what it has to have, or ""."""

    url: str
    checksum: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class GitCheckout(Step):
    """A directory of a git repository, as one commit has it."""

    source: GitSource


@dataclass(frozen=True, eq=False, kw_only=True)
class Selection:
    """What of a source a step reads: its contents count for the cache, not where they are from."""

    source: Step
    patterns: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    keeps_parents: bool = False
    keeps_owners: bool = False
    place: Place | None = None
    """Where it is said, when that is not where the source is."""

    def error(self, message: str, part: str = "") -> DockerfileError:
        """Something is wrong with it."""
        return (self.place or self.source.place).error(message, part)


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerStep(Step):
    """A step that puts at most one layer on ``below`` (None: on nothing)."""

    below: Step | None
    latest: int | None = None
    """Nothing in the layer is newer (seconds since the epoch; SOURCE_DATE_EPOCH)."""

    @property
    def inputs(self) -> tuple[Step, ...]:
        return (self.below,) if self.below is not None else ()

    @property
    def selections(self) -> tuple[Selection, ...]:
        return ()


@dataclass(frozen=True, eq=False, kw_only=True)
class MakeDirectory(LayerStep):
    """WORKDIR: the directories of ``path`` that are missing."""

    path: str

    @property
    def facts(self) -> Mapping[str, object]:
        return {"the path": self.path}


@dataclass(frozen=True, eq=False, kw_only=True)
class Copy(LayerStep):
    """COPY and ADD."""

    origin: Selection | None
    """What comes from a context, a stage or an image."""
    destination: str
    """Absolute; with a ``/`` at its end when it has to be a directory."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Here documents: name, content."""
    fetched: tuple[FetchSource | GitCheckout, ...] = ()
    owner: str = ""
    modes: str = ""
    unpacks: bool | None = False
    """None: archives of ``origin``, but not those that are fetched."""
    links: bool = False
    """``--link``: the layer does not depend on what is below."""
    exclude: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[Step, ...]:
        origin = (self.origin.source,) if self.origin is not None else ()
        return (*super().inputs, *origin, *self.fetched)

    @cached_property
    def selections(self) -> tuple[Selection, ...]:
        """The same ones every time: what is known of them is kept by who they are."""
        own = (self.origin,) if self.origin is not None else ()
        fetched = tuple(
            Selection(source=source, patterns=(".",), exclude=self.exclude) for source in self.fetched
        )
        return (*own, *fetched)

    @property
    def facts(self) -> Mapping[str, object]:
        return {
            "the instruction": (
                self.origin.patterns if self.origin is not None else (),
                self.origin is not None and self.origin.keeps_parents,
                self.destination,
                self.owner,
                self.modes,
                self.unpacks,
                self.exclude,
            ),
            "a here document": self.files,
        }


DEVICE_ENTITLEMENT = "device"
"""What a build is allowed to give steps devices with: ``device`` or ``device=NAME``."""


@dataclass(frozen=True, slots=True)
class StepDevice:
    """``RUN --device``. A step goes without one that is not there, unless it is required."""

    name: str
    is_required: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class RunMount:
    """``RUN --mount``."""

    type: str
    target: str
    selection: Selection | None = None
    """Of a bind or cache mount: what is mounted, or what a new cache begins with."""
    source: str = ""
    """The path within it."""
    read_only: bool = True
    id: str = ""
    sharing: str = "shared"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size: int = 0
    required: bool = False
    env: str = ""

    @property
    def facts(self) -> object:
        named = (self.type, self.target, self.source, self.read_only, self.id, self.env)
        return (*named, self.sharing, self.mode, self.uid, self.gid, self.size)


@dataclass(frozen=True, eq=False, kw_only=True)
class Run(LayerStep):
    """RUN: a container whose changes become the layer."""

    words: tuple[str, ...]
    platform: str = ""
    """Of the programs, when it is not this machine's."""
    env: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    """Variables that the program sees, but no cache, layer or history."""
    user: str = ""
    user_place: Place | None = None
    """Where ``user`` is said."""
    working_dir: str = ""
    network: str = "bridge"
    is_insecure: bool = False
    mounts: tuple[RunMount, ...] = ()
    devices: tuple[StepDevice, ...] = ()
    shell: tuple[str, ...] = ()
    """SHELL, as it holds for this step; (): none was said."""
    program: tuple[str, bytes] | None = None
    """A here document that says itself what runs it: where it is to be, and what it has."""
    hosts: tuple[str, ...] = ()
    shm_size: int = 0

    @property
    def inputs(self) -> tuple[Step, ...]:
        return (*super().inputs, *(selection.source for selection in self.selections))

    @property
    def selections(self) -> tuple[Selection, ...]:
        return tuple(mount.selection for mount in self.mounts if mount.selection is not None)

    @property
    def facts(self) -> Mapping[str, object]:
        variables = {
            f"the variable {name}": value for name, _, value in (item.partition("=") for item in self.env)
        }
        return {
            "the command": (self.words, self.program),
            **variables,
            "the user": self.user,
            "the working directory": self.working_dir,
            "the network": self.network,
            "what is said of hosts": self.hosts,
            "its confinement": self.is_insecure,
            "a mount": tuple(mount.facts for mount in self.mounts),
            **({"a device": tuple(device.name for device in self.devices)} if self.devices else {}),
        }


@dataclass(frozen=True, kw_only=True)
class HistoryItem:
    """One instruction in an image's history; ``step``: what may have made a layer for it."""

    created_by: str
    step: Step | None = None
