"""Errors of ``config --format json``: for editors."""

from __future__ import annotations

import json

from runtime.errors import ComposerError


def to_json(error: ComposerError) -> str:
    """One JSON document: ``{"errors": [{"message", "hint", "locations": [...]}]}``."""
    errors = getattr(error, "errors", ()) or (error,)
    document = {
        "errors": [
            {
                "message": e.message,
                "hint": e.hint,
                "locations": [
                    {"file": p.file, "line": p.line, "column": p.column, "path": p.path} for p in e.locations
                ],
            }
            for e in errors
        ]
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
