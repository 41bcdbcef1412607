"""Digests: names of content that prove it (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from runtime.errors import InvalidArgument

if TYPE_CHECKING:
    import hashlib  # its library takes longer to load than most names to check

_LENGTHS = {"sha256": 64, "sha512": 128}
_GRAMMAR = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")


class Digest(str):
    """``algorithm:hex``, checked: always safe as part of a path. sha256 and sha512 are known."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises InvalidArgument when ``text`` is not a digest of a known algorithm."""
        if not isinstance(text, str) or not _GRAMMAR.fullmatch(text):
            raise InvalidArgument(f"invalid checksum digest format: {str(text)[:200]!r}")
        algorithm, _, encoded = text.partition(":")
        if algorithm not in _LENGTHS:
            raise InvalidArgument(f"unsupported digest algorithm: {algorithm}")
        if len(encoded) != _LENGTHS[algorithm]:
            raise InvalidArgument(f"invalid checksum digest length: {text}")
        if encoded != encoded.lower():
            raise InvalidArgument(f"invalid checksum digest format: {text}")
        return cls(text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The sha256 digest of ``data``."""
        import hashlib

        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 digits, as people see them."""
        return self.hex[:12]

    def hasher(self) -> hashlib._Hash:
        """A new hash object of the algorithm."""
        import hashlib

        return hashlib.new(self.algorithm, usedforsecurity=False)

    def matches(self, hasher: hashlib._Hash) -> bool:
        return hasher.hexdigest() == self.hex


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain id of each layer, lowest first (OCI image-spec, config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
