"""A registry that does what real ones do on bad days: it drops connections, says 429 and 500, sends other bytes
than promised, redirects, dawdles, and is particular about tokens. In memory, in threads of the test's process."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_NAME = r"/v2/(?P<name>[a-z0-9/._-]+)"
_ROUTES = {
    "manifest": re.compile(_NAME + r"/manifests/(?P<what>[^/]+)"),
    "uploads": re.compile(_NAME + r"/blobs/uploads/"),
    "upload": re.compile(_NAME + r"/blobs/uploads/(?P<what>[0-9]+)"),
    "blob": re.compile(_NAME + r"/blobs/(?P<what>[a-z0-9]+:[0-9a-f]+)"),
    "tags": re.compile(_NAME + r"/tags/list"),
    "referrers": re.compile(_NAME + r"/referrers/(?P<what>[a-z0-9]+:[0-9a-f]+)"),
}


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that match ``method`` and whose path contains ``path``."""

    path: str = ""
    method: str = ""
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int = -1
    """Close the connection after so many bytes of the body."""
    read_only: int = -1
    """Read so many bytes of the request's body, keep them if it is an upload, and close the connection."""
    corrupt: bool = False
    """Send as many bytes, but others."""
    pause: float = 0.0
    """Seconds before each 64 KiB of the body."""
    stall_after: int = -1
    """Send so many bytes of the body (rounded up to 64 KiB), and then nothing more until the registry ends."""
    waits_for: threading.Event | None = None
    """Before the body, for as long as that takes."""
    ignore_range: bool = False

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and self.path in path and self.method in ("", method)


@dataclass(frozen=True)
class Seen:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body_size: int = 0


class FaultyRegistry:
    """``faults`` are used up from the first; ``seen`` has all requests. ``accounts`` switches basic
    authentication on, and with ``uses_tokens`` bearer tokens instead; ``redirect_blobs_to`` is another registry's
    address that has the blobs."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.owned: set[tuple[str, str]] = set()
        """(repository, digest) of the blobs that a repository may read."""
        self.uploads: dict[str, bytearray] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.accounts: dict[str, str] = {}
        self.uses_tokens = False
        self.tokens: dict[str, list[str]] = {}
        self.redirect_blobs_to = ""
        self.page = 100
        self.has_referrers = False
        self.results: list[dict[str, Any]] | None = None
        """What ``/v1/search`` finds; None: there is no such thing."""
        self.address = ""
        self.lock = threading.Lock()
        self.is_over = threading.Event()

    # What is in it

    def add_blob(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[digest] = data
        self.owned.add((repository, digest))
        return digest

    def add_manifest(self, repository: str, tag: str, document: dict[str, Any]) -> str:
        data = json.dumps(document).encode()
        for name in (tag, digest_of(data)):
            self.manifests[repository, name] = (document["mediaType"], data)
        return digest_of(data)

    def add_image(self, repository: str, tag: str, layers: list[bytes], **config: Any) -> str:
        """An image of uncompressed ``layers``; the digest of its manifest."""
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
            **config,
        }
        data = json.dumps(document).encode()

        def descriptor(kind: str, content: bytes) -> dict[str, Any]:
            return {
                "mediaType": f"application/vnd.oci.image.{kind}",
                "digest": self.add_blob(repository, content),
                "size": len(content),
            }

        return self.add_manifest(
            repository,
            tag,
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor("config.v1+json", data),
                "layers": [descriptor("layer.v1.tar", layer) for layer in layers],
            },
        )

    def count(self, method: str, path: str = "") -> int:
        """How many such requests there were."""
        return sum(request.method == method and path in request.path for request in self.seen)

    def take_fault(self, method: str, path: str) -> Fault:
        with self.lock:
            for fault in self.faults:
                if fault.matches(method, path):
                    fault.times -= 1
                    return fault
        return Fault()

    @contextlib.contextmanager
    def serving(self, context: ssl.SSLContext | None = None) -> Iterator[FaultyRegistry]:
        """Answer on ``address`` (with TLS, given a context) meanwhile."""
        handler = type("Handler", (_Handler,), {"registry": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.is_over.set()
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: FaultyRegistry
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _serve(self) -> None:
        own = self.registry
        self.fault = own.take_fault(self.command, self.path)
        body = self._read_body()
        own.seen.append(Seen(self.command, self.path, dict(self.headers.items()), len(body)))
        if self.fault.status:
            told = b'{"errors": [{"code": "FAULT", "message": "on purpose"}]}'
            self._answer(self.fault.status, told, self.fault.headers)
            return
        if self.fault.read_only >= 0:
            upload = own.uploads.get(urlsplit(self.path).path.rpartition("/")[2])
            if upload is not None:
                upload += body
            self.close_connection = True
            return
        if self.fault.drop_after == 0:
            self.close_connection = True
            return
        path = urlsplit(self.path).path
        if path == "/token":
            self._token()
            return
        if path == "/v1/search" and own.results is not None:
            if self._is_allowed([]):
                self._answer(200, json.dumps({"query": "x", "results": own.results}).encode())
            return
        if path == "/v2/" and self._is_allowed([]):
            self._answer(200)
            return
        for kind, pattern in _ROUTES.items():
            if match := pattern.fullmatch(path):
                name = match["name"]
                action = "pull" if self.command in ("GET", "HEAD") else "push"
                if self._is_allowed([f"repository:{name}:{action}"]):
                    getattr(self, f"_{kind}")(name, match.groupdict().get("what", ""), body)
                return
        if path != "/v2/":
            self._error(404, "NOT_FOUND")

    def _read_body(self) -> bytes:
        if self.fault.read_only >= 0:
            return self.rfile.read(self.fault.read_only)
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    # Answers

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault.corrupt:
            body = bytes(byte ^ 0xFF for byte in body)
        end = len(body) if self.fault.drop_after < 0 else self.fault.drop_after
        if self.fault.waits_for is not None:
            self.fault.waits_for.wait()
        for start in range(0, end, 1 << 16):
            if 0 <= self.fault.stall_after <= start:
                self.wfile.flush()
                self.registry.is_over.wait()
                raise ConnectionAbortedError
            if self.fault.pause:
                time.sleep(self.fault.pause)
            self.wfile.write(body[start : min(start + (1 << 16), end)])
        if end < len(body):
            self.close_connection = True

    def _error(self, status: int, code: str) -> None:
        self._answer(status, json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode())

    # Authentication

    def _account(self) -> str:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return ""
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user if self.registry.accounts.get(user) == password and user else ""

    def _token(self) -> None:
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        if self.headers.get("Authorization") and not self._account():
            self._error(401, "UNAUTHORIZED")
            return
        if not self._account():
            scopes = []
        token = f"token-{len(self.registry.tokens)}"
        self.registry.tokens[token] = scopes
        self._answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    def _is_allowed(self, wanted: list[str]) -> bool:
        own = self.registry
        if not own.accounts:
            return True
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        if own.uses_tokens:
            given = own.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
            granted = {
                f"{scope.rpartition(':')[0]}:{action}"
                for scope in given or ()
                for action in scope.rpartition(":")[2].split(",")
            }
            if given is not None and all(scope in granted for scope in wanted):
                return True
            challenge = f'Bearer realm="{scheme}://{own.address}/token",service="faulty"'
        elif self._account():
            return True
        else:
            challenge = 'Basic realm="faulty"'
        self._answer(
            401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}', {"WWW-Authenticate": challenge}
        )
        return False

    # Content

    def _manifest(self, name: str, what: str, body: bytes) -> None:
        own = self.registry
        if self.command == "PUT":
            document = json.loads(body)
            for part in (document.get("config"), *document.get("layers", ())):
                if part and (name, part["digest"]) not in own.owned:
                    self._error(400, "MANIFEST_BLOB_UNKNOWN")
                    return
            for key in (what, digest_of(body)):
                own.manifests[name, key] = (self.headers["Content-Type"], body)
            told = {"Docker-Content-Digest": digest_of(body)}
            if own.has_referrers and "subject" in document:
                told["OCI-Subject"] = document["subject"]["digest"]
            self._answer(201, b"", told)
            return
        if (name, what) not in own.manifests:
            self._error(404, "MANIFEST_UNKNOWN")
            return
        kind, data = own.manifests[name, what]
        self._answer(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)})

    def _blob(self, name: str, what: str, body: bytes) -> None:
        own = self.registry
        if (name, what) not in own.owned:
            self._error(404, "BLOB_UNKNOWN")
            return
        if own.redirect_blobs_to and self.command == "GET":
            self._answer(307, b"", {"Location": f"{own.redirect_blobs_to}/v2/{name}/blobs/{what}"})
            return
        data = own.blobs[what]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and not self.fault.ignore_range:
            offset = int(start[1])
            told = {"Content-Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"}
            self._answer(206, data[offset:], told)
        else:
            self._answer(200, data, {"Docker-Content-Digest": what})

    def _tags(self, name: str, _: str, body: bytes) -> None:
        tags = sorted(
            tag for repository, tag in self.registry.manifests if repository == name and ":" not in tag
        )
        last = parse_qs(urlsplit(self.path).query).get("last", [""])[0]
        left = [tag for tag in tags if tag > last]
        shown = left[: self.registry.page]
        more = (
            {"Link": f'</v2/{name}/tags/list?last={shown[-1]}>; rel="next"'} if len(left) > len(shown) else {}
        )
        self._answer(200, json.dumps({"name": name, "tags": shown}).encode(), more)

    def _referrers(self, name: str, what: str, body: bytes) -> None:
        if not self.registry.has_referrers:
            self._error(404, "NOT_FOUND")
            return
        found = {}
        for (repository, key), (kind, data) in self.registry.manifests.items():
            document = json.loads(data)
            if repository == name and ":" in key and document.get("subject", {}).get("digest") == what:
                artifact = document.get("artifactType") or document["config"]["mediaType"]
                described = {"mediaType": kind, "digest": key, "size": len(data), "artifactType": artifact}
                found[key] = described | {"annotations": document.get("annotations", {})}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(found.values())}
        self._answer(200, json.dumps(index).encode(), {"Content-Type": INDEX})

    def _uploads(self, name: str, _: str, body: bytes) -> None:
        own = self.registry
        query = parse_qs(urlsplit(self.path).query)
        mounted, source = query.get("mount", [""])[0], query.get("from", [""])[0]
        if mounted and (source, mounted) in own.owned:
            own.owned.add((name, mounted))
            self._answer(201, b"", {"Location": f"/v2/{name}/blobs/{mounted}"})
            return
        with own.lock:
            number = str(len(own.uploads))
            own.uploads[number] = bytearray()
        self._answer(202, b"", {"Location": f"/v2/{name}/blobs/uploads/{number}?state=x"})

    def _upload(self, name: str, number: str, body: bytes) -> None:
        own = self.registry
        if number not in own.uploads:
            self._error(404, "BLOB_UPLOAD_UNKNOWN")
            return
        data = own.uploads[number]
        told = {"Location": f"/v2/{name}/blobs/uploads/{number}?state=x"}
        if self.command in ("PATCH", "PUT"):
            begins = re.match(r"(\d+)-", self.headers.get("Content-Range", ""))
            if begins and int(begins[1]) != len(data):
                self._answer(416, b"", told | {"Range": f"0-{len(data) - 1}"})
                return
            data += body
        if self.command == "PUT":
            wanted = parse_qs(urlsplit(self.path).query).get("digest", [""])[0]
            if digest_of(bytes(data)) != wanted:
                self._error(400, "DIGEST_INVALID")
                return
            own.add_blob(name, bytes(data))
            self._answer(201, b"", {"Location": f"/v2/{name}/blobs/{wanted}"})
            return
        status = 202 if self.command == "PATCH" else 204
        self._answer(status, b"", told | {"Range": f"0-{max(0, len(data) - 1)}"})
