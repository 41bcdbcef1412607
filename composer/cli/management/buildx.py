"""``buildx``: what people who build with Docker type. It is the same builder as ``builder``'s and ``image build``'s."""

from __future__ import annotations

from composer.cli.management.builder import DU, PRUNE, command
from composer.cli.management.builder_unavailable import unavailable
from composer.cli.management.image_build import build_command

COMMANDS = {
    "build": build_command("buildx"),
    "du": command("buildx", DU),
    "prune": command("buildx", PRUNE),
    **unavailable("buildx"),
}
