"""Makes the shop's images from Debian's packages and puts them into a registry.

    python3 images.py DIRECTORY              make them, as OCI image layouts in DIRECTORY (about a minute, once)
    python3 images.py DIRECTORY HOST:PORT    and copy them into the registry there

Each image is a base layer that all share and a layer of what it adds. mmdebstrap makes the root file systems,
skopeo copies images.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HERE = Path(__file__).resolve().parent
SUITE = "bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
EPOCH = 1_700_000_000
VERSION = 1
"""Of this program's output: another number makes images that are already there again."""
WITHOUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True)
class Recipe:
    """What an image adds to the base, and how it runs."""

    packages: tuple[str, ...]
    config: dict[str, object]
    files: tuple[tuple[str, str], ...] = ()
    """From (below this directory), to."""
    is_zstd: bool = False


RECIPES: dict[str, Recipe] = {
    "postgres:15": Recipe(
        ("postgresql-15",),
        {
            "Env": [f"PATH=/usr/lib/postgresql/15/bin:{PATH}", "PGDATA=/var/lib/postgresql/data"],
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["postgres", "-c", "listen_addresses=*"],
            "Volumes": {"/var/lib/postgresql/data": {}},
            "ExposedPorts": {"5432/tcp": {}},
            "StopSignal": "SIGINT",
        },
        (("images/postgres-entrypoint", "usr/local/bin/docker-entrypoint.sh"),),
        is_zstd=True,
    ),
    "redis:7": Recipe(
        ("redis-server",),
        {
            "Env": [f"PATH={PATH}"],
            "Cmd": ["redis-server"],
            "WorkingDir": "/data",
            "Volumes": {"/data": {}},
            "ExposedPorts": {"6379/tcp": {}},
        },
    ),
    "shop:1": Recipe(
        ("python3-flask", "python3-waitress", "python3-psycopg", "python3-redis"),
        {
            "Env": [f"PATH={PATH}"],
            "Cmd": ["python3", "web.py"],
            "WorkingDir": "/app",
            "User": "www-data",
            "ExposedPorts": {"8000/tcp": {}},
            "Healthcheck": {
                "Test": [
                    "CMD",
                    "python3",
                    "-c",
                    "import socket; socket.create_connection(('127.0.0.1', 8000))",
                ],
                "Interval": 10_000_000_000,
            },
        },
        (("app/shop.py", "app/shop.py"), ("app/web.py", "app/web.py"), ("app/migrate.py", "app/migrate.py")),
    ),
}


def build(directory: Path) -> dict[str, Path]:
    """Make the images' layouts below ``directory``, those that are not there yet; name to layout."""
    made = {name: directory / _key(name) for name in RECIPES}
    missing = [name for name, layout in made.items() if not (layout / "index.json").exists()]
    if not missing:
        return made
    work = directory / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    base = _root_file_system(work / "base.tar", ())
    listing = {entry.name: identity for entry, identity, _ in _entries(base)}
    for name in missing:
        recipe = RECIPES[name]
        full = _root_file_system(work / "full.tar", recipe.packages)
        layers = [
            _write_layer(work, base, {}, (), False),
            _write_layer(work, full, listing, recipe.files, recipe.is_zstd),
        ]
        _write_layout(work / "layout", name, layers, recipe.config)
        shutil.rmtree(made[name], ignore_errors=True)
        os.rename(work / "layout", made[name])
        print(f"images: made {name}", flush=True)
    shutil.rmtree(work)
    return made


def push(layouts: dict[str, Path], registry: str) -> None:
    """Copy the images into a registry on this machine."""
    for name, layout in layouts.items():
        source, target = f"oci:{layout}:{name.partition(':')[2]}", f"docker://{registry}/{name}"
        command = [
            "skopeo",
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            source,
            target,
        ]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        print(f"images: {registry}/{name}", flush=True)


def _key(name: str) -> str:
    """Of the layout's directory: the name, and a digest of all that goes into it."""
    recipe = RECIPES[name]
    contents = [(HERE / source).read_text() for source, _ in recipe.files]
    parts = repr((VERSION, SUITE, WITHOUT, ARCHITECTURE, recipe, contents))
    return f"{name.replace(':', '-')}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"


def _root_file_system(target: Path, packages: tuple[str, ...]) -> Path:
    """A tar archive of Debian's smallest root with ``packages``."""
    settings = '"$1/etc/postgresql-common"'
    hook = f"mkdir -p {settings}; echo create_main_cluster=false > {settings}/createcluster.conf"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", f"--essential-hook={hook}"]
    command += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT)]
    command += [f"--include={','.join(packages)}"] if packages else []
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C",
    }
    subprocess.run([*command, SUITE, str(target)], check=True, env=environment, stdin=subprocess.DEVNULL)
    return target


def _entries(archive: Path) -> Iterator[tuple[tarfile.TarInfo, tuple[object, ...], bytes]]:
    """Entries with a canonical name, what tells two versions apart, and their content."""
    with tarfile.open(archive) as tar:
        for entry in tar:
            entry.name = entry.name.removeprefix("./").strip("/")
            if not entry.name or entry.name.startswith(
                ("dev/", "var/log/", "var/cache/", "var/lib/apt/lists/")
            ):
                continue
            content = tar.extractfile(entry).read() if entry.isreg() else b""  # type: ignore[union-attr]
            entry.linkname = entry.linkname.removeprefix("./") if entry.islnk() else entry.linkname
            digest = hashlib.sha256(content).digest()
            yield entry, (entry.type, entry.mode, entry.uid, entry.gid, entry.linkname, digest), content


def _write_layer(
    work: Path,
    archive: Path,
    below: dict[str, tuple[object, ...]],
    files: tuple[tuple[str, str], ...],
    is_zstd: bool,
) -> dict[str, str | int]:
    """A layer blob of what ``archive`` has and ``below`` does not (and the other way round), plus ``files``."""
    plain = work / "layer.tar"
    with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as tar:
        seen = set()
        for entry, identity, content in _entries(archive):
            seen.add(entry.name)
            if below.get(entry.name) != identity:
                tar.addfile(entry, io.BytesIO(content))
        for name in sorted(below.keys() - seen):
            if name.rpartition("/")[0] in ("", *seen):
                parent, _, last = name.rpartition("/")
                tar.addfile(tarfile.TarInfo(f"{parent}/.wh.{last}" if parent else f".wh.{last}"))
        for source, target in files:
            entry = tarfile.TarInfo(target)
            data = (HERE / source).read_bytes()
            entry.size, entry.mtime = len(data), EPOCH
            entry.mode = 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(entry, io.BytesIO(data))
    diff_id = _digest(plain)
    packed = work / "layer.packed"
    with open(plain, "rb") as source, open(packed, "wb") as target:
        if is_zstd:
            import zstandard

            zstandard.ZstdCompressor(3).copy_stream(source, target)
        else:
            with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, mtime=EPOCH) as zipped:
                shutil.copyfileobj(source, zipped, 1 << 20)
    digest = _digest(packed)
    blob = work / digest.partition(":")[2]
    os.rename(packed, blob)
    media = f"application/vnd.oci.image.layer.v1.tar+{'zstd' if is_zstd else 'gzip'}"
    return {
        "mediaType": media,
        "digest": digest,
        "size": blob.stat().st_size,
        "diff_id": diff_id,
        "path": str(blob),
    }


def _write_layout(
    layout: Path, name: str, layers: list[dict[str, str | int]], config: dict[str, object]
) -> None:
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    descriptors = []
    for layer in layers:
        shutil.copyfile(str(layer["path"]), blobs / str(layer["digest"]).partition(":")[2])
        descriptors.append({key: layer[key] for key in ("mediaType", "digest", "size")})
    image = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer["diff_id"] for layer in layers]},
        "history": [{"created_by": f"mmdebstrap {SUITE}"}, {"created_by": f"packages and files of {name}"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _write_blob(blobs, image, "application/vnd.oci.image.config.v1+json"),
        "layers": descriptors,
    }
    top = _write_blob(blobs, manifest, "application/vnd.oci.image.manifest.v1+json")
    top["platform"] = {"architecture": ARCHITECTURE, "os": "linux"}
    top["annotations"] = {"org.opencontainers.image.ref.name": name.partition(":")[2]}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))


def _write_blob(blobs: Path, value: object, media_type: str) -> dict[str, object]:
    data = json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _digest(path: Path) -> str:
    file: BinaryIO
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    images = build(Path(sys.argv[1]).resolve())
    if len(sys.argv) == 3:
        push(images, sys.argv[2])
