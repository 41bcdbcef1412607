"""The embedded image ``composer.local/host``: this machine's own userland, read-only, without its secrets.

It has two parts. A small layer, made here, is the root directory: links or mount points for /usr, /bin and
the like, the few files of /etc that programs need, empty /var, /tmp, /root. Over it the engine mounts
``Image.binds`` read-only: /usr (and, where they are not links into it, /bin, /sbin, /lib*), and the prefix of
the running Python. Binds rather than lower directories, because overlayfs does not show what is mounted
inside of a lower directory, cannot put a directory elsewhere than where it is, and may not be stacked on a
host whose root is deeply stacked itself (CI containers).

Of /etc only files are taken that everybody on the machine may read. Accounts are the system's own (ids below
1000) without passwords, comments, and shells.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.container.config import ImageConfig
from runtime.errors import ComposerError
from runtime.image.digest import Digest
from runtime.image.model import Image
from runtime.image.platform import Platform
from runtime.storage.files import TEMPORARY_PREFIX, read_regular, storage_error
from runtime.storage.removal import remove_tree

REFERENCE = "composer.local/host:latest"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USERLAND = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32")
_CONFIGURATION = (
    "alternatives",
    "bash.bashrc",
    "ca-certificates.conf",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "libnl",
    "localtime",
    "lsb-release",
    "magic",
    "magic.mime",
    "mime.types",
    "netconfig",
    "os-release",
    "perl",
    "pki/ca-trust/extracted",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "protocols",
    "python3",
    "python3.*",
    "redhat-release",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
"""Below /etc: what programs need to run, nothing that says how this machine is set up."""
_FILE_LIMIT = 8 << 20
_FILES_LIMIT = 20_000
_ACCOUNTS = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
games:x:5:60:games:/usr/games:/usr/sbin/nologin
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUPS = """root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
man:x:12:
audio:x:29:
www-data:x:33:
utmp:x:43:
video:x:44:
staff:x:50:
games:x:60:
users:x:100:
nogroup:x:65534:
"""
_DIRECTORIES: tuple[tuple[str, int], ...] = (
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
)


@dataclass(frozen=True, slots=True)
class _Item:
    """One file or link of the layer: its path, and what is (to be) there."""

    path: str
    link: str = ""
    source: str = ""
    content: bytes = b""


def python_prefixes() -> tuple[str, ...]:
    """Where the running Python and what it imports are, outermost first: its environment and its
    installation."""
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable) or sys.executable)
    candidates = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    candidates += [os.path.realpath(path) for path in candidates]
    candidates.append(os.path.dirname(os.path.dirname(executable)))
    found: list[str] = []
    for path in sorted({os.path.abspath(path) for path in candidates}, key=len):
        inside = any(path == other or path.startswith(other + "/") for other in ("/usr", *found))
        if path != "/" and not inside and os.path.isdir(path):
            found.append(path)
    return tuple(found)


def host_image(root: Path, platform: Platform) -> Image:
    """The embedded image, its layer made below ``root`` unless it is there already (as it is now on the
    host).

    Its id does not depend on the machine's state: a container made from it goes on to exist when the machine
    is updated, and sees the update when it starts next. Raises ComposerError when the layer cannot be
    written.
    """
    prefixes = python_prefixes()
    binds = _binds(prefixes)
    items = list(_items())
    layer = root / _fingerprint(items, binds) / "diff"
    if not layer.is_dir():
        _make(root, layer.parent, items, binds)
    path = ":".join([f"{sys.prefix}/bin"] * (sys.prefix != "/usr") + [_PATH])
    config = ImageConfig(env=(f"PATH={path}",), cmd=("/bin/sh",), working_dir="/")
    return Image(
        id=str(Digest.of(REFERENCE.encode())),
        config=config,
        layers=(layer,),
        tags=(REFERENCE,),
        os=platform.os,
        architecture=platform.architecture,
        variant=platform.variant,
        comment="The userland of this machine, read-only",
        binds=binds,
        is_embedded=True,
    )


def discard_stale(root: Path, image: Image) -> None:
    """Delete the layers of earlier states of the machine. Blocking; only when no container runs from the
    image."""
    current = image.layers[0].parent.name
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(root):
            if name != current:
                remove_tree(root / name)


def _binds(prefixes: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    directories = [
        f"/{name}" for name in _USERLAND if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}")
    ]
    return tuple((path, path) for path in ("/usr", *directories, *prefixes))


def _items() -> Iterator[_Item]:
    for name in _USERLAND:
        if os.path.islink(f"/{name}"):
            yield _Item(name, link=os.readlink(f"/{name}"))
    yield _Item("var/run", link="/run")
    yield _Item("var/lock", link="/run/lock")
    yield _Item("etc/mtab", link="/proc/mounts")
    yield _Item("etc/passwd", content=_accounts("/etc/passwd", _ACCOUNTS, 7, _clean_account))
    yield _Item("etc/group", content=_accounts("/etc/group", _GROUPS, 4, _clean_group))
    yield _Item(
        "etc/nsswitch.conf",
        content=b"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
        b"networks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n",
    )
    seen = 0
    for pattern in _CONFIGURATION:
        for path in sorted(Path("/etc").glob(pattern)):
            for item in _walk(path):
                seen += 1
                if seen > _FILES_LIMIT:
                    return
                yield item


def _walk(path: Path) -> Iterator[_Item]:
    """Files and links at or below a path of /etc, those that everybody may read."""
    try:
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            link = os.readlink(path)
            if "resolv" not in link and not link.startswith(("/root", "/home")):
                yield _Item(str(path)[1:], link=link)
        elif stat.S_ISREG(info.st_mode):
            if info.st_mode & 0o004 and info.st_size <= _FILE_LIMIT:
                yield _Item(
                    str(path)[1:], source=f"{path}:{info.st_mtime_ns}:{info.st_size}:{info.st_mode & 0o111}"
                )
        elif stat.S_ISDIR(info.st_mode) and info.st_mode & 0o005 == 0o005:
            for child in sorted(path.iterdir()):
                yield from _walk(child)
    except OSError:
        return


def _accounts(path: str, base: str, fields: int, clean: Callable[[list[str]], list[str]]) -> bytes:
    """``base`` and the system's own entries (ids 1 to 999) of the host's file whose name and id are not
    taken."""
    lines = base.splitlines()
    names = {line.split(":")[0] for line in lines}
    ids = {line.split(":")[2] for line in lines}
    with contextlib.suppress(OSError, ComposerError):
        for raw in read_regular(os.path.realpath(path), limit=1 << 20).decode(errors="replace").splitlines():
            parts = raw.split(":")
            if len(parts) != fields or parts[0] in names or parts[2] in ids:
                continue
            if (
                parts[0].isascii()
                and parts[0].isprintable()
                and parts[2].isdigit()
                and 0 < int(parts[2]) < 1000
            ):
                names.add(parts[0])
                ids.add(parts[2])
                lines.append(":".join(clean(parts)))
    return ("\n".join(lines) + "\n").encode()


def _clean_account(parts: list[str]) -> list[str]:
    name, _, uid, gid, _, home, _ = parts
    return [name, "x", uid, gid if gid.isdigit() else "65534", "", home, "/usr/sbin/nologin"]


def _clean_group(parts: list[str]) -> list[str]:
    name, _, gid, members = parts
    return [name, "x", gid, members if name == "ssl-cert" else ""]


def _fingerprint(items: list[_Item], binds: tuple[tuple[str, str], ...]) -> str:
    text = repr((items, binds, _DIRECTORIES)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text, usedforsecurity=False).hexdigest()[:16]


def _make(root: Path, target: Path, items: list[_Item], binds: tuple[tuple[str, str], ...]) -> None:
    temporary = root / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        diff = temporary / "diff"
        diff.mkdir(parents=True)
        os.chmod(diff, 0o755)
        for name, mode in _DIRECTORIES:
            (diff / name).mkdir()
            os.chmod(diff / name, mode)
        for _, place in binds:
            _directory(diff / place[1:])
        for item in items:
            path = diff / item.path
            _directory(path.parent)
            if item.link:
                path.symlink_to(item.link)
                continue
            executable = False
            if item.source:
                source, _, _, mode_text = item.source.rsplit(":", 3)
                executable = mode_text != "0"
                with contextlib.suppress(OSError, ComposerError):
                    path.write_bytes(read_regular(source, limit=_FILE_LIMIT))
            else:
                path.write_bytes(item.content)
            if path.exists():
                os.chmod(path, 0o755 if executable else 0o644)
        os.rename(temporary, target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.is_dir():
            return
        raise storage_error(error, "make the host image in", root) from error


def _directory(path: Path) -> None:
    """Make a directory and its parents, 0755 whatever the umask is."""
    if path.is_dir():
        return
    _directory(path.parent)
    path.mkdir()
    os.chmod(path, 0o755)
