"""Instructions that change the configuration."""

from __future__ import annotations

import pytest

from runtime.build.frontend.lines import DockerfileError, parse_lines
from runtime.build.frontend.settings import configure
from runtime.container.config import ImageConfig


def _after(text: str, config: ImageConfig | None = None, *, own: bool = False) -> ImageConfig:
    config = config or ImageConfig()
    for line in parse_lines(text):
        config = configure(config, line, {"V": "1 2"}, "\\", is_own_command=own)
    return config


def test_settings() -> None:
    config = _after(
        'ENV A=$V B="x y"\nENV OLD some thing\nLABEL a.b=c\nWORKDIR /app\nWORKDIR sub/../in\nUSER 1:2\n'
        'EXPOSE 80 90-91/udp\nVOLUME /a /b\nSTOPSIGNAL SIGQUIT\nSHELL ["/bin/bash", "-c"]\nCMD run it\n'
        "HEALTHCHECK --interval=5s CMD true\n"
    )
    assert config.env == ("A=1 2", "B=x y", "OLD=some thing")
    assert (config.working_dir, config.user, config.stop_signal) == ("/app/in", "1:2", "SIGQUIT")
    assert config.exposed_ports == ("80/tcp", "90/udp", "91/udp")
    assert config.volumes == ("/a", "/b")
    assert config.cmd == ("/bin/bash", "-c", "run it")
    assert config.healthcheck is not None and config.healthcheck.interval == 5 * 10**9


def test_an_entrypoint_resets_the_command_of_the_base() -> None:
    base = ImageConfig(cmd=("sh",))
    assert _after('ENTRYPOINT ["x"]', base).cmd == ()
    assert _after('ENTRYPOINT ["x"]', base, own=True).cmd == ("sh",)


@pytest.mark.parametrize("text", ["ENV A", "LABEL a=b c", "SHELL sh", "EXPOSE x", "HEALTHCHECK nope"])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError):
        _after(text)
