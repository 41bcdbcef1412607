"""What a process that looks into a container for a person is like: confined as the container is, but for what looking
takes. Pure; the tools are found by ``runtime.container.host``."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from runtime.container.config import ContainerConfig
from runtime.container.confinement import SecurityOptions, confine
from runtime.container.host_facts import HostFacts
from runtime.container.toolbox import LINKED
from runtime.container.wire import Confinement, Tools

SEES_FILES = ("DAC_OVERRIDE",)
SEES_NETWORK = ("NET_RAW",)
SEES_PROCESSES = ("SYS_PTRACE",)
"""What is added to the container's own capabilities: to read whatever its users own, to listen to its network, and to
trace its processes. Not DAC_READ_SEARCH: with it, open_by_handle_at(2) reads the host's files."""

SEARCHED = (
    LINKED,
    *("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"),
)
_OF_LOADERS = ("GCONV_PATH", "LOCPATH", "PERL5LIB", "PERLLIB", "PYTHONHOME", "PYTHONPATH")


def confine_debugging(config: ContainerConfig, host: HostFacts, *, privileged: bool = False) -> Confinement:
    """The container's confinement, and more capabilities. Tracing is left out where the container's processes are not
    the only ones that it sees: there a process of the host could be made to do anything."""
    options = SecurityOptions.parse(config.security_opt)
    if privileged:
        own = confine(config, host, options)
        return replace(own, bounding=host.capabilities, effective=host.capabilities, seccomp="")
    added = SEES_FILES + SEES_NETWORK + (SEES_PROCESSES if not config.pid_mode else ())
    return confine(config, host, options, also=added)


def debug_environment(container: Sequence[str], tools: Tools, own: Sequence[str]) -> tuple[str, ...]:
    """The container's variables without those that would mislead another system's programs; the tools are searched
    first, then those of the container's directories that are in their place."""
    found: dict[str, str] = {}
    for item in container:
        name = item.partition("=")[0]
        if not name.startswith("LD_") and name not in _OF_LOADERS:
            found[name] = item
    replaced = {
        *(tree.split("/")[1] for tree in tools.trees),
        *(path.split("/")[1] for path, _ in tools.links),
    }
    theirs = [
        path
        for path in found.get("PATH", "").removeprefix("PATH=").split(":")
        if path.startswith("/") and path.split("/")[1] not in replaced
    ]
    found["PATH"] = "PATH=" + ":".join((*SEARCHED, *theirs))
    for item in own:
        found[item.partition("=")[0]] = item
    return tuple(found.values())
