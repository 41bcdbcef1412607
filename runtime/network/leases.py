"""Which addresses of one network are taken, and by whom. To find a free one costs the same however many are. Pure."""

from __future__ import annotations

import socket
from collections.abc import Container


class Leases:
    """The taken addresses of a network. Several may hold the same one for a while: who leaves it, and who is next."""

    def __init__(self) -> None:
        self._holders: dict[int, dict[int, list[str]]] = {4: {}, 6: {}}
        """By version and number."""
        self._free_from: dict[tuple[int, int, int], int] = {}
        """(version, first, last) of a range -> below this number none was free when it was last looked for."""

    def __bool__(self) -> bool:
        """Any are taken."""
        return any(self._holders.values())

    def take(self, address: str, holder: str) -> None:
        version, number = parse_address(address)
        self._holders[version].setdefault(number, []).append(holder)

    def give_back(self, address: str, holder: str) -> None:
        """The opposite of as many :meth:`take`."""
        version, number = parse_address(address)
        holders = self._holders[version][number]
        holders.remove(holder)
        if holders:
            return
        del self._holders[version][number]
        for (of, first, last), free_from in self._free_from.items():
            if of == version and first <= number <= last:
                self._free_from[of, first, last] = min(number, free_from)

    def holder_of(self, address: str, *, besides: str = "") -> str:
        """Who else than ``besides`` has it; "" if nobody."""
        version, number = parse_address(address)
        return next((one for one in self._holders[version].get(number, ()) if one != besides), "")

    def first_free(self, version: int, first: int, last: int, reserved: Container[int]) -> int | None:
        """The lowest number from ``first`` to ``last`` that nobody has and that is not ``reserved``."""
        taken, range_ = self._holders[version], (version, first, last)
        begin = self._free_from.get(range_, first)
        # What was reserved may be so no more: all of it is looked at before there is none.
        for start, end in ((begin, last), (first, begin - 1)):
            for number in range(start, end + 1):
                if number not in taken and number not in reserved:
                    self._free_from[range_] = number
                    return number
        return None


def parse_address(address: str) -> tuple[int, int]:
    """(version, number) of what is known to be one."""
    if ":" in address:
        return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
    return 4, int.from_bytes(socket.inet_aton(address), "big")
