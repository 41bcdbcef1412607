"""Commands of Docker's builder that composer does not have: they say so, and what to do instead."""

from __future__ import annotations

from composer.cli.arguments import Command

_ONE = "there is one builder, the engine's, and it needs no care: `composer builder du` shows what it keeps"
_WHY = {
    "bake": ("Build from a file", "put the targets into a Compose file: `composer build` builds them side by side"),
    "create": ("Create a builder instance", _ONE),
    "dap": ("Start a debug adapter", "`composer image build --debug` opens a shell in a step that fails"),
    "dial-stdio": ("Proxy to the builder's API", "the engine's socket speaks the Docker Engine API"),
    "history": ("Look at past builds", "builds are not recorded; `composer image history` shows an image's steps"),
    "imagetools": ("Look at images in registries", "it is `composer imagetools`"),
    "inspect": ("Inspect a builder instance", _ONE),
    "install": ("Make buildx the builder", _ONE),
    "rm": ("Remove a builder instance", _ONE),
    "stop": ("Stop a builder instance", _ONE),
    "uninstall": ("Do not make buildx the builder", _ONE),
    "use": ("Choose a builder instance", _ONE),
    "version": ("Show the version", "it is `composer version`"),
}  # fmt: skip


def unavailable(family: str) -> dict[str, Command]:
    """They, as parts of a family. ``ls`` is about the cache for ``builder``, and about instances for ``buildx``."""
    why = _WHY if family == "builder" else {**_WHY, "ls": ("List builder instances", _ONE)}
    return {
        name: Command(f"{family} {name}", summary, None, refusal=refusal)
        for name, (summary, refusal) in why.items()
    }
