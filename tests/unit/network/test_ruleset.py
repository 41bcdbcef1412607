"""What the table holds, as networks and ports come and go."""

from __future__ import annotations

import random

from runtime.network.ruleset import (
    SETS,
    BridgeRules,
    CountedElements,
    FirewallState,
    Forward,
    elements,
    without,
)


def test_a_change_is_the_difference_of_the_elements() -> None:
    chance = random.Random(6)
    networks = [
        BridgeRules(f"cmp-{number}", internal=number % 3 == 0, tunnel_port=4789, peers=("192.0.2.1",))
        for number in range(6)
    ]
    forwards = [
        Forward(protocol, host, 8000 + number, f"172.30.0.{number}", 80)
        for number in range(2, 6)
        for protocol, host in (("tcp", "0.0.0.0"), ("udp", "127.0.0.1"))
    ]
    # Two ports of the host that lead to one open port of a container: one element for both.
    forwards += [Forward("tcp", "", 0, "172.30.0.9", 80), Forward("tcp", "", 1, "172.30.0.9", 80)]
    state = FirewallState()
    counted = CountedElements(state)
    for _ in range(200):
        desired = FirewallState(
            frozenset(one for one in networks if chance.random() < 0.5),
            frozenset(one for one in forwards if chance.random() < 0.5),
            frozenset(one for one in ("eth0", "wg0") if chance.random() < 0.5),
        )
        gone, new = counted.change(without(state, desired), without(desired, state))
        before, after = elements(state), elements(desired)
        assert {name: gone.get(name, frozenset()) for name in SETS} == {
            name: before[name] - after[name] for name in SETS
        }
        assert {name: new.get(name, frozenset()) for name in SETS} == {
            name: after[name] - before[name] for name in SETS
        }
        state = desired
