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


def write_long_file(directory: Path, services: int) -> Path:
    """A file such as people write: some 20 lines a service, with variables, healthchecks, limits and dependencies."""
    parts = ["services:\n"]
    for number in range(services):
        before = f"s{number - 1}: {{condition: service_started}}" if number else ""
        parts.append(f"""
  s{number}:
    image: registry.example/team/program:1.{number}
    command: ["program", "--serve", "--port", "80"]
    environment:
      NUMBER: "{number}"
      URL: http://${{HOST:-localhost}}:{8000 + number}/
      TOKEN: ${{TOKEN-none}}
    ports: ["{8000 + number}:80"]
    volumes: ["data{number}:/data", "./conf:/conf:ro"]
    depends_on: {{{before}}}
    healthcheck:
      test: ["CMD", "true"]
      interval: 10s
      timeout: 3s
    deploy:
      resources: {{limits: {{cpus: "0.5", memory: 100M}}}}
    networks: [front, back]
    labels: {{team: a, number: "{number}"}}
    restart: unless-stopped
""")
    parts.append("volumes:\n" + "".join(f"  data{number}: {{}}\n" for number in range(services)))
    parts.append("networks: {front: {}, back: {}}\n")
    directory.mkdir(parents=True)
    (directory / "compose.yaml").write_text("".join(parts), encoding="utf-8")
    return directory
