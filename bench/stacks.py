"""The Compose files that are measured."""

from __future__ import annotations

from pathlib import Path

IMAGE = "bench/busybox:latest"


def write_stack(directory: Path, services: int) -> Path:
    """A project of ``services`` services with one sleeping process each; its directory."""
    lines = ["services:"]
    for number in range(1, services + 1):
        lines += [
            f"  s{number}:",
            f"    image: {IMAGE}",
            "    command: [sleep, infinity]",
            "    init: false",
            "    stop_grace_period: 0s",
        ]
    directory.mkdir(parents=True)
    (directory / "compose.yaml").write_text("\n".join(lines) + "\n", encoding="ascii")
    return directory


def write_chatter(directory: Path, lines: int) -> Path:
    """A project whose one service writes ``lines`` lines of 80 bytes and ends."""
    directory.mkdir(parents=True)
    (directory / "compose.yaml").write_text(
        "services:\n"
        "  chatter:\n"
        f"    image: {IMAGE}\n"
        f'    command: [sh, -c, "yes {"x" * 79} | head -n {lines}"]\n',
        encoding="ascii",
    )
    return directory
