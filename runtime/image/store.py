"""The images of one engine: the interface of this package.

``<root>/blobs`` has what registries and archives gave, ``<root>/layers`` the same unpacked, the state
database the names. Nothing is visible before it is complete, and one pull or layer is worked on once however
many ask for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from runtime.container.config import ImageConfig
from runtime.errors import ComposerError, InvalidArgument, NotFound
from runtime.image import archive, outgoing, saving
from runtime.image.changes import apply_changes, triggers
from runtime.image.check import Checked, Checker, Problem
from runtime.image.content import Content
from runtime.image.digest import Digest
from runtime.image.host import host_image
from runtime.image.manifest import MANIFEST_LIMIT, Descriptor, encode_config
from runtime.image.model import (
    HistoryEntry,
    Image,
    ImageUse,
    NewImage,
    Progress,
    PullProgress,
    Removal,
)
from runtime.image.platform import Platform, parse_platform
from runtime.image.reference import parse_reference, parse_target
from runtime.image.registries import Registries
from runtime.image.registry.authentication import CredentialSource
from runtime.image.registry.configuration import RegistryConfiguration
from runtime.image.removing import Remover
from runtime.image.several import of_platform
from runtime.storage.state import StateDatabase

if TYPE_CHECKING:  # what speaks to registries is imported when one is needed
    from runtime.image.built import BuiltImages
    from runtime.image.push import Pushed

STEP_COMMENT = "composer build step"
"""What tells the images of single build steps from others."""


class ImageStore:
    """All methods are for the trio thread; the ``async`` ones take as long as networks and disks do.

    ``users`` answers which containers were made from the image with an id.
    """

    def __init__(
        self,
        root: Path,
        database: StateDatabase,
        configuration: RegistryConfiguration | None = None,
        *,
        users: Callable[[str], Sequence[ImageUse]] = lambda _: (),
        env: Mapping[str, str] = os.environ,
        platform: Platform | None = None,
        boot_id: str = "",
    ) -> None:
        self.users = users
        self._root = root
        self._configuration = configuration or RegistryConfiguration()
        self._platform = platform or Platform.host()
        self._content = Content(root, database, boot_id, self._configuration.limits, self._platform)
        self._catalogue = self._content.catalogue
        self.registries = Registries(self._content, self._configuration, env)
        self._remover = Remover(self._content, lambda image_id: self.users(image_id))
        self._content.layers.prepare()
        self._content.layers.discard_interrupted()
        self._host_root = root / "host"
        self._host = host_image(self._host_root, self._platform)
        self._catalogue.embed(self._host)

    @property
    def notices(self) -> list[str]:
        """Sentences for the engine's log: records that had to be set aside."""
        return self._catalogue.notices

    @cached_property
    def built(self) -> BuiltImages:
        """Images that were built, on their way out."""
        from runtime.image.built import BuiltImages

        return BuiltImages(self._root, self._content, self.registries.pusher, self._platform)

    # Finding

    def resolve(self, text: str, platform: str = "") -> Image | None:
        """The image for a reference, an id or the beginning of one; None when there is none here (for ``platform``).

        Raises InvalidArgument for what is neither, or is the beginning of several ids.
        """
        if not platform:
            return self._catalogue.resolve(text)
        try:
            return self.get(text, platform)
        except NotFound:
            return None

    def get(self, text: str, platform: str = "") -> Image:
        """As :meth:`resolve`; raises NotFound (``No such image: x:latest``)."""
        image = self._catalogue.get(text)
        if not platform or image.is_embedded:
            return image
        return of_platform(self._catalogue.resolve_all(text), self.platform_of(platform), text)

    def image(self, image_id: str) -> Image | None:
        """By full id."""
        return self._catalogue.image(image_id)

    def list(self) -> Sequence[Image]:
        """Newest first, the embedded image last; without what only the build cache knows. Of several that a name means
        for several platforms the first, which :meth:`together` gives the others of."""
        return [image for image in self._catalogue.shown() if image.tags or image.comment != STEP_COMMENT]

    def named(self, text: str) -> Sequence[Image]:
        """All that a name means here, one for each platform; an id means one."""
        return self._catalogue.resolve_all(text)

    def together(self, image: Image) -> Sequence[Image]:
        """An image of :meth:`list` and those for other platforms that are listed with it."""
        return [image, *self._catalogue.siblings(image.id)]

    def index(self, image: Image) -> bytes:
        """The index that an image came with; b"" when it came with none, or with several."""
        record = self._catalogue.record(image.id)
        if record is None or len(record.indexes) != 1:
            return b""
        try:
            return self._content.blobs.read(Digest(record.indexes[0]), MANIFEST_LIMIT)
        except ComposerError:
            return b""

    def everything(self) -> Sequence[Image]:
        """As :meth:`list`, with what only the build cache knows."""
        return self._catalogue.images()

    def history(self, text: str, platform: str = "") -> Sequence[HistoryEntry]:
        """Newest first. Raises NotFound."""
        return tuple(reversed(self.get(text, platform).history))

    def config_json(self, text: str) -> bytes:
        """The configuration as it was pulled, loaded or built; b"" for the embedded image. Raises
        NotFound."""
        record = self._catalogue.record(self.get(text).id)
        return record.config.encode() if record is not None else b""

    def describe(self, image: Image) -> Descriptor | None:
        """What describes the manifest with which an image would leave; None for the embedded image."""
        record = self._catalogue.record(image.id)
        return outgoing.describe(record)[0] if record is not None else None

    def platform_of(self, text: str) -> Platform:
        """What ``--platform`` says, or this machine's. Raises InvalidArgument."""
        return parse_platform(text, self._platform) if text else self._platform

    # Pulling

    async def pull(
        self,
        text: str,
        platform: str = "",
        progress: Progress | None = None,
        credentials: CredentialSource | None = None,
    ) -> Image:
        """Bring an image here, or find that it is here unchanged.

        Several calls for the same image share one pull; each gets the progress from when it came. Raises
        NotFound (``manifest for x not found``), AccessDenied, Unreachable, InvalidImage, InvalidArgument.
        """
        reference = parse_reference(text).with_default_tag()
        embedded = self._catalogue.by_name(reference)
        if embedded is not None and embedded.is_embedded:
            return embedded
        return await self.registries.pulls.pull(
            reference, self.platform_of(platform), progress or _ignore, credentials, exact=platform != ""
        )

    def pulled_digest(self, image: Image, text: str) -> str:
        """What the registry called an image when it was pulled as ``text``; "" for none of a registry."""
        reference = parse_reference(text).with_default_tag()
        if reference.digest is not None:
            return str(reference.digest)
        own = [name for name in map(parse_reference, image.digests) if name.name == reference.name]
        told = self.registries.puller.roots.get(str(reference))
        return next((str(name.digest) for name in own if told in (None, name.digest)), "")

    async def tags(self, text: str, credentials: CredentialSource | None = None) -> Sequence[str]:
        """The references of all that a repository has in its registry: ``name:tag`` each. Raises as
        :meth:`pull`."""
        reference = parse_reference(text)
        if reference.tag or reference.digest is not None:
            raise InvalidArgument("tag can't be used with --all-tags/-a")
        names = await self.registries.puller.tags(reference, credentials)
        return [parse_reference(f"{reference.name}:{tag}").familiar for tag in names]

    # Pushing

    async def push(
        self,
        text: str,
        progress: Progress | None = None,
        credentials: CredentialSource | None = None,
        platform: str = "",
    ) -> Pushed:
        """Bring the image that has the tag ``text`` to the registry in its name: all that the tag means here, or only
        what it means for ``platform``.

        Raises NotFound, InvalidArgument, AccessDenied, Unreachable, InvalidImage.
        """
        reference = parse_reference(text).with_default_tag()
        found = self._catalogue.all_of(reference)
        if not found or reference.digest is not None:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        if found[0].is_embedded:
            raise InvalidArgument(f"{found[0].tags[0]} is this machine itself and cannot be pushed")
        if platform:
            found = [of_platform(found, self.platform_of(platform), reference.familiar)]
        if len(found) == 1:
            return await self.registries.pusher.push(found[0], reference, progress or _ignore, credentials)
        return await self.registries.pusher.push_several(found, reference, progress or _ignore, credentials)

    # Archives

    async def load(
        self, source: Path, progress: Progress | None = None, platform: str = ""
    ) -> Sequence[Image]:
        """Register all images of a docker-archive or OCI layout (a tar, compressed or not, or a directory), or only
        those for ``platform``; each has the tags that are in there.

        Raises InvalidImage, or ComposerError when the file cannot be read.
        """
        wanted = self.platform_of(platform)
        return await archive.load(self._content, source, wanted, progress or _ignore, exact=platform != "")

    async def import_(
        self,
        source: BinaryIO,
        reference: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        platform: str = "",
        progress: Progress | None = None,
        *,
        origin: str = "-",
    ) -> Image:
        """Make an image of a root file system's tar (plain, gzip, zstd, xz or bzip2), ``changes`` being
        Dockerfile instructions (CMD, ENV ...). ``source`` is read in a thread; ``origin`` is where it comes from."""
        name = parse_reference(reference).with_default_tag() if reference else None
        if name is not None and name.digest is not None:
            raise InvalidArgument("cannot import digest reference")
        return await archive.import_(
            self._content,
            source,
            name,
            apply_changes(changes),
            triggers(changes),
            message or f"Imported from {origin}",
            self.platform_of(platform),
            progress or _ignore,
        )

    # Building

    @property
    def empty_layer(self) -> Path:
        """A directory with nothing in it: the tree of an image without layers."""
        return self._content.layers.lowers(())[0]

    async def derive(
        self,
        base: Image | None,
        config: ImageConfig,
        layer: IO[bytes] | None,
        history: Sequence[Mapping[str, object]],
        *,
        created: int = 0,
        tags: Sequence[str] = (),
        is_step: bool = False,
        author: str = "",
        comment: str = "",
        on_build: Sequence[str] = (),
    ) -> Image:
        """Register an image that is ``base`` (None: nothing) with another configuration, and perhaps one more layer.

        ``layer`` is a tar; ``history`` entries are added to those of ``base``; ``created`` in seconds, 0: as the base;
        ``is_step``: part of the build cache, not listed; ``author`` and ``comment`` are the
        whole image's. Raises InvalidImage, InvalidArgument.
        """
        names = [str(parse_reference(tag).with_default_tag()) for tag in tags]
        platform = base.platform if base is not None else self._platform
        with self._content.collecting_stopped():
            record = self._catalogue.record(base.id) if base is not None else None
            layers = list(record.layers) if record is not None else []
            known = json.loads(record.config) if record is not None else {}
            if layer is not None:
                below = tuple(Digest(item.chain_id) for item in reversed(layers))
                layers.append(await self._content.add_layer(layer, below, _ignore))
            moment = known.get("created", "1970-01-01T00:00:00Z")
            if created:
                moment = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            fields = encode_config(config) | ({"OnBuild": list(on_build)} if on_build else {})
            document = {
                "architecture": platform.architecture,
                "os": platform.os,
                **({"variant": platform.variant} if platform.variant else {}),
                "created": moment,
                **({"author": author} if author else {}),
                **({"comment": STEP_COMMENT if is_step else comment} if is_step or comment else {}),
                "config": fields,
                "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in layers]},
                "history": [*known.get("history", ()), *({"created": moment, **entry} for entry in history)],
            }
            return self._catalogue.register(
                NewImage(config=json.dumps(document).encode(), layers=layers, tags=names)
            )

    def save(self, texts: Sequence[str], platform: str = "") -> AsyncIterator[bytes]:
        """The pieces of a tar that is a docker-archive and an OCI layout in one, with the images and the tags
        that were named, for all platforms that are here or for one. Raises NotFound, and InvalidArgument for the
        embedded image, before the first piece."""
        chosen: list[saving.Chosen] = []
        for text in texts:
            image = self.get(text, platform)
            if image.is_embedded:
                raise InvalidArgument(f"{image.tags[0]} is this machine itself and cannot be saved")
            images = [image] if platform else self._catalogue.resolve_all(text)
            chosen.append(saving.Chosen(images, self._tags_meant(image, text)))
        return saving.save(self._content, chosen)

    def _tags_meant(self, image: Image, text: str) -> Sequence[str]:
        """The tags that a text names: one for a tag, all for a bare name, none for an id."""
        with suppress(InvalidArgument):
            reference = parse_reference(text)
            if reference.digest is None and reference.with_default_tag().familiar in image.tags:
                return (str(reference.with_default_tag()),)
        return ()

    # Naming and removing

    def tag(self, text: str, target: str) -> Image:
        """Give an image another name. Raises NotFound, InvalidArgument."""
        image = self.get(text)
        reference = parse_target(target)
        if image.is_embedded:
            raise InvalidArgument(f"{image.tags[0]} is this machine itself and keeps its name")
        for each in self._catalogue.resolve_all(text):
            self._catalogue.add_tag(each.id, reference)
        return self.get(image.id)

    def untag(self, image: Image, text: str) -> None:
        """Take a name away from an image, which stays without one."""
        self._catalogue.remove_name(image.id, str(parse_reference(text).with_default_tag()))

    def remove(self, text: str, *, force: bool = False, platforms: Sequence[str] = ()) -> Removal:
        """Take a name away, and with the last one the image (``docker image rm``); with ``platforms``, only from the
        images for these.

        Raises NotFound, and Conflict when containers use it or (by id) several repositories name it;
        ``force`` takes the names away all the same; what stopped containers use is not shown any more and goes with
        the last of them (:meth:`drop_unused`). Call :meth:`sweep` afterwards.
        """
        chosen = [self.get(text, platform) for platform in dict.fromkeys(platforms)]
        return self._remover.remove(text, chosen, force=force)

    def drop_unused(self) -> bool:
        """Delete what was removed by force and has no containers left; whether there was any: then :meth:`sweep`."""
        return self._remover.drop_unused()

    async def prune(
        self, *, everything: bool = False, only: Callable[[Image], bool] = lambda _: True
    ) -> Removal:
        """Remove the images without a tag that no container uses; with ``everything`` those with tags as
        well; of these ``only`` some, and no step of a build.

        Also what interrupted pulls left behind. Gives the space back before it returns.
        """
        return await self._remover.prune(
            lambda image: image.comment != STEP_COMMENT and only(image), everything=everything
        )

    async def check(self, on_step: Callable[[Checked], None], *, repair: bool = False) -> Sequence[Problem]:
        """Verify everything that is kept (``composer system fsck``). Reads all of it, in threads."""
        return await Checker(self._content, self.users).run(on_step, repair=repair)

    async def settle(self) -> Sequence[Problem]:
        """After a start of the machine: look at what was unpacked before it. Returns what was damaged."""
        return await Checker(self._content, self.users).settle()

    def disk_usage(self, images: Container[str] | None = None) -> int:
        """Bytes of all blobs and layers (or those that the images with some ids need), shared ones once."""
        return self._content.disk_usage(images)

    def shared_sizes(self) -> Mapping[str, int]:
        """Of each image in :meth:`list`: bytes of the layers that others of them have, too."""
        return self._content.shared_sizes([image.id for image in self.list()])

    async def sweep(self) -> Sequence[str]:
        """Delete, in a thread, what was removed and what interrupted work left. Returns what could not be
        deleted."""
        return await self._content.sweep()

    def collect(self) -> int:
        """Remove content that no image has (after a crash in the middle of a pull); bytes given back."""
        return self._content.collect()

    @property
    def content(self) -> Content:
        """For the builder: blobs, layers and catalogue."""
        return self._content


def _ignore(_: PullProgress) -> None:
    pass
