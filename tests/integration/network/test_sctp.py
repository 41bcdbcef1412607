"""SCTP through published ports, where the kernel speaks it."""

from __future__ import annotations

import errno
import socket

import pytest

from runtime.network.firewall import Firewall
from runtime.network.ports import IPPROTO_SCTP, bind_socket
from runtime.network.ruleset import Forward
from tests.integration.network.conftest import Lab, Place


def sctp_socket(place: Place) -> socket.socket:
    try:
        made = place.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP))
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            pytest.skip("needs a kernel with SCTP")
        raise
    made.settimeout(30)
    place.sockets.append(made)
    return made


def test_published_sctp(lab: Lab) -> None:
    server = sctp_socket(lab.machine)  # only whether there is any
    firewall = lab.host.run(lambda: Firewall("lab"))
    try:
        network = lab.network("front")
        lab.host.run(lambda: firewall.add_network(network))
        web = lab.container("web", network)
        server = sctp_socket(web)
        server.bind(("0.0.0.0", 80))
        server.listen()
        reserved = lab.host.run(lambda: bind_socket("sctp", "0.0.0.0", 8080))
        lab.host.sockets.append(reserved)
        lab.host.run(lambda: firewall.publish([Forward("sctp", "0.0.0.0", 8080, web.address, 80)]))
        for place, address in (
            (lab.machine, lab.host.address),
            (lab.host, lab.host.address),
            (lab.host, "127.0.0.1"),
            (web, network.gateway4),
        ):
            client = sctp_socket(place)
            client.connect((address, 8080))
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"ping")
                assert accepted.recv(16) == b"ping"
            client.close()
    finally:
        lab.host.run(firewall.remove)
        firewall.close()
