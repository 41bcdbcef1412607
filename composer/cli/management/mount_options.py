"""``--mount`` and ``--volume`` of single containers, as Docker's API wants them."""

from __future__ import annotations

from composer.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SAME = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_SWITCHES = frozenset({"readonly", "volume-nocopy", "bind-nonrecursive"})
"""Keys that may stand without a value."""
_SECTIONS = {
    "bind": "BindOptions",
    "volume": "VolumeOptions",
    "tmpfs": "TmpfsOptions",
    "image": "ImageOptions",
}
_TEXTS = {
    "bind-propagation": "Propagation",
    "volume-subpath": "Subpath",
    "image-subpath": "Subpath",
}
_RECURSIVE = {
    "enabled": {},
    "disabled": {"NonRecursive": True},
    "writable": {"ReadOnlyNonRecursive": True},
    "readonly": {"ReadOnlyForceRecursive": True},
}


def bind(text: str, directory: str) -> str:
    """An element of ``Binds``: a source that begins with a dot is relative to ``directory``."""
    source, separator, rest = text.partition(":")
    if separator and source.startswith("."):
        import posixpath

        return f"{posixpath.normpath(posixpath.join(directory, source))}:{rest}"
    return text


def mount(text: str) -> dict[str, Any]:
    """``type=bind,source=/a,target=/b,readonly`` as Docker's Mount. Raises UsageError."""
    try:
        return _mount(_fields(text))
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--mount" flag: {error}', is_flag=True) from None


def _fields(text: str) -> list[tuple[str, str]]:
    """Keys and values in order; a field in double quotes may have commas in it."""
    from csv import Error, reader

    try:
        parts = next(reader([text], strict=True), [])
    except Error as error:
        raise ValueError(str(error)) from None
    fields = []
    for part in parts:
        name, separator, value = part.partition("=")
        key = _SAME.get(name.lower(), name.lower())
        if not separator and key not in _SWITCHES:
            raise ValueError(f"invalid field '{part}' must be a key=value pair")
        fields.append((key, value if separator else "true"))
    return fields


def _mount(fields: list[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": "volume", "Source": "", "Target": ""}
    for key, value in fields:
        kind, _, name = key.partition("-")
        if key in ("type", "source", "target", "consistency"):
            found[key.capitalize()] = value.lower() if key == "type" else value
        elif key == "readonly":
            found["ReadOnly"] = _switch(key, value)
        elif name and kind in _SECTIONS:
            _option(found.setdefault(_SECTIONS[kind], {}), key, value)
        else:
            raise ValueError(f"unexpected key '{key}' in '{key}={value}'")
    if not found["Type"]:
        raise ValueError("type is required")
    if not found["Target"]:
        raise ValueError("target is required")
    for kind, section in _SECTIONS.items():
        if section in found and kind != found["Type"]:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{found['Type']}'")
    _check_recursive(found)
    return found


def _option(section: dict[str, Any], key: str, value: str) -> None:
    if key in _TEXTS:
        section[_TEXTS[key]] = value
    elif key == "bind-nonrecursive":
        section["NonRecursive"] = _switch(key, value)
    elif key == "bind-recursive":
        if value not in _RECURSIVE:
            raise ValueError(
                f'invalid value for {key}: {value} (must be "enabled", "disabled", "writable", or "readonly")'
            )
        section.update(_RECURSIVE[value])
    elif key == "volume-nocopy":
        section["NoCopy"] = _switch(key, value)
    elif key == "volume-label":
        name, _, text = value.partition("=")
        section.setdefault("Labels", {})[name] = text
    elif key == "volume-driver":
        section.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        name, _, text = value.partition("=")
        section.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = text
    elif key == "tmpfs-size":
        from composer.cli.output.units import parse_size

        try:
            section["SizeBytes"] = parse_size(value)
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    elif key == "tmpfs-mode":
        try:
            section["Mode"] = int(value, 8)
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    else:
        raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _switch(key: str, value: str) -> bool:
    if value.lower() in ("1", "t", "true"):
        return True
    if value.lower() in ("0", "f", "false"):
        return False
    raise ValueError(f"invalid value for {key}: {value}")


def _check_recursive(found: dict[str, Any]) -> None:
    options = found.get("BindOptions", {})
    is_read_only = found.get("ReadOnly", False)
    for field, word in (("ReadOnlyNonRecursive", "writable"), ("ReadOnlyForceRecursive", "readonly")):
        if options.get(field) and not is_read_only:
            raise ValueError(
                f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction"
            )
    if options.get("ReadOnlyForceRecursive") and options.get("Propagation") != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )
