"""What a registry's answers mean: statuses and error bodies to Docker's sentences (distribution-spec, "Error
codes"). Pure."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from runtime.errors import ComposerError, NotFound
from runtime.image.manifest import InvalidImage
from runtime.image.naming import DEFAULT_DOMAIN
from runtime.image.reference import Reference

_RETRIED = frozenset((408, 429, 500, 502, 503, 504))
_LONGEST_PAUSE = 30.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


class Unreachable(ComposerError):
    """The registry could not be spoken to, or does not keep to the protocol: another mirror may."""


class AccessDenied(ComposerError):
    """The registry refuses the repository, or hides that it does not exist."""

    status = 404

    @classmethod
    def of(cls, reference: Reference, *, is_write: bool = False, user: str = "") -> AccessDenied:
        """``user``: who is logged in to the registry, "" for nobody."""
        denied = "denied: requested access to the resource is denied"
        server = "" if reference.domain == DEFAULT_DOMAIN else f" {reference.domain}"
        hint = f"Check the name; or log in, nobody is: composer login{server}"
        if user:
            hint = f"{user} is logged in: check the name, and whether that account may do this."
        if is_write:
            return cls(denied, hint=hint, status=403)
        return cls(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may require"
            f" 'composer login': {denied}",
            hint=hint,
        )


class Unauthorized(ComposerError):
    """The registry does not accept a name and password."""

    status = 401


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] | None = None


def is_retried(status: int) -> bool:
    return status in _RETRIED


def retry_after(header: str, now: float) -> float | None:
    """Seconds, bounded; None when nothing (usable) was said. It may be seconds or a date (RFC 9110, 10.2.3); ``now`` is
    in seconds since the epoch."""
    if header.isascii() and header.isdigit():
        return min(float(header[:9]), _LONGEST_PAUSE)
    try:
        moment = parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(moment - now, 0.0), _LONGEST_PAUSE)


def begins_at(response: httpx.Response, offset: int) -> bool:
    """Whether a 206 is the range that was asked for."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return match is not None and int(match[1]) == offset


def describe_failure(status: int, body: bytes, path: str, reference: Reference, name: str) -> ComposerError:
    """The error for a failed request, in Docker's words where it has some."""
    code, message = _first_error(body)
    if status == 404 and code == "NAME_UNKNOWN":
        detail = message or "repository name not known to registry"
        return NotFound(f"repository {reference.name} not found: name unknown: {detail}")
    if status == 404 and "/manifests/" in path:
        detail = message or "manifest unknown"
        return NotFound(f"manifest for {reference.familiar} not found: manifest unknown: {detail}")
    if status == 404:
        return InvalidImage(f"{name} does not have {path.rpartition('/')[2]}: blob unknown", status=404)
    if status == 429:
        return ComposerError(
            f"toomanyrequests: {message or f'{name} limits how often one may pull'}",
            hint="Wait, log in, or configure a mirror.",
            status=429,
        )
    return ComposerError(f"{name} answered with status {status}" + (f": {message}" if message else ""))


def _first_error(body: bytes) -> tuple[str, str]:
    try:
        errors = msgspec.json.decode(body, type=_Errors).errors or []
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return "", ""
    if not errors:
        return "", ""
    return errors[0].code[:80], _CONTROL.sub(" ", errors[0].message)[:300].strip()
