"""The client of the engine's socket, against a server of a few lines."""

from __future__ import annotations

import io
import socket
import threading

import pytest

from composer.api import client
from composer.api.client import EngineClient
from runtime.errors import ComposerError

REFUSAL = b'{"message": "keep an upload: No space left on device"}'


def test_an_answer_that_comes_before_the_request_has_ended() -> None:
    ours, theirs = socket.socketpair()

    def refuse() -> None:
        with theirs:
            theirs.recv(100)
            head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: %d\r\n\r\n" % len(REFUSAL)
            theirs.sendall(head + REFUSAL)

    server = threading.Thread(target=refuse)
    server.start()
    with EngineClient(ours) as client, pytest.raises(ComposerError, match="No space left on device"):
        client.request("POST", "/images/load", body=io.BytesIO(bytes(10_000_000)))
    server.join()


def test_a_connection_that_is_closed_without_an_answer() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with EngineClient(ours) as client, pytest.raises(ComposerError, match="closed the connection"):
        client.request("POST", "/images/load", body=io.BytesIO(bytes(10_000_000)))


def test_names_are_encoded_once() -> None:
    head, _ = client._encode_request("GET", f"/images/{client.quote('a@sha256:0 1%')}/json", None, None, None)
    assert head.startswith(b"GET /images/a%40sha256:0%201%25/json HTTP/1.1\r\n")
