"""The lists that ``config`` prints instead of the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from composer.compose.tree import Tree
from composer.compose.variables import variables_of


def _lines(values: Any) -> str:
    return "".join(f"{value}\n" for value in values)


def environment(values: Mapping[str, str]) -> str:
    return _lines(f"{name}={values[name]}" for name in sorted(values))


def profiles(tree: dict[str, Any]) -> str:
    from composer.compose.decoding import decode

    decode(tree)  # what is wrong elsewhere is wrong here, too
    found = {str(p) for s in (tree.get("services") or {}).values() for p in (s or {}).get("profiles") or ()}
    return _lines(sorted(found))


def services(tree: dict[str, Any], names: Sequence[str]) -> str:
    """Names with what they depend on before them, else by name."""
    everything = tree.get("services") or {}
    left = {name: set(everything[name].get("depends_on") or ()) for name in names}
    ordered: list[str] = []
    while left:
        ready = sorted(name for name, needs in left.items() if not needs & left.keys()) or sorted(left)
        ordered += ready
        for name in ready:
            del left[name]
    return _lines(ordered)


def resources(tree: dict[str, Any], names: Sequence[str], kind: str) -> str:
    """Keys of the networks, volumes or models that the services use."""
    from composer.compose.decoding import decode
    from composer.compose.rendering import used_resources

    services = decode(tree).get("services") or {}
    used = used_resources({name: services[name] for name in names})[kind]
    return _lines(str(key) for key in sorted(tree.get(kind) or ()) if key in used)


def images(tree: dict[str, Any], names: Sequence[str], project: str) -> str:
    """The image of each service; one that is built and not named has the name that building gives it."""
    services = tree.get("services") or {}
    found = [
        str(services[name].get("image") or f"{project}-{name}")
        for name in names
        if "provider" not in services[name]
    ]
    return _lines(sorted(found))


def hashes(tree: Tree, names: Sequence[str], wanted: str) -> str:
    """``service hash`` for each of the services in ``wanted``, separated by commas ("*": all).

    Raises ComposeError for one that is none, or that no profile enables.
    """
    from composer.compose.choice import check_enabled
    from composer.compose.hash import service_config_hash
    from composer.compose.rendering import document

    chosen = sorted(names if wanted == "*" else [name.strip() for name in wanted.split(",")])
    check_enabled(tree.tree, chosen, tree.profiles)
    shown = document(tree.tree, chosen, is_json=True)["services"]
    return _lines(f"{name} {service_config_hash(shown[name])}" for name in chosen)


def variables(tree: dict[str, Any], form: str) -> str:
    """A table, or with ``--format`` a mapping."""
    found = variables_of(tree)
    if form not in ("json", "yaml"):
        from composer.cli.output.tables import table

        rows = [(v.name, str(v.is_required).lower(), v.default, v.alternative) for v in found.values()]
        return table(("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"), rows, narrowest=20)
    if form == "json":
        import json

        document: dict[str, Any] = {
            name: {
                "Name": name,
                "DefaultValue": v.default,
                "PresenceValue": v.alternative,
                "Required": v.is_required,
            }
            for name, v in sorted(found.items())
        }
        return json.dumps(document, indent=4, ensure_ascii=False) + "\n"
    from composer.compose.yaml_writer import to_yaml

    return to_yaml(
        {
            name: {
                "name": name,
                "defaultvalue": v.default,
                "presencevalue": v.alternative,
                "required": v.is_required,
            }
            for name, v in sorted(found.items())
        }
    )
