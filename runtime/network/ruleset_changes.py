"""Being told when anybody changes the nf_tables ruleset of this network namespace."""

from __future__ import annotations

import errno
import socket
from types import TracebackType

from runtime.kernel.netlink.transport import NETLINK_NETFILTER

SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h


class RulesetChanges:
    """A socket that becomes readable with every change, our own too. What exactly has changed is not looked at: the
    ruleset's generation tells whether it was us."""

    def __init__(self) -> None:
        """Raises OSError where the kernel has no nf_tables."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> RulesetChanges:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> bool:
        """Forget what was told so far. True if there was anything."""
        told = False
        while True:
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return told
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # messages that found no room are changes as well
                    raise
            told = True
