"""Networks that are nothing but settings."""

from __future__ import annotations

from typing import Any

import pytest

from composer.engine.networking.network_settings import (
    check_is_more_than_settings,
    check_is_not_taken,
    check_settings_only,
    settings_of,
)
from runtime.errors import Conflict, InvalidArgument, NotFound
from runtime.network.model import Network, Pool

SOURCE = Network(id="a" * 64, name="settings", driver="none", config_only=True)
NOTHING: dict[str, Any] = {
    "options": {},
    "labels": {},
    "enable_ipv6": False,
    "pools": (),
    "ipam_options": None,
}


def test_settings_are_taken_whole_or_not() -> None:
    assert settings_of(SOURCE, "settings", **NOTHING) is SOURCE
    for own in (
        {"labels": {"a": "b"}},
        {"enable_ipv6": True},
        {"pools": (Pool(subnet="10.1.0.0/24"),)},
        {"ipam_options": {"a": "b"}},
    ):
        with pytest.raises(Conflict, match="user specified configurations are not supported"):
            settings_of(SOURCE, "settings", **{**NOTHING, **own})
    with pytest.raises(Conflict, match="network driver options are not supported"):
        settings_of(SOURCE, "settings", **{**NOTHING, "options": {"a": "b"}})
    for other in (None, Network(id="b" * 64, name="other")):
        with pytest.raises(NotFound, match='configuration network "other" does not exist'):
            settings_of(other, "other", **NOTHING)


def test_what_settings_cannot_be() -> None:
    check_settings_only(SOURCE, [Pool(subnet="10.1.0.0/24"), Pool(subnet="fd00:1::/64")])
    with pytest.raises(InvalidArgument, match="'abc' is no valid subnet"):
        check_settings_only(SOURCE, [Pool(subnet="abc")])
    for fields in ({"internal": True}, {"attachable": True}):
        with pytest.raises(Conflict, match="can only contain network specific fields"):
            check_settings_only(Network(id="c" * 64, name="c", config_only=True, **fields), [])
    with pytest.raises(Conflict, match="cannot depend on another"):
        check_settings_only(Network(id="c" * 64, name="c", config_only=True, config_from="settings"), [])
    with pytest.raises(InvalidArgument, match="cannot create endpoint on configuration-only network"):
        check_is_more_than_settings(SOURCE)
    taker = Network(id="d" * 64, name="taker", config_from="settings")
    check_is_not_taken(taker, [SOURCE, taker])
    with pytest.raises(Conflict, match='configuration network "settings" is in use'):
        check_is_not_taken(SOURCE, [SOURCE, taker])
