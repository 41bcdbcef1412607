"""What is wrong with instructions, all of it at once and with its place."""

from __future__ import annotations

import pytest

from runtime.build.frontend.lines import DockerfileError
from runtime.build.frontend.stages import parse_dockerfile


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("CMD --x=1 y", "unknown flag: --x (CMD has no flags)"),
        ("COPY --form=a b c", "unknown flag: --form (did you mean --from?)"),
        ("COPY --from=a --from=b b c", "duplicate flag specified: --from"),
        ("COPY --from b c", "missing a value on flag: --from"),
        ("COPY --link=perhaps b c", "expecting boolean value for flag link, not: perhaps"),
        ("COPY --from=$X b c", "'from' doesn't support variable expansion"),
        ("COPY --from=0 b c", "invalid stage index, there are 0 before"),
        ("COPY --from=me b c", "circular dependency detected on stage: me"),
        ("COPY b", "COPY requires at least two arguments"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("RUN [1]", "arrays must be comprised of strings only"),
        ("RUN --network=none2 x", "invalid network mode: 'none2'"),
        ("RUN --security=no x", "security 'no' is not valid"),
        ("RUN --device=gpu x", "invalid device 'gpu'"),
        ("RUN --mount=type=cahce,target=/x x", "unsupported mount type 'cahce' (did you mean cache?)"),
        ("RUN --mount=type=tmpfs,target=/x,id=y x", "unexpected key 'id' for mount type 'tmpfs'"),
        ("RUN --mount=tpye=bind,target=/x x", "unexpected key 'tpye'"),
        ("RUN --mount=type=cache x", "needs a target"),
        ("RUN --mount=type=cache,target=/x,sharing=y x", "unsupported sharing value 'y'"),
        ("RUN --mount=type=bind,from=$a,target=/x x", "'from' doesn't support variable expansion"),
        ("ENV A", "ENV must have two arguments"),
        ("LABEL a=b c", "can't find = in 'c'"),
        ("ENV =b", "ENV names can not be blank"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =a", "ARG names can not be blank"),
        ("SHELL sh", "SHELL requires the arguments to be in JSON form"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("HEALTHCHECK nope", "Unknown type 'nope' in HEALTHCHECK (try CMD)"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=1us CMD x", "Interval 'interval' cannot be less than 1ms"),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries must be a number"),
        ("HEALTHCHECK --start-interval=x CMD x", "'x' is no duration"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD RUNN x", "unknown instruction: RUNN"),
        ("FROM a as 1b", "invalid name for build stage: '1b'"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM --platfrom=x a", "unknown flag: --platfrom (did you mean --platform?)"),
        ("FROM $none", "base name ($none) should not be blank"),
    ],
)
def test_mistakes(text: str, told: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(f"FROM scratch AS me\n{text}\n", {}, {})
    first, _, rest = caught.value.message.partition("\n")
    assert told in first
    assert first.startswith("Dockerfile:2:")
    assert rest.startswith(f"2 | {text}\n    ")


def test_all_mistakes_are_told_in_the_order_of_the_file() -> None:
    text = "ENV X\nFROM a\nCOPY one\nFROOM\nRUN \\\n  --mount=type=x \\\n  y\nFROM b c\n"
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(text, {}, {})
    places = [line for line in caught.value.message.split("\n") if line.startswith("Dockerfile:")]
    assert [place.split(":")[1:3] for place in places] == [
        ["1", "5"],
        ["3", "1"],
        ["4", "1"],
        ["6", "3"],
        ["8", "6"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "COPY --link --chmod=u=rwX,go=rX --chown=a:b --exclude=*.x --exclude=y --parents a b /c/",
        "ADD --checksum=sha256:a --keep-git-dir=true --unpack=false https://x/y /z",
        "RUN --mount=type=bind,rw,target=/x --mount=type=cache,target=$X,id=y --network=none x",
        'RUN ["a"]',
        "RUN [ -f x ] && y",
        "ENV A some thing",
        "HEALTHCHECK --interval=1m30s --start-interval=500ms --timeout=0 --retries=0 CMD x",
        "ONBUILD COPY <<x /y\nz\nx",
        "COPY <<x <<y /z\n1\nx\n2\ny",
    ],
)
def test_what_is_right(text: str) -> None:
    assert parse_dockerfile(f"FROM a\n{text}\n", {}, {}).stages[0].lines
