"""An answer for those who wait for a core that does not come up: nobody else would ever give them one. Standard library
only, for the keeper."""

from __future__ import annotations

import contextlib
import json
import os
import socket

UNSERVED = 3
"""Cores in a row that have died before they served: what keeps them from it will not go by itself at once."""
MOST = 1 << 20
"""Bytes of a request that are taken before it is answered; with unread ones the answer could be lost. unix(7)"""


def refuse_clients(listener: int, message: str, hint: str) -> None:
    """Answer every connection that waits to be accepted, in the form of the API's errors, and close it."""
    body = json.dumps({"message": message, "hint": hint}).encode()
    head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with socket.socket(fileno=os.dup(listener)) as waiting:
        waiting.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                client, _ = waiting.accept()
                with client, contextlib.suppress(OSError):
                    client.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        client.recv(MOST)
                    client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
                    client.shutdown(socket.SHUT_WR)
