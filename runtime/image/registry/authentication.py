"""What a registry wants before it answers: challenges and tokens (distribution-spec, "token authentication").
Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from runtime.errors import ComposerError

_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))')


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Of one registry. Never shown."""

    username: str
    password: str
    identity_token: str = ""
    """What a registry gave at a login instead: exchanged for short tokens, no password goes out."""


CredentialSource = Callable[[str], Credentials | None]
"""From a registry's domain to what one is there; may block. Raises ComposerError when it cannot tell."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A parsed ``WWW-Authenticate``."""

    scheme: str
    parameters: tuple[tuple[str, str], ...]

    def parameter(self, name: str) -> str:
        return dict(self.parameters).get(name, "")


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a ``WWW-Authenticate`` header (RFC 9110, 11.6.1)."""
    found: list[Challenge] = []
    for part in re.split(r",?\s*(?=\b(?:Bearer|Basic)\b\s)", header[:8192] + " ", flags=re.IGNORECASE):
        scheme, _, rest = part.strip().partition(" ")
        if scheme.lower() in ("bearer", "basic"):
            pairs = tuple((m[1].lower(), m[2] if m[3] is None else m[3]) for m in _PARAMETER.finditer(rest))
            found.append(Challenge(scheme.lower(), pairs))
    return found


def pull_scope(repository: str) -> str:
    """What a token must allow for reading a repository."""
    return f"repository:{repository}:pull"


def push_scope(repository: str) -> str:
    """What a token must allow for writing to a repository."""
    return f"repository:{repository}:pull,push"


def token_url(challenge: Challenge, scopes: Sequence[str], registry_url: str) -> str:
    """Where to get a token that allows ``scopes``.

    Raises ComposerError when it would send credentials in the clear: the realm must be https unless the
    registry itself is not.
    """
    realm = challenge.parameter("realm")
    try:
        parts = urlsplit(realm)
        _ = parts.port
    except ValueError:
        raise ComposerError("the registry asks for a token from an invalid address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ComposerError("the registry asks for a token from an invalid address")
    if parts.scheme == "http" and urlsplit(registry_url).scheme == "https":
        raise ComposerError(f"the registry asks for a token from {parts.hostname} without TLS")
    query = [("scope", scope) for scope in scopes if scope]
    if service := challenge.parameter("service"):
        query.insert(0, ("service", service))
    return realm + ("&" if parts.query else "?") + urlencode(query)


def refresh_form(url: str, identity_token: str) -> tuple[str, bytes]:
    """The request that exchanges an identity token for a token, from the URL that a password would go to
    (distribution's "OAuth2 token" specification): address and form."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query)
    form = [(name, value) for name, value in query if name == "service"]
    form.append(("scope", " ".join(value for name, value in query if name == "scope")))
    form += [("grant_type", "refresh_token"), ("client_id", "composer"), ("refresh_token", identity_token)]
    kept = [(name, value) for name, value in query if name not in ("service", "scope")]
    return urlunsplit(parts._replace(query=urlencode(kept))), urlencode(form).encode()


def basic(credentials: Credentials) -> str:
    """The value of an ``Authorization`` header."""
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    value: str
    expires_in: float
    """Seconds; 60 when the server does not say."""


class _Answer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float = 60


def parse_token(data: bytes) -> Token:
    """The answer of a token server. Raises ComposerError."""
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise ComposerError("the registry's token server gave an invalid answer") from None
    value = answer.token or answer.access_token
    if not value or not value.isascii() or not value.isprintable():
        raise ComposerError("the registry's token server gave no token")
    return Token(value, min(max(answer.expires_in, 10), 3600))


def join(base: str, location: str, name: str) -> str:
    """Where ``location``, sent by the registry ``name``, leads from ``base``. Raises ComposerError when it is no
    address."""
    try:
        url = urljoin(base, location)
        _ = urlsplit(url).port
    except ValueError:
        raise ComposerError(f"{name} redirects to an invalid address") from None
    return url


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have scheme, host and port in common: only then does a redirect keep Authorization."""
    a, b = urlsplit(one), urlsplit(other)
    default = {"http": 80, "https": 443}
    return (a.scheme, a.hostname, a.port or default.get(a.scheme)) == (
        b.scheme,
        b.hostname,
        b.port or default.get(b.scheme),
    )
