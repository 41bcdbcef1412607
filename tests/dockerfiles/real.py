"""Dockerfiles as people write them, built by Docker (DOCKER_HOST, BuildKit through Docker Compose) and by composer from
the same packages: ``python -m tests.dockerfiles.real COMPOSE_COMMAND [--certificates FILE] [--case NAME] [--turns N]``.

Needs package archives that steps can reach, and ``debian:bookworm`` in both stores, so no test does it: packages change
from day to day, and what is compared is what both got on the same day. What programs in steps write differently each
time (times in logs, caches and compiled Python) is listed, not compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.dockerfiles.images import describe

_BASE = "debian:bookworm"
_APT = "apt-get update && apt-get install -y --no-install-recommends"
_CLEAN = "rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin"

CASES = {
    "apt": f"""FROM {_BASE}
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
RUN {_APT} \\
        ca-certificates curl less tini \\
    && {_CLEAN}
RUN groupadd -g 990 app && useradd -r -u 990 -g app -d /srv/app -s /usr/sbin/nologin app \\
    && install -d -o app -g app -m 2775 /srv/app/data
WORKDIR /srv/app
COPY --chown=app:app app.py ./
COPY --chmod=0755 entry /usr/local/bin/
USER app
VOLUME /srv/app/data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD curl -f http://localhost:8000/ || exit 1
ENTRYPOINT ["tini", "--", "entry"]
CMD ["sh", "-c", "exec sleep infinity"]
""",
    "python": f"""ARG BASE={_BASE}
FROM $BASE AS build
ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PIP_CERT=/etc/ca.crt
RUN {_APT} python3 python3-venv ca-certificates && {_CLEAN}
COPY ca.crt /etc/ca.crt
RUN cat /etc/ssl/certs/ca-certificates.crt >> /etc/ca.crt
RUN python3 -m venv --without-pip /venv
COPY requirements.txt .
RUN --mount=type=cache,target=/tmp/wheels \\
    python3 -m venv /pip && /pip/bin/pip --python /venv/bin/python install --no-compile -r requirements.txt
FROM $BASE
RUN {_APT} python3 && {_CLEAN}
COPY --from=build /venv /venv
COPY app.py /app/
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
RUN python -c 'import flask'
STOPSIGNAL SIGINT
CMD ["python", "app.py"]
""",
    "node": f"""FROM {_BASE} AS deps
RUN {_APT} nodejs && {_CLEAN}
COPY npm /opt/npm
COPY ca.crt /etc/ca.crt
ENV NODE_EXTRA_CA_CERTS=/etc/ca.crt NODE_ENV=production
WORKDIR /app
COPY package.json ./
RUN --mount=type=cache,target=/root/.npm \\
    node /opt/npm/bin/npm-cli.js install --omit=dev --no-audit --no-fund --no-update-notifier
FROM deps AS test
RUN node -e 'require("express")'
FROM {_BASE}
RUN {_APT} nodejs && {_CLEAN} && useradd -m node
WORKDIR /app
COPY --from=deps --chown=node:node /app/node_modules ./node_modules
COPY --from=test /app/package.json ./
COPY server.js .
USER node
EXPOSE 3000/tcp
CMD [ "node", "server.js" ]
""",
    "static": f"""FROM {_BASE} AS build
RUN {_APT} gcc libc6-dev && {_CLEAN}
WORKDIR /src
COPY main.c ./
ARG VERSION=dev
RUN --mount=type=cache,target=/root/.cache \\
    --mount=type=bind,source=main.c,target=/bound.c,ro \\
    gcc -static -Os -Wl,--build-id=none -DVERSION="\\"$VERSION\\"" -o /out/main /bound.c || \\
    (mkdir -p /out && gcc -static -Os -Wl,--build-id=none -DVERSION="\\"$VERSION\\"" -o /out/main /bound.c)
RUN /out/main > /out/said && echo 'nobody:x:65534:65534::/:' > /out/passwd
FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.version=$VERSION
COPY --from=build /out/passwd /etc/passwd
COPY --from=build --chmod=555 /out/main /main
USER 65534:65534
ENTRYPOINT ["/main"]
""",
}
FILES = {
    "entry": '#!/bin/sh\nexec "$@"\n',
    "app.py": "import flask\napp = flask.Flask(__name__)\n",
    "requirements.txt": "flask==3.0.3\n",
    "package.json": json.dumps({"name": "app", "version": "1.0.0", "dependencies": {"express": "4.19.2"}}),
    "server.js": "require('express')().listen(3000)\n",
    "main.c": "#include <stdio.h>\nint main(void) { puts(VERSION); return 0; }\n",
    "ca.crt": "",
}
VARYING = (
    (r"var/log/.*", "times"),
    (r"var/cache/ldconfig/aux-cache", "times of files"),
    (r".*\.pyc", "times of files that pip made"),
    (r".*/\.package-lock\.json", "times of npm"),
    (r"var/cache/(debconf|apt)/.*", "a hash's order"),
    (r"var/lib/dpkg/(info/format|status-old|lock.*)", "times"),
    (r"etc/(passwd|group|shadow|gshadow)-?", "the day of the last change"),
)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("compose")
    parser.add_argument("--certificates")
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--turns", type=int, default=1, help="how often each builds, one after the other")
    asked = parser.parse_args()
    is_different = False
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name, text in FILES.items():
            (root / name).write_text(text)
        if asked.certificates:
            shutil.copy(asked.certificates, root / "ca.crt")
        npm = Path("/usr/lib/node_modules/npm")
        if npm.is_dir():
            shutil.copytree(npm, root / "npm", symlinks=True)
        for name in asked.case or CASES:
            (root / "Dockerfile").write_text(CASES[name])
            image = f"composer-real-{name}"
            build = {"context": ".", "network": "host", "entitlements": ["network.host"]}
            (root / "compose.yaml").write_text(
                json.dumps({"services": {name: {"image": image, "build": build}}})
            )
            for _ in range(asked.turns):
                theirs_took = _run([asked.compose, "build", "-q", "--no-cache"], root, COMPOSE_BAKE="false")
                took = _run([sys.executable, "-m", "composer", "build", "-q", "--no-cache"], root)
                print(f"{name}: {theirs_took:.1f} s by Docker, {took:.1f} s by composer", flush=True)
            _run(["docker", "save", "-o", "docker.tar", image], root)
            _run([sys.executable, "-m", "composer", "image", "save", "-o", "composer.tar", image], root)
            theirs, ours = (describe(root / f"{who}.tar") for who in ("docker", "composer"))
            is_different = _compare(name, theirs, ours) or is_different
    return int(is_different)


def _run(words: list[str], cwd: Path, **env: str) -> float:
    """Seconds that it took."""
    started = time.monotonic()
    done = subprocess.run(words, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.monotonic() - started


def _compare(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Print what is different; whether anything is that should not be."""
    if theirs["config"] != ours["config"]:
        print(f"{name}: configuration\n  Docker   {theirs['config']}\n  composer {ours['config']}")
    before, after = theirs["tree"], ours["tree"]
    paths = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    varying = [
        path
        for path in paths
        if path in before
        and path in after
        and before[path][:4] == after[path][:4]
        and any(re.fullmatch(pattern, path) for pattern, _ in VARYING)
    ]
    wrong = [path for path in paths if path not in varying]
    for path in wrong[:40]:
        print(f"{name}: {path}\n  Docker   {before.get(path)}\n  composer {after.get(path)}")
    same = len(before.keys() & after.keys()) - len(paths)
    print(f"{name}: {same} the same, {len(varying)} vary by themselves, {len(wrong)} different: {varying}")
    return bool(wrong) or theirs["config"] != ours["config"]


if __name__ == "__main__":
    sys.exit(main())
