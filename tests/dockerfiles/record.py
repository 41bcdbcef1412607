"""Record what Docker (DOCKER_HOST, BuildKit through Docker Compose) makes of the cases: ``python -m
tests.dockerfiles.record COMPOSE_COMMAND``. An image that Docker refuses to build is recorded as null. What cases with
RUN are built on is to be there as ``composer-base``, of one layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.dockerfiles.images import describe, make_context, skipped_layers

HERE = Path(__file__).parent


def main() -> None:
    cases = json.loads((HERE / "cases.json").read_text())
    env = {**os.environ, "COMPOSE_BAKE": "false"}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "context").mkdir()
        make_context(root / "context")

        def record(name: str) -> dict[str, Any] | None:
            image = f"composer-case-{name}"
            (root / f"{name}.Dockerfile").write_text(cases[name], newline="")
            build = {"context": "context", "dockerfile": f"../{name}.Dockerfile", "network": "none"}
            file = root / f"{name}.yaml"
            file.write_text(json.dumps({"services": {name: {"image": image, "build": build}}}))
            done = subprocess.run(
                [sys.argv[1], "-f", file, "build", "-q"], env=env, capture_output=True, text=True
            )
            if done.returncode:
                print(name, done.stderr[-200:], file=sys.stderr)
                return None
            subprocess.run(["docker", "save", "-o", root / f"{name}.tar", image], check=True)
            subprocess.run(["docker", "rmi", "-f", image], check=True, capture_output=True)
            return describe(root / f"{name}.tar", skipped=skipped_layers(cases[name]))

        # Cases that are recorded already are taken as they are: remove one from expected.json to record it again.
        known = json.loads((HERE / "expected.json").read_text())
        new = [name for name in cases if name not in known]
        with ThreadPoolExecutor(3) as pool:
            found = {**known, **dict(zip(new, pool.map(record, new), strict=True))}
    (HERE / "expected.json").write_text(
        "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n"
    )


if __name__ == "__main__":
    main()
