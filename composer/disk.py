"""The disk as ``composer.compose`` reads it, in the engine and in commands. Imports little."""

from __future__ import annotations

from os.path import exists, isdir


class Disk:
    """A :class:`composer.compose.request.Reader` of the real file system."""

    def read(self, path: str) -> bytes | None:
        """A file's content, None when there is none. Raises ComposerError for one that cannot be read."""
        try:
            with open(path, "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as e:
            from runtime.errors import ComposerError

            raise ComposerError(f"read {path}: {getattr(e, 'strerror', None) or e}") from e

    def is_file(self, path: str) -> bool:
        return exists(path) and not isdir(path)

    def is_dir(self, path: str) -> bool:
        return isdir(path)

    def exists(self, path: str) -> bool:
        return exists(path)
