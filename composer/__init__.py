"""Docker Compose without Docker."""

from __future__ import annotations

__version__ = "0.1.0"
