"""Bringing the ruleset into the kernel: differences as one atomic batch, verification, repair, removal."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Mapping

from runtime.errors import ComposerError
from runtime.kernel.netlink import nftables
from runtime.kernel.netlink.message import Request
from runtime.kernel.netlink.nftables import NFPROTO_INET, Element
from runtime.kernel.netlink.transport import NETLINK_NETFILTER, NetlinkError, NetlinkSocket
from runtime.network import coexistence, forwarding, overlay
from runtime.network.model import BRIDGE_PREFIX, Network
from runtime.network.rules import CHAINS
from runtime.network.ruleset import (
    SETS,
    BridgeRules,
    CountedElements,
    Elements,
    FirewallState,
    Forward,
    build,
    elements,
    table_name,
    without,
)

UNKNOWN = -1
"""A generation that no ruleset has."""
_MODULES = "the kernel needs nf_tables with NAT (modules nf_tables, nft_nat, nft_masq, nft_fib_inet)"


def bridge_rules(network: Network) -> BridgeRules:
    """What the table has to know of a network with a bridge."""
    tunnel = overlay.tunnel_of(network) if network.driver == "overlay" else None
    return BridgeRules(
        network.bridge,
        internal=network.internal,
        icc=network.has_icc,
        masqueraded=tuple(family for family in (4, 6) if network.is_masqueraded(family)),
        routed=network.families_in_mode("routed"),
        unprotected=network.families_in_mode("nat-unprotected"),
        trusted=network.trusted_links,
        sources=network.sources,
        ipv6=network.pool6 is not None,
        tunnel_port=tunnel.port if tunnel else 0,
        peers=tunnel.peers if tunnel else (),
    )


class Firewall:
    """The table of one engine. All calls are quick (well under a millisecond when little changes)."""

    def __init__(self, tag: str = "") -> None:
        self.table = table_name(tag)
        self.warnings: tuple[str, ...] = ()
        """What another firewall prevents, and how to allow it."""
        self._netfilter = NetlinkSocket(NETLINK_NETFILTER)
        # The state, so that a change costs what it changes.
        self._networks: dict[str, BridgeRules] = {}
        self._forwards: dict[tuple[object, ...], Forward] = {}
        self._unrouted: frozenset[str] = frozenset()
        self._held: CountedElements | None = None
        """What the kernel holds, while the ruleset's generation says so; as the state."""
        self._generation = UNKNOWN
        self._has_exceptions = False

    def close(self) -> None:
        """Close the socket; the rules stay."""
        self._netfilter.close()

    @property
    def state(self) -> FirewallState:
        """What was applied last."""
        return FirewallState(
            frozenset(self._networks.values()), frozenset(self._forwards.values()), self._unrouted
        )

    @property
    def bridges(self) -> Collection[str]:
        """Those of the networks that were applied last."""
        return self._networks.keys()

    # One thing at a time.

    def add_network(self, network: Network) -> None:
        """Let a network's traffic flow. Repeating it is harmless."""
        self.add_networks([network])

    def add_networks(self, networks: Iterable[Network]) -> None:
        rules = {rule for rule in map(bridge_rules, networks) if self._networks.get(rule.bridge) != rule}
        before = {self._networks[rule.bridge] for rule in rules if rule.bridge in self._networks}
        self._change(FirewallState(networks=frozenset(before)), FirewallState(networks=frozenset(rules)))

    def remove_network(self, bridge: str) -> None:
        gone = frozenset(filter(None, [self._networks.get(bridge)]))
        self._change(FirewallState(networks=gone), FirewallState())

    def publish(self, forwards: Iterable[Forward]) -> None:
        """Send connections for these ports to their containers, instead of where they went before."""
        new = {one for one in forwards if self._forwards.get(_way(one)) != one}
        before = {self._forwards[_way(one)] for one in new if _way(one) in self._forwards}
        self._change(FirewallState(forwards=frozenset(before)), FirewallState(forwards=frozenset(new)))

    def unpublish(self, forwards: Iterable[Forward]) -> None:
        gone = frozenset(one for one in forwards if self._forwards.get(_way(one)) == one)
        self._change(FirewallState(forwards=gone), FirewallState())

    # The whole.

    def apply(self, desired: FirewallState) -> None:
        """Make the kernel hold ``desired`` by changing what differs, in one batch.

        ``unrouted`` is kept by the firewall itself. Raises ComposerError when the kernel refuses.
        """
        state = self.state
        desired = FirewallState(desired.networks, desired.forwards, state.unrouted)
        self._change(without(state, desired), without(desired, state))

    def _change(self, less: FirewallState, more: FirewallState) -> None:
        """Take away networks and ports that are there, and add such that are not."""
        try:
            is_known = self._held is not None and self._generation == self._read_generation()
            found = None if is_known else self._read()
            networks, forwards = self._networks, self._forwards
            if less.networks or more.networks:
                gone = {rule.bridge for rule in less.networks}
                networks = {bridge: rule for bridge, rule in networks.items() if bridge not in gone}
                networks |= {rule.bridge: rule for rule in more.networks}
            known = self._unrouted if is_known else _unrouted(found)
            unrouted = known | self._enable_forwarding(networks)
            less = FirewallState(less.networks, less.forwards, self._unrouted - unrouted)
            more = FirewallState(more.networks, more.forwards, unrouted - self._unrouted)
            held = self._held
            if held is not None and is_known:
                requests = _requests(self.table, *held.change(less, more))
            else:
                wanted = _after(self.state, less, more)
                held = CountedElements(wanted)
                requests = (
                    build(self.table, elements(wanted))
                    if found is None
                    else difference(self.table, found, elements(wanted))
                )
            if requests:
                try:
                    self._commit(requests)
                except NetlinkError as error:
                    if error.errno not in (errno.ENOENT, errno.EEXIST):
                        raise
                    # Somebody changed the table between our reading and our writing.
                    self._commit(build(self.table, elements(_after(self.state, less, more))))
            for one in less.forwards:
                del forwards[_way(one)]
            forwards.update((_way(one), one) for one in more.forwards)
            has_other_bridges = networks is not self._networks and (
                _foreign(networks) != _foreign(self._networks)
            )
            self._held, self._networks, self._unrouted = held, networks, unrouted
            if not is_known or has_other_bridges or not self._has_exceptions:
                self._make_exceptions()
        except OSError as error:
            self._held = None
            raise ComposerError(
                f"firewall: {error.strerror or error}",
                hint=_MODULES
                if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
                else "",
            ) from error

    def ensure(self) -> bool:
        """Verify the table, and repair it if somebody flushed or changed it. True if something was repaired.

        Nearly free while nobody changes any rule: the ruleset's generation tells.
        """
        try:
            if self._held is not None and self._generation == self._read_generation():
                return False
            found = self._read()
            wanted = elements(self.state)
            repaired = found != wanted and (found is not None or bool(self._networks))
            if repaired:
                self._commit(build(self.table, wanted))
            self._held = CountedElements(self.state) if repaired or found is not None else None
            return self._make_exceptions() or repaired
        except OSError as error:
            raise ComposerError(f"firewall: {error.strerror or error}") from error

    def remove(self) -> None:
        """Take away the table and the exceptions in other tables, and switch forwarding off if this engine
        had switched it on and nobody else forwards."""
        try:
            found = self._read()
            places = [(rule.family, rule.table, rule.chain, rule.handle) for rule in self._own_exceptions()]
            requests = [nftables.delete_rule(*place) for place in places]
            if found is not None:
                requests.append(nftables.delete_table(NFPROTO_INET, self.table))
            if requests:
                self._commit(requests)
            if found and found["unrouted"]:
                others = [c for c in self._chains() if c.hook == nftables.NF_INET_FORWARD]
                if not others:
                    forwarding.disable()
        except OSError as error:
            raise ComposerError(f"firewall: {error.strerror or error}") from error
        finally:
            self._held = None
            self._networks, self._forwards, self._unrouted = {}, {}, frozenset()
            self._has_exceptions = False

    # Parts.

    @staticmethod
    def _enable_forwarding(networks: Mapping[str, BridgeRules]) -> frozenset[str]:
        if all(network.internal for network in networks.values()):
            return frozenset()
        if any(network.ipv6 and not network.internal for network in networks.values()):
            forwarding.enable_ipv6()
        return forwarding.enable().difference(networks)

    def _commit(self, requests: list[Request]) -> None:
        """Also learn the ruleset's generation, which was read before: if it is more than one further on, somebody else
        changed rules at the same moment, maybe ours."""
        expected = self._generation + 1
        self._netfilter.transact([nftables.begin(), *requests, nftables.end()])
        generation = self._read_generation()
        self._generation = generation if generation <= expected else UNKNOWN

    def _read_generation(self) -> int:
        return nftables.decode_generation(self._netfilter.query(nftables.get_generation())[0])

    def _chains(self) -> list[nftables.Chain]:
        return [nftables.decode_chain(reply) for reply in self._netfilter.query(nftables.dump_chains())]

    def _read(self) -> dict[str, frozenset[Element]] | None:
        """The elements in the kernel, or None if the table is missing or not as we make it."""
        family, table = NFPROTO_INET, self.table
        self._generation = self._read_generation()
        own = {
            chain.name: chain for chain in self._chains() if (chain.family, chain.table) == (family, table)
        }
        if set(own) != set(CHAINS):
            return None
        counts = dict.fromkeys(CHAINS, 0)
        for reply in self._netfilter.query(nftables.dump_rules(family, table)):
            rule = nftables.decode_rule(reply)
            if rule.table == table:
                counts[rule.chain] = counts.get(rule.chain, 0) + 1
        for name, chain in CHAINS.items():
            if counts[name] != len(chain.rules) or own[name].policy != nftables.NF_ACCEPT:
                return None
        content: dict[str, frozenset[Element]] = {}
        for name, spec in SETS.items():
            found: set[Element] = set()
            try:
                for reply in self._netfilter.query(nftables.dump_elements(family, table, name)):
                    found.update(nftables.decode_elements(reply))
            except NetlinkError as error:
                if error.errno == errno.ENOENT:
                    return None
                raise
            content[name] = frozenset(
                (key.ljust(spec.key_length, b"\0"), data.ljust(spec.data_length, b"\0"))
                for key, data in found
            )
        return content

    def _make_exceptions(self) -> bool:
        """Add what is missing in other firewalls' chains. True if something was."""
        self._has_exceptions = bool(self._networks)
        if not self._has_exceptions:
            return False
        found = coexistence.find_places(self._chains(), self.table)
        warnings = list(found.warnings)
        if legacy := forwarding.legacy_policy_warning():
            warnings.append(legacy)
        self.warnings = tuple(warnings)
        present: dict[tuple[int, str, str], list[nftables.Rule]] = {}
        for rule in self._own_exceptions():
            present.setdefault((rule.family, rule.table, rule.chain), []).append(rule)
        bridges = _foreign(self._networks)
        changed = False
        for place in found.places:
            own = present.pop((place.family, place.table, place.chain), [])
            if len(own) == coexistence.rule_count(place, bridges):
                continue
            requests = [nftables.delete_rule(r.family, r.table, r.chain, r.handle) for r in own]
            requests += coexistence.exception_rules(place, bridges, self.table)
            try:
                self._commit(requests)
            except NetlinkError as error:
                if error.errno != errno.EPERM:
                    raise
                warning = coexistence.owned_warning(place)
                if warning not in self.warnings and not self._is_let_through(place):
                    self.warnings = (*self.warnings, warning)
            else:
                changed = True
        stale = [rule for rules in present.values() for rule in rules]
        if stale:
            self._commit([nftables.delete_rule(r.family, r.table, r.chain, r.handle) for r in stale])
        return changed or bool(stale)

    def _is_let_through(self, place: coexistence.Place) -> bool:
        replies = self._netfilter.query(nftables.dump_rules(place.family, place.table))
        return coexistence.is_let_through(map(nftables.decode_rule, replies))

    def _own_exceptions(self) -> list[nftables.Rule]:
        mark = coexistence.comment(self.table)
        found = []
        for place in coexistence.SEARCHED:
            try:
                replies = self._netfilter.query(nftables.dump_rules(*place))
            except NetlinkError as error:
                if error.errno == errno.ENOENT:
                    continue
                raise
            rules = map(nftables.decode_rule, replies)
            found += [r for r in rules if r.userdata == mark and (r.family, r.table, r.chain) == place]
        return found


def difference(table: str, present: Elements, wanted: Elements) -> list[Request]:
    """Requests that turn the elements ``present`` into ``wanted``."""
    gone = {name: present[name] - wanted[name] for name in SETS}
    return _requests(table, gone, {name: wanted[name] - present[name] for name in SETS})


def _requests(table: str, gone: Elements, new: Elements) -> list[Request]:
    requests: list[Request] = []
    for name in SETS:
        if some := gone.get(name):
            requests += nftables.delete_elements(NFPROTO_INET, table, name, some)
        if some := new.get(name):
            requests += nftables.add_elements(NFPROTO_INET, table, name, some)
    return requests


def _unrouted(content: Elements | None) -> frozenset[str]:
    return frozenset(key.rstrip(b"\0").decode() for key, _ in (content or {}).get("unrouted", ()))


def _way(forward: Forward) -> tuple[object, ...]:
    """What can lead to one place only: a port of the host. Others are their own."""
    return forward[:3] if forward.host_ip else forward


def _foreign(bridges: Iterable[str]) -> list[str]:
    """Those whose names do not begin as our own do."""
    return sorted(name for name in bridges if not name.startswith(BRIDGE_PREFIX))


def _after(state: FirewallState, less: FirewallState, more: FirewallState) -> FirewallState:
    rest = without(state, less)
    return FirewallState(
        rest.networks | more.networks, rest.forwards | more.forwards, rest.unrouted | more.unrouted
    )
