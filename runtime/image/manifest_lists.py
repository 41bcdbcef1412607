"""Lists of manifests while they are put together (``manifest create``, ``annotate``), kept where Docker's command keeps
them and in its form: ``manifests/<list>/<manifest>`` beside ``config.json``. All functions block."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.index import Entry, ordered
from runtime.image.manifest import DOCKER_MANIFEST, MANIFEST_LIMIT, InvalidImage
from runtime.image.reference import Reference, parse_reference
from runtime.image.registry.credentials import configuration_file
from runtime.storage.files import read_regular, storage_error, write_atomically


@dataclass(frozen=True, slots=True)
class ListedManifest:
    """A manifest of a list, as a registry has it, and how the list describes it."""

    reference: Reference
    entry: Entry
    data: bytes

    @property
    def document(self) -> dict[str, Any]:
        """In the form of Docker's command."""
        key = "SchemaV2Manifest" if self.entry["mediaType"] == DOCKER_MANIFEST else "OCIManifest"
        return {
            "Ref": str(self.reference),
            "Descriptor": ordered(self.entry),
            "Raw": base64.b64encode(self.data).decode(),
            key: json.loads(self.data),
        }


def list_directory(env: Mapping[str, str], target: Reference) -> Path:
    """Where the manifests of the list ``target`` are."""
    return configuration_file(env).parent / "manifests" / _safe(target)


def _safe(reference: Reference) -> str:
    return str(reference).replace(":", "-").replace("/", "_")


def load_list(env: Mapping[str, str], target: Reference) -> list[ListedManifest]:
    """The manifests of a list, [] when there is none. Raises ComposerError."""
    directory = list_directory(env, target)
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, "read", directory) from error
    return [
        _load(directory / name) for name in names if not name.startswith(".")
    ]  # in Docker's order: by file name


def _load(path: Path) -> ListedManifest:
    try:
        document = json.loads(read_regular(path, limit=4 * MANIFEST_LIMIT))
        data = base64.b64decode(document["Raw"])
        entry = dict(document["Descriptor"])
        reference = parse_reference(document["Ref"])
    except OSError as error:
        raise storage_error(error, "read", path) from error
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidImage(f"{path}: not a manifest as `manifest create` keeps it") from None
    if entry.get("digest") != Digest.of(data) or entry.get("size") != len(data):
        raise InvalidImage(f"{path}: the manifest does not match its digest")
    return ListedManifest(reference, entry, data)


def save_manifest(env: Mapping[str, str], target: Reference, manifest: ListedManifest) -> None:
    """Keep a manifest of a list. Raises ComposerError."""
    directory = list_directory(env, target)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, "create", directory) from error
    write_atomically(directory / _safe(manifest.reference), json.dumps(manifest.document).encode())


def remove_list(env: Mapping[str, str], target: Reference) -> None:
    """Forget a list. Raises ComposerError: ``No such manifest: x``."""
    directory = list_directory(env, target)
    if not directory.is_dir():
        raise ComposerError(f"No such manifest: {target}")
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise storage_error(error, "remove", directory) from error
