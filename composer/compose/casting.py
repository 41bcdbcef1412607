"""Text that stands where a number or a boolean belongs becomes one, as after interpolation of a variable.

Compose casts at these attributes only, and whether or not a variable was there. Booleans are true, false, yes, no, y,
n, on and off in any case; whole numbers are decimal.
"""

from __future__ import annotations

import re
from typing import Any

from composer.compose.problem import Problem
from composer.compose.trace import Path, like

_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
_TRUE, _FALSE = ("true", "yes", "y", "on"), ("false", "no", "n", "off")


def _boolean(text: str) -> Any:
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("true or false expected")


def _whole(text: str) -> Any:
    if not _WHOLE.match(text):
        raise ValueError("a whole number expected")
    return int(text)


def _number(text: str) -> Any:
    try:
        if "_" in text or text != text.strip():
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError("a number expected") from None


_EXTERNAL = {"external": _boolean}
_ROLLING = {"parallelism": _whole, "max_failure_ratio": _number}
_CASTS: dict[str, Any] = {
    "services": {
        "*": {
            "cpu_count": _whole,
            "cpu_percent": _number,
            "cpu_period": _whole,
            "cpu_quota": _whole,
            "cpu_rt_period": _whole,
            "cpu_rt_runtime": _whole,
            "cpu_shares": _whole,
            "cpus": _number,
            "depends_on": {"*": {"restart": _boolean}},
            "deploy": {
                "placement": {"max_replicas_per_node": _whole},
                "replicas": _whole,
                "restart_policy": {"max_attempts": _whole},
                "rollback_config": _ROLLING,
                "update_config": _ROLLING,
            },
            "env_file": {"[]": {"required": _boolean}},
            "healthcheck": {"retries": _whole, "disable": _boolean},
            "init": _boolean,
            "oom_kill_disable": _boolean,
            "oom_score_adj": _whole,
            "pids_limit": _whole,
            "ports": {"[]": {"target": _whole}},
            "privileged": _boolean,
            "read_only": _boolean,
            "scale": _whole,
            "stdin_open": _boolean,
            "tty": _boolean,
            "ulimits": {"*": {"": _whole, "hard": _whole, "soft": _whole}},
            "volumes": {"[]": {"read_only": _boolean, "volume": {"nocopy": _boolean}}},
        }
    },
    "networks": {
        "*": {
            "external": _boolean,
            "internal": _boolean,
            "attachable": _boolean,
            "enable_ipv4": _boolean,
            "enable_ipv6": _boolean,
        }
    },
    "volumes": {"*": _EXTERNAL},
    "configs": {"*": _EXTERNAL},
    "secrets": {"*": _EXTERNAL},
}


def cast(tree: dict[str, Any]) -> list[tuple[Path, str]]:
    """In place. Returns booleans in the words of older YAML, which may be taken for text elsewhere.

    Raises :class:`Problem` for text that is not of the type.
    """
    outdated: list[tuple[Path, str]] = []
    _walk(tree, _CASTS, (), outdated)
    return outdated


def _walk(value: Any, rules: Any, path: Path, outdated: list[tuple[Path, str]]) -> Any:
    if isinstance(value, str):
        casting = rules.get("") if isinstance(rules, dict) else rules
        if casting is None:
            return value
        try:
            made = casting(value)
        except ValueError as error:
            raise Problem(f'invalid value "{value}": {error}', path) from None
        if isinstance(made, bool) and value.lower() not in ("true", "false"):
            outdated.append((path, value))
        return like(value, made)
    if not isinstance(rules, dict):
        return value
    if isinstance(value, list):
        below = rules.get("[]")
        if below is not None:
            for index, item in enumerate(value):
                value[index] = _walk(item, below, (*path, index), outdated)
    elif isinstance(value, dict):
        every = rules.get("*")
        if every is not None:
            for key, item in value.items():
                value[key] = _walk(item, every, (*path, key), outdated)
        else:
            for key, below in rules.items():
                if key in value:
                    value[key] = _walk(value[key], below, (*path, key), outdated)
    return value
