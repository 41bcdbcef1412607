"""Commands of Docker Compose that composer does not have: they say so, and what to do instead."""

from __future__ import annotations

from composer.cli.arguments import Command

_PUBLISH = "Compose files are not published to registries; keep them beside the code"

COMMANDS = {
    "publish": Command(
        "publish [OPTIONS] REPOSITORY[:TAG]", "Publish the application to a registry", None, refusal=_PUBLISH
    ),
    "watch": Command(
        "watch [SERVICE...]",
        "Update containers when files change",
        None,
        refusal="files are not watched yet; `composer up -d` applies what has changed",
    ),
    "convert": Command(
        "bridge convert",
        "Convert Compose files into another model",
        None,
        refusal="there is no such converter",
    ),
    "transformations": Command(
        "bridge transformations", "List converters", None, refusal="there is no such converter"
    ),
}
