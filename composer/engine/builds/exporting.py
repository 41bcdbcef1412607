"""What becomes of a result: names in the store, files, archives, a registry."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import trio

from composer.engine.builds.builder import Product
from composer.engine.builds.outputs import Output
from runtime.build.worker.layer_tar import Placed, write_placed
from runtime.errors import ComposerError, InvalidArgument
from runtime.files.archive import extract
from runtime.files.tree import Tree
from runtime.image.attestations import PROVENANCE_FILE, Attestation, statement
from runtime.image.model import Image
from runtime.image.packing import Packing
from runtime.image.registry.authentication import CredentialSource
from runtime.image.store import ImageStore


class Exporter:
    """Makes the outputs of one build. ``products`` are its images with what is said of them, one for each platform."""

    def __init__(
        self,
        images: ImageStore,
        products: Sequence[Product],
        tags: Sequence[str],
        credentials: CredentialSource | None,
        epoch: int | None,
    ) -> None:
        self._images = images
        self._results = [product.image for product in products]
        self._platforms = [product.platform for product in products]
        self._said = [product.attestations for product in products]
        self._tags = tuple(tags)
        self._credentials = credentials
        self._epoch = epoch
        self.metadata: dict[str, Any] = {}
        """What there is to know about the result, as buildx's metadata file has it."""
        self.warnings: list[str] = []
        for product in products:
            for attestation in product.attestations:
                if attestation.file == PROVENANCE_FILE:
                    suffix = f"/{product.platform}" if len(products) > 1 else ""
                    self.metadata[f"buildx.build.provenance{suffix}"] = attestation.predicate

    async def export(self, output: Output) -> None:
        """Make one of them. Raises ComposerErrors."""
        names = output.names or self._tags
        if output.type in ("local", "tar"):
            await self._files(output)
            return
        if output.type == "cacheonly":
            return
        is_leaving = output.pushes or (output.type in ("oci", "docker") and bool(output.dest))
        results = list(self._results)
        if is_leaving or output.packing != Packing():
            results = [await self._images.built.pack(image, output.packing) for image in results]
        if output.is_stored:
            await self._images.built.name(results, names)
            if any(self._said) and not output.pushes:
                self.warnings.append(
                    "attestations are not kept with an image here: they go with --push and --output type=oci"
                )
        if output.pushes:
            await self._push(output, results, names)
        if output.type in ("oci", "docker") and output.dest:
            await self._archive(output, results, names)
        self._describe(output, results, names)

    def _own(self, results: Sequence[Image]) -> Sequence[Image]:
        """Of several platforms, the one that can be kept under the name: this machine's, else the first."""
        own = self._images.platform_of("")
        return [image for image in results if image.platform == own][:1] or list(results[:1])

    async def _push(self, output: Output, results: Sequence[Image], names: Sequence[str]) -> None:
        if not names:
            raise InvalidArgument(
                "tag is needed when pushing to registry", hint="give the image a name: --tag NAME"
            )
        for name in names:
            pushed = await self._images.built.push(
                results, name, output.packing, lambda _: None, self._credentials, self._said
            )
            self.metadata["containerimage.digest"] = str(pushed.digest)

    def _describe(self, output: Output, results: Sequence[Image], names: Sequence[str]) -> None:
        (first, *_) = self._own(results)
        descriptor = self._images.built.describe(
            results, output.packing, names if output.pushes or output.dest else (), self._said
        )
        self.metadata.setdefault("containerimage.digest", str(descriptor.digest))
        self.metadata["containerimage.config.digest"] = first.id
        self.metadata["containerimage.descriptor"] = {
            "mediaType": descriptor.media_type,
            "digest": str(descriptor.digest),
            "size": descriptor.size,
        }
        if names:
            self.metadata["image.name"] = ",".join(names)

    async def _archive(self, output: Output, results: Sequence[Image], names: Sequence[str]) -> None:
        pieces = self._images.built.save(results, names, output.packing, self._said)
        if output.is_tar:
            async with await trio.open_file(_new_file(output.dest), "wb") as file:
                async for piece in pieces:
                    await file.write(piece)
            return
        directory = Path(output.dest)
        await trio.to_thread.run_sync(partial(directory.mkdir, parents=True, exist_ok=True))
        read, write = os.pipe()

        def unpack() -> None:
            with open(read, "rb") as source, tarfile.open(fileobj=source, mode="r|") as tar:
                if hasattr(tarfile, "data_filter"):
                    tar.extraction_filter = tarfile.data_filter
                tar.extractall(directory)  # by Python before 3.11.4 without a filter; the archive is our own

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, unpack)
            async with trio.wrap_file(open(write, "wb")) as sink:
                async for piece in pieces:
                    await sink.write(piece)

    async def _files(self, output: Output) -> None:
        """The file trees of the results; of several, each in a directory of its platform's name."""
        splits = output.splits_platforms
        splits = len(self._results) > 1 if splits is None else splits
        now = int(time.time()) if self._epoch is None else self._epoch

        def write_all(target: IO[bytes]) -> None:
            items: dict[str, Placed] = {}
            for image, platform, attestations in zip(self._results, self._platforms, self._said, strict=True):
                prefix = f"{str(platform).replace('/', '_')}/" if splits else ""
                found = _everything(image, prefix)
                items |= {item.path: item for item in found}
                items |= {item.path: item for item in _statements(found, prefix, attestations)}
            write_placed(items.values(), target, now)

        if output.type == "tar":

            def save() -> None:
                with open(_new_file(output.dest), "wb") as file:
                    write_all(file)

            await trio.to_thread.run_sync(save)
            return

        def place() -> None:
            try:
                os.makedirs(output.dest, exist_ok=True)
                root = os.open(output.dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise ComposerError(f"{output.dest}: {os.strerror(error.errno or 0)}") from None
            try:
                with self._images.built.scratch_file() as file:
                    write_all(file)
                    file.seek(0)
                    extract(root, "/", file, keeps_owners=False)
            finally:
                os.close(root)

        await trio.to_thread.run_sync(place)


def _everything(image: Image, prefix: str) -> list[Placed]:
    """All of an image's files, below ``prefix``."""
    placed = [Placed(prefix.rstrip("/"), 0o755)] if prefix else []
    if not image.layers:
        return placed
    tree = Tree(image.layers)
    return placed + [
        Placed(prefix + node.path, node.status.st_mode & 0o7777, node.status.st_uid, node.status.st_gid, node)
        for node in tree.walk(tree.root)
    ]


def _statements(files: Sequence[Placed], prefix: str, attestations: Sequence[Attestation]) -> list[Placed]:
    """What is said of files, as files beside them."""
    subjects = []
    for item in files if attestations else ():
        if item.node is not None and stat.S_ISREG(item.node.status.st_mode):
            with open(item.node.hosts[0], "rb") as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
            subjects.append((item.path.removeprefix(prefix), digest))
    return [
        Placed(prefix + one.file, 0o644, content=statement(one, subjects))
        for one in attestations
        if not one.is_inline_only
    ]


def _new_file(path: str) -> str:
    """A path that can be written to. Raises InvalidArgument for a directory."""
    if os.path.isdir(path):
        raise InvalidArgument(f"the destination {path} is a directory: a file is needed")
    parent = os.path.dirname(path)
    if parent:
        os.makedirs(parent, exist_ok=True)
    return path
