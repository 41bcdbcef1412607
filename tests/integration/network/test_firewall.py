"""Packets through real bridges and a real ruleset."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from pathlib import Path
from typing import Any

from runtime.kernel.netlink import nftables, rtnetlink
from runtime.kernel.netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket
from runtime.network.connections import forget_stale
from runtime.network.firewall import Firewall
from runtime.network.ruleset import Forward
from runtime.network.ruleset_changes import RulesetChanges

Lab = Any
QUICK = 0.3


def apply(lab: Lab, firewall: Firewall, *networks: Any) -> None:
    lab.host.run(lambda: firewall.add_networks(networks))


def publish(lab: Lab, firewall: Firewall, *forwards: Forward) -> None:
    lab.host.run(lambda: firewall.publish(forwards))


def test_containers_of_one_network_talk(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    one, two = lab.container("one", network), lab.container("two", network)
    listener = two.listen(80)
    assert one.reaches((two.address, 80), listener) == one.address
    assert lab.host.reaches((two.address, 80), listener) == network.gateway4


def test_networks_are_apart(lab: Lab, firewall: Firewall) -> None:
    front, back = lab.network("front"), lab.network("back")
    apply(lab, firewall, front, back)
    one, two = lab.container("one", front), lab.container("two", back)
    assert one.reaches((two.address, 80), two.listen(80), timeout=QUICK) is None
    both = lab.container("both", front, back)
    addresses = [endpoint.address4 for _, endpoint in both.endpoints]
    listener = both.listen(80)
    assert one.reaches((addresses[0], 80), listener) == one.address
    assert two.reaches((addresses[1], 80), listener) == two.address


def test_outbound_is_masqueraded(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front", enable_ipv6=True)
    apply(lab, firewall, network)
    one = lab.container("one", network)
    assert one.reaches((lab.machine.address, 80), lab.machine.listen(80)) == lab.host.address
    assert one.reaches((lab.machine.address6, 81), lab.machine.listen(81, "::")) == lab.host.address6


def test_internal_reaches_only_itself(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("inner", internal=True)
    apply(lab, firewall, network, lab.network("front"))
    one, two = lab.container("one", network), lab.container("two", network)
    assert one.reaches((two.address, 80), two.listen(80)) == one.address
    assert one.reaches((lab.machine.address, 80), lab.machine.listen(80), timeout=QUICK) is None
    # Even with a route of its own making.
    from runtime.kernel.netlink import rtnetlink
    from runtime.kernel.netlink.transport import NETLINK_ROUTE

    def add_default() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.add_route("0.0.0.0/0", gateway=network.gateway4)])

    one.run(add_default)
    assert one.reaches((lab.machine.address, 81), lab.machine.listen(81), timeout=QUICK) is None


def test_containers_kept_apart(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("apart", options={"com.docker.network.bridge.enable_icc": "false"})
    apply(lab, firewall, network)
    one, two = lab.container("one", network), lab.container("two", network)
    listener = two.listen(80)
    assert one.reaches((two.address, 80), listener, timeout=QUICK) is None
    assert lab.host.reaches((two.address, 80), listener) == network.gateway4
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, two.address, 80))
    assert one.reaches((network.gateway4, 8080), listener) == network.gateway4


def test_published_port(lab: Lab, firewall: Firewall) -> None:
    front, back = lab.network("front"), lab.network("back")
    apply(lab, firewall, front, back)
    web, other, far = lab.container("web", front), lab.container("other", front), lab.container("far", back)
    listener = web.listen(80)
    assert lab.host.reaches(("127.0.0.1", 8080), listener) is None
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, web.address, 80))
    assert lab.host.reaches(("127.0.0.1", 8080), listener) == front.gateway4
    assert lab.host.reaches((lab.host.address, 8080), listener) == front.gateway4
    assert lab.machine.reaches((lab.host.address, 8080), listener) == lab.machine.address
    # From containers: a neighbour, itself, and another network, by any of the host's addresses.
    for client in (other, web, far):
        for address in (lab.host.address, front.gateway4):
            assert client.reaches((address, 8080), listener), (client.address, address)
    # Nothing else of it.
    web.listen(81)
    assert lab.machine.reaches((web.address, 81), listener, timeout=QUICK) is None
    assert lab.machine.reaches((web.address, 80), listener, timeout=QUICK) is None
    lab.host.run(lambda: firewall.unpublish(firewall.state.forwards))
    assert lab.machine.reaches((lab.host.address, 8080), listener, timeout=QUICK) is None


def test_port_on_loopback_stays_there(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    web = lab.container("web", network)
    listener = web.listen(80)
    publish(lab, firewall, Forward("tcp", "127.0.0.1", 8080, web.address, 80))
    assert lab.host.reaches(("127.0.0.1", 8080), listener) == network.gateway4
    assert lab.host.reaches((lab.host.address, 8080), listener, timeout=QUICK) is None
    assert lab.machine.reaches((lab.host.address, 8080), listener, timeout=QUICK) is None

    # A neighbour that sends packets for 127.0.0.1 (or the container) down the wire.
    from runtime.kernel.netlink import rtnetlink
    from runtime.kernel.netlink.transport import NETLINK_ROUTE

    def leave_loopback(gateway: str, interface: str) -> None:
        from pathlib import Path

        Path(f"/proc/sys/net/ipv4/conf/{interface}/route_localnet").write_text("1")
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.delete_address(1, "127.0.0.1/8")])
            rtnl.execute([rtnetlink.add_route("127.0.0.0/8", gateway=gateway)])

    lab.machine.run(lambda: leave_loopback(lab.host.address, "wire"))
    assert lab.machine.reaches(("127.0.0.1", 8080), listener, timeout=QUICK) is None
    assert lab.machine.reaches((web.address, 80), listener, timeout=QUICK) is None
    # A container that does the same must not get at the host's own services either.
    service = lab.host.listen(9000, "127.0.0.1")
    web.run(lambda: leave_loopback(network.gateway4, "eth0"))
    assert web.reaches(("127.0.0.1", 9000), service, timeout=QUICK) is None
    assert web.reaches(("127.0.0.1", 8080), listener, timeout=QUICK) is None


def test_published_udp(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    web = lab.container("web", network)
    server = web.socket(socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 53))
    publish(lab, firewall, Forward("udp", "0.0.0.0", 5353, web.address, 53))
    for place, address in ((lab.host, "127.0.0.1"), (lab.machine, lab.host.address), (web, network.gateway4)):
        client = place.socket(socket.SOCK_DGRAM)
        client.connect((address, 5353))
        for one in (client, server):
            one.settimeout(0.3)
        for _ in range(100):
            client.send(b"ping")  # a link that has just come up may lose the first ones, either way
            with contextlib.suppress(TimeoutError):
                server.sendto(*server.recvfrom(16))
                assert client.recv(16) == b"ping"
                break
        else:
            raise AssertionError(f"nothing comes back to {place.address} from {address}")


def test_udp_client_that_goes_on_finds_the_next_container(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    client = lab.machine.socket(socket.SOCK_DGRAM)
    client.settimeout(0.3)
    client.connect((lab.host.address, 5353))
    client.send(b"nobody yet")  # from here on the kernel tracks it, untranslated
    before: list[Forward] = []
    for name in ("first", "second"):
        web = lab.container(name, network)
        server = web.socket(socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", 53))
        server.settimeout(0.3)
        made = [Forward("udp", "0.0.0.0", 5353, web.address, 53)]
        lab.host.run(lambda gone=before: firewall.unpublish(gone))
        lab.host.run(lambda gone=before: forget_stale(gone=gone))
        publish(lab, firewall, *made)
        assert lab.host.run(lambda made=made: forget_stale(made=made)) <= 1
        before = made
        for _ in range(100):
            with contextlib.suppress(OSError):
                client.send(name.encode())
                server.sendto(*server.recvfrom(16))
                if client.recv(16) == name.encode():
                    break
        else:
            raise AssertionError(f"nothing comes to {name}")


def test_port_on_loopback_where_others_opened_it(lab: Lab, firewall: Firewall) -> None:
    """Somebody (kube-proxy does) has switched on route_localnet for all links."""
    network = lab.network("front")
    apply(lab, firewall, network)
    web = lab.container("web", network)
    listener = web.listen(80)
    publish(lab, firewall, Forward("tcp", "127.0.0.1", 8080, web.address, 80))
    reserved = lab.host.listen(8080, "127.0.0.1")
    lab.host.run(lambda: Path("/proc/sys/net/ipv4/conf/uplink/route_localnet").write_text("1"))

    def leave_loopback() -> None:
        Path("/proc/sys/net/ipv4/conf/wire/route_localnet").write_text("1")
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.delete_address(1, "127.0.0.1/8")])
            rtnl.execute([rtnetlink.add_route("127.0.0.0/8", gateway=lab.host.address)])

    lab.machine.run(leave_loopback)
    assert lab.machine.reaches(("127.0.0.1", 8080), reserved, timeout=QUICK) is None
    assert lab.host.reaches(("127.0.0.1", 8080), listener) == network.gateway4


def test_published_ipv6(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front", enable_ipv6=True)
    apply(lab, firewall, network)
    web = lab.container("web", network)
    listener = web.listen(80, "::")
    publish(lab, firewall, Forward("tcp", "::", 8080, web.address6, 80))
    assert lab.machine.reaches((lab.host.address6, 8080), listener) == lab.machine.address6
    assert lab.host.reaches((lab.host.address6, 8080), listener) == network.gateway6
    assert lab.machine.reaches((web.address6, 80), listener, timeout=QUICK) is None


def test_flushed_ruleset_is_repaired(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    web = lab.container("web", network)
    listener = web.listen(80)
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, web.address, 80))
    assert not lab.host.run(firewall.ensure)

    def delete_table() -> None:
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            netfilter.transact(
                [
                    nftables.begin(),
                    nftables.delete_table(nftables.NFPROTO_INET, firewall.table),
                    nftables.end(),
                ]
            )

    def delete_element() -> None:
        key = b"\x06\0\0\0" + (8080).to_bytes(2, "big") + b"\0\0"
        with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
            netfilter.transact(
                [
                    nftables.begin(),
                    *nftables.delete_elements(
                        nftables.NFPROTO_INET, firewall.table, "publish4_any", [(key, b"")]
                    ),
                    nftables.end(),
                ]
            )

    for damage in (delete_table, delete_element):
        lab.host.run(damage)
        assert lab.machine.reaches((lab.host.address, 8080), listener, timeout=QUICK) is None
        assert lab.host.run(firewall.ensure)
        assert lab.machine.reaches((lab.host.address, 8080), listener) == lab.machine.address
        assert not lab.host.run(firewall.ensure)
    # A change that does not look first notices as well.
    lab.host.run(delete_table)
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8081, web.address, 80))
    assert lab.machine.reaches((lab.host.address, 8080), listener) == lab.machine.address


def test_a_flush_at_the_moment_of_a_change_is_noticed(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    web = lab.container("web", network)
    listener = web.listen(80)
    netfilter = firewall._netfilter
    transact = netfilter.transact

    def transact_and_flush(requests: Any) -> None:
        transact(requests)
        netfilter.transact = transact  # type: ignore[method-assign]
        with NetlinkSocket(NETLINK_NETFILTER) as another:
            table = nftables.delete_table(nftables.NFPROTO_INET, firewall.table)
            another.transact([nftables.begin(), table, nftables.end()])

    netfilter.transact = transact_and_flush  # type: ignore[method-assign]
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, web.address, 80))
    assert not lab.machine.reaches((lab.host.address, 8080), listener, timeout=QUICK)
    assert lab.host.run(firewall.ensure)
    assert lab.machine.reaches((lab.host.address, 8080), listener) == lab.machine.address


def test_changes_are_told(lab: Lab, firewall: Firewall) -> None:
    with lab.host.run(RulesetChanges) as changes:
        assert not changes.drain()
        apply(lab, firewall, lab.network("front"))
        assert select.select([changes], [], [], 30.0)[0]
        assert changes.drain()
        assert not changes.drain()


def test_next_engine_carries_on(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, "172.30.0.9", 80))
    successor = lab.host.run(lambda: Firewall("lab"))
    generation = firewall._generation
    lab.host.run(lambda: successor.apply(firewall.state))
    assert successor._generation == generation, "nothing had to be changed"
    assert successor.state == firewall.state
    successor.close()


def docker_rules() -> None:
    """What dockerd puts into ``ip filter``."""
    family = nftables.NFPROTO_IPV4
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        netfilter.transact(
            [
                nftables.begin(),
                nftables.add_table(family, "filter"),
                nftables.add_chain(
                    family,
                    "filter",
                    "FORWARD",
                    kind="filter",
                    hook=nftables.NF_INET_FORWARD,
                    policy=nftables.NF_DROP,
                ),
                nftables.add_chain(family, "filter", "DOCKER-USER"),
                nftables.add_rule(
                    family, "filter", "FORWARD", [nftables.verdict(nftables.NFT_JUMP, "DOCKER-USER")]
                ),
                nftables.add_rule(
                    family,
                    "filter",
                    "DOCKER-USER",
                    [nftables.counter(), nftables.verdict(nftables.NFT_RETURN)],
                ),
                nftables.end(),
            ]
        )


def rules_of(chain: str) -> list[nftables.Rule]:
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        replies = netfilter.query(nftables.dump_rules(nftables.NFPROTO_IPV4, "filter", chain))
        return [nftables.decode_rule(reply) for reply in replies]


def test_beside_docker(lab: Lab, firewall: Firewall) -> None:
    lab.host.run(docker_rules)
    network = lab.network("front")
    apply(lab, firewall, network)
    one, web = lab.container("one", network), lab.container("web", network)
    listener = web.listen(80)
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, web.address, 80))
    assert one.reaches((web.address, 80), listener) == one.address
    assert one.reaches((lab.machine.address, 80), lab.machine.listen(80)) == lab.host.address
    assert lab.machine.reaches((lab.host.address, 8080), listener) == lab.machine.address
    assert lab.machine.reaches((web.address, 80), listener, timeout=QUICK) is None
    assert len(lab.host.run(lambda: rules_of("DOCKER-USER"))) == 5
    apply(lab, firewall, network)
    lab.host.run(firewall.ensure)
    assert len(lab.host.run(lambda: rules_of("DOCKER-USER"))) == 5
    lab.host.run(firewall.remove)
    assert len(lab.host.run(lambda: rules_of("DOCKER-USER"))) == 1
    assert len(lab.host.run(lambda: rules_of("FORWARD"))) == 1


def test_beside_docker_with_a_bridge_named_like_its_own(lab: Lab, firewall: Firewall) -> None:
    """What comes back over that bridge is no traffic of Docker's."""
    lab.host.run(docker_rules)
    front = lab.network("front")
    back = lab.network("back", options={"com.docker.network.bridge.name": "br-mine"})
    apply(lab, firewall, front, back)
    web, other = lab.container("web", front), lab.container("other", back)
    listener = web.listen(80)
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, web.address, 80))
    assert other.reaches((lab.host.address, 8080), listener)
    assert other.reaches((lab.machine.address, 80), lab.machine.listen(80)) == lab.host.address
    assert lab.machine.reaches((other.address, 80), other.listen(80), timeout=QUICK) is None


def firewalld_rules(netfilter: NetlinkSocket, *, is_owned: bool = False, is_strict: bool = False) -> None:
    """Chains as firewalld makes them: what it does not know ends at their end. An owned table is there as long as
    ``netfilter`` is open."""
    family, table = nftables.NFPROTO_INET, "firewalld"
    owner = nftables.NFT_TABLE_F_OWNER if is_owned else 0
    requests = [nftables.begin(), nftables.add_table(family, table, flags=owner)]
    established = nftables.any_bit(nftables.NFT_CT_STATE, nftables.CT_ESTABLISHED | nftables.CT_RELATED)
    translated = nftables.any_bit(nftables.NFT_CT_STATUS, nftables.IPS_DST_NAT)
    accept, drop = nftables.verdict(nftables.NF_ACCEPT), nftables.verdict(nftables.NF_DROP)
    if is_strict:
        requests.append(nftables.add_chain(family, table, "filter_FORWARD_dnat"))
        requests.append(nftables.add_rule(family, table, "filter_FORWARD_dnat", [drop]))
    for name, hook in (
        ("filter_INPUT", nftables.NF_INET_LOCAL_IN),
        ("filter_FORWARD", nftables.NF_INET_FORWARD),
    ):
        requests.append(nftables.add_chain(family, table, name, kind="filter", hook=hook, priority=10))
        requests.append(nftables.add_rule(family, table, name, [*established, accept]))
        decided = nftables.verdict(nftables.NFT_JUMP, "filter_FORWARD_dnat") if is_strict else accept
        requests.append(nftables.add_rule(family, table, name, [*translated, decided]))
        requests.append(nftables.add_rule(family, table, name, [drop]))
    netfilter.transact([*requests, nftables.end()])


def begin_firewalld() -> None:
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        firewalld_rules(netfilter)


def test_beside_firewalld(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    one, web = lab.container("one", network), lab.container("web", network)
    lab.host.run(begin_firewalld)
    assert one.reaches((lab.machine.address, 80), lab.machine.listen(80), timeout=QUICK) is None
    for _ in range(2):  # it makes its table anew with each reload
        assert lab.host.run(firewall.ensure)
        assert not lab.host.run(firewall.ensure)
        assert one.reaches((lab.machine.address, 81), lab.machine.listen(81)) == lab.host.address
        assert one.reaches((web.address, 80), web.listen(80)) == one.address
        assert one.reaches((network.gateway4, 82), lab.host.listen(82)) == one.address
        assert lab.machine.reaches((web.address, 81), web.listen(81), timeout=QUICK) is None
        assert lab.machine.reaches((lab.host.address, 83), lab.host.listen(83), timeout=QUICK) is None

        def reload() -> None:
            with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
                gone = nftables.delete_table(nftables.NFPROTO_INET, "firewalld")
                netfilter.transact([nftables.begin(), gone, nftables.end()])
            begin_firewalld()

        lab.host.run(reload)
        for place in (one, web, lab.host, lab.machine):
            for made in place.sockets:
                made.close()
            place.sockets.clear()


def test_beside_firewalld_that_owns_its_table(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    one, web = lab.container("one", network), lab.container("web", network)
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, web.address, 80))
    listener, outside = web.listen(80), lab.machine.listen(80)
    with lab.host.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as owner:
        lab.host.run(lambda: firewalld_rules(owner, is_owned=True))
        lab.host.run(firewall.ensure)
        (warning,) = firewall.warnings
        assert "firewall-cmd --zone=trusted --add-interface=cmp-+" in warning
        assert one.reaches((lab.machine.address, 80), outside, timeout=QUICK) is None
        # What does not need a word of firewalld's works all the same.
        assert lab.machine.reaches((lab.host.address, 8080), listener) == lab.machine.address
        assert one.reaches((lab.host.address, 8080), listener)
        # What the command in the warning makes of its rules.
        requests = [
            nftables.add_rule(
                nftables.NFPROTO_INET,
                "firewalld",
                chain,
                [
                    nftables.meta(nftables.NFT_META_IIFNAME),
                    nftables.compare(b"cmp-"),
                    nftables.verdict(nftables.NF_ACCEPT),
                ],
                first=True,
            )
            for chain in ("filter_FORWARD", "filter_INPUT")
        ]
        owner.transact([nftables.begin(), *requests, nftables.end()])
        lab.host.run(firewall.ensure)
        assert firewall.warnings == ()
        assert one.reaches((lab.machine.address, 80), outside) == lab.host.address
        assert one.reaches((network.gateway4, 82), lab.host.listen(82)) == one.address
        assert lab.machine.reaches((web.address, 80), listener, timeout=QUICK) is None


def test_beside_firewalld_that_decides_on_published_ports(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    one, web = lab.container("one", network), lab.container("web", network)
    publish(lab, firewall, Forward("tcp", "0.0.0.0", 8080, web.address, 80))
    listener = web.listen(80)
    with lab.host.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as netfilter:
        lab.host.run(lambda: firewalld_rules(netfilter, is_strict=True))
        lab.host.run(firewall.ensure)
        assert not lab.host.run(firewall.ensure)
        assert "--add-forward-port" in firewall.warnings[0]
        assert lab.machine.reaches((lab.host.address, 8080), listener, timeout=QUICK) is None
        assert lab.host.reaches(("127.0.0.1", 8080), listener) == network.gateway4
        assert one.reaches((lab.host.address, 8080), listener)
        assert one.reaches((lab.machine.address, 80), lab.machine.listen(80)) == lab.host.address


def test_docker_that_starts_later(lab: Lab, firewall: Firewall) -> None:
    network = lab.network("front")
    apply(lab, firewall, network)
    one = lab.container("one", network)
    lab.host.run(docker_rules)
    listener = lab.machine.listen(80)
    assert one.reaches((lab.machine.address, 80), listener, timeout=QUICK) is None
    assert lab.host.run(firewall.ensure)
    assert one.reaches((lab.machine.address, 80), listener) == lab.host.address


def test_host_does_not_become_a_router(lab: Lab, firewall: Firewall) -> None:
    from pathlib import Path

    from runtime.kernel.netlink import rtnetlink
    from runtime.kernel.netlink.transport import NETLINK_ROUTE

    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    lab.host.run(lambda: forwarding.write_text("0"))
    # A second cable, to a machine that the first one must not be able to reach through the host.
    from tests.integration.network.conftest import new_namespace

    beyond = new_namespace()

    def plug() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.create_veth("second", peer="wire", peer_netns=beyond)])
            rtnl.execute([rtnetlink.add_address(socket.if_nametoindex("second"), "203.0.113.1/24")])

    lab.host.run(plug)

    def far_end() -> socket.socket:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            index = socket.if_nametoindex("wire")
            rtnl.execute(
                [
                    rtnetlink.set_link_up(index),
                    rtnetlink.add_address(index, "203.0.113.2/24"),
                    rtnetlink.add_route("0.0.0.0/0", gateway="203.0.113.1"),
                ]
            )
        listener = socket.socket()
        listener.bind(("0.0.0.0", 80))
        listener.listen()
        listener.settimeout(30)
        return listener

    from runtime.network.connect import in_network_namespace

    listener = in_network_namespace(beyond, far_end)

    def route() -> None:
        with NetlinkSocket(NETLINK_ROUTE) as rtnl:
            rtnl.execute([rtnetlink.add_route("203.0.113.0/24", gateway=lab.host.address)])

    lab.machine.run(route)
    network = lab.network("front")
    apply(lab, firewall, network)
    assert lab.host.run(forwarding.read_text).strip() == "1"
    assert lab.machine.reaches(("203.0.113.2", 80), listener, timeout=QUICK) is None
    one = lab.container("one", network)
    assert one.reaches(("203.0.113.2", 80), listener) == "203.0.113.1"
    lab.host.run(firewall.remove)
    assert lab.host.run(forwarding.read_text).strip() == "0"
    listener.close()
    os.close(beyond)
