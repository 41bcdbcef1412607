"""Where everything lives (DESIGN: state that lasts under ``lib``, what a reboot clears under ``run``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LASTING_MODE = 0o700
"""Of ``lib``: what containers write into volumes may be set-user-id, and images secret."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one engine. Names below are computed, nothing is created here."""

    lib: Path
    run: Path

    @classmethod
    def from_environment(cls, env: Mapping[str, str], uid: int) -> Paths:
        """``COMPOSER_ROOT`` moves both; else root has /var/lib and /run, a user the XDG directories."""
        if root := env.get("COMPOSER_ROOT"):
            base = Path(os.path.abspath(root))
            return cls(base / "lib", base / "run")
        if uid == 0:
            return cls(Path("/var/lib/composer"), Path("/run/composer"))
        home = Path(env.get("XDG_DATA_HOME") or Path(env.get("HOME") or "/") / ".local/share")
        run = Path(env.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}")
        return cls(home / "composer", run / "composer")

    @property
    def socket(self) -> Path:
        """The Engine API."""
        return self.run / "engine.sock"

    @property
    def version(self) -> Path:
        """Of the engine that serves."""
        return self.run / "engine.version"

    @property
    def lock(self) -> Path:
        """Held by the keeper as long as it lives."""
        return self.run / "engine.lock"

    @property
    def engine_log(self) -> Path:
        return self.lib / "engine.log"

    @property
    def database(self) -> Path:
        return self.lib / "state.db"

    @property
    def journal(self) -> Path:
        """What is in the database, until reboot."""
        return self.run / "state.journal"

    @property
    def images(self) -> Path:
        return self.lib / "images"

    @property
    def volumes(self) -> Path:
        return self.lib / "volumes"

    def volume(self, name: str) -> Path:
        return self.volumes / name / "_data"

    def container(self, container_id: str) -> Path:
        """Lasting state of one container: ``upper/ work/ log/ status.json records``."""
        return self.lib / "containers" / container_id

    def container_run(self, container_id: str) -> Path:
        """What lasts until reboot: ``launch.json shim.sock hosts resolv.conf hostname secrets/``."""
        return self.run / "containers" / container_id
