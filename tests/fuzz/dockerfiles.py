"""Feed mutated Dockerfiles to the builder's frontend and solver: whatever they are, they become steps with keys or are
refused, in time, and what is told can be sent.

    python -m tests.fuzz.dockerfiles [--seconds 300] [--seed N]

Seeds are the cases that Docker has built. What is printed for a finding is the file and the seed to see it again; the
exit status is then 1.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path

from runtime.build.frontend.checks.check import check_dockerfile, unused_arguments
from runtime.build.frontend.convert import Asked, Base, convert, images_needed
from runtime.build.frontend.devices import parse_device
from runtime.build.frontend.stages import parse_dockerfile, platform_arguments
from runtime.build.ignore import keep_all, parse_ignore
from runtime.build.solver.graph import in_order, step_graph
from runtime.build.solver.keys import chain_key, digest
from runtime.build.steps import LayerStep, Selection, Step
from runtime.container.config import ImageConfig
from runtime.errors import ComposerError
from tests.fuzz.compose_files import LIMIT, mutate, too_slow

DATA = Path(__file__).parent.parent / "dockerfiles"
WORDS = """
    FROM AS scratch COPY ADD RUN ENV ARG LABEL CMD ENTRYPOINT SHELL USER WORKDIR VOLUME EXPOSE STOPSIGNAL HEALTHCHECK
    ONBUILD MAINTAINER --from= --chown=1:2 --chmod=u=rwX --link --parents --exclude=!x --mount=type=cache,target=/c
    --mount=type=bind,from=a,target=. --network=host --security=insecure --device=a.b/c=* --platform=$X --checksum=
    --keep-git-dir --unpack=no <<EOF <<-'EOF' EOF 3<<"E" ${A:-${B}} ${A//b/c} ${A#*x} ${A%%y} ${A?gone} ${ $ \\ ` "
    ' [ ] ["a","b"] [1] {} https://x/y.git#r:d git@h:p http://x/y # escape=` # check=error=true # syntax=x ; && | *
    ** [a- ? .. ../../etc /./ \ufeff \u2028 \udcff é 99999999999999999999 -1 0 1-65535/udp 80:80 NONE 1h 1ms
""".split()
_FIRST = re.compile(r"\S+")


def build(text: str) -> str:
    """All that is done with a Dockerfile before anything is done; how it ended, for the statistics."""
    arguments = {"A": "1", "HTTP_PROXY": "x"}
    platform = platform_arguments("linux/arm64/v8", "linux/amd64")
    try:
        file = parse_dockerfile(text, arguments, platform, "Dockerfile")
        asked = Asked(
            arguments=arguments, platform=platform, contexts={"named": "/n"}, allow=("network.host",)
        )
        config = ImageConfig(env=("PATH=/bin", "B=2"), cmd=("x",), working_dir="/w")
        images = images_needed(file, "", asked)
        bases = {
            (image.reference, image.platform): Base(config=config, on_build=("ENV O=1", "COPY . /o"))
            for image in images
        }
        results = convert(file, "", asked, bases)
        told = check_dockerfile(
            file, arguments, platform, {image.reference: config for image in images}, keep_all
        )
        json.dumps([str(finding) for finding in told]).encode()
        unused_arguments(file, arguments, platform)
        keys: dict[Step, str] = {}
        contents: dict[Selection, str] = {}
        for step in in_order(step_graph([result.step for result in results if result.step is not None])):
            if isinstance(step, LayerStep):
                contents |= dict.fromkeys(step.selections, "")
            keys[step] = chain_key(step, keys, contents) if isinstance(step, LayerStep) else digest(step.text)
            step.title.encode("utf-8", "surrogateescape")
    except ComposerError as error:
        error.message.encode("utf-8", "surrogateescape")
        return "refused"
    return "built"


def others(text: str) -> None:
    """The same words where other things are expected."""
    try:
        parse_ignore(text)("some/path/of/a/file")
    except ComposerError:
        pass
    try:
        parse_device((_FIRST.search(text) or [""])[0])
    except ValueError:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    seeds: list[str] = list(json.loads((DATA / "cases.json").read_text()).values())
    seeds += [case["dockerfile"] for case in json.loads((DATA / "documented.json").read_text()).values()]
    signal.signal(signal.SIGVTALRM, too_slow)
    build("FROM scratch\nADD a /\n")  # what is imported only when it is needed is here then
    end = time.monotonic() + given.seconds
    counts = {"built": 0, "refused": 0}
    number = given.seed
    while time.monotonic() < end:
        dice = random.Random(number)
        text = mutate(dice.choice(seeds), dice.choice(seeds), dice, WORDS)
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
        try:
            counts[build(text)] += 1
            others(text)
        except Exception:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            traceback.print_exc()
            print(f"\n{text!r}\nseed {number}", file=sys.stderr)
            return 1
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        number += 1
    print(
        f"{number - given.seed} files in {given.seconds:g} s: {counts['built']} built, {counts['refused']} refused"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
