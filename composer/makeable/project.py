"""All that is wrong with a project, in one run: each fault is about a dotted path of the file."""

from __future__ import annotations

from msgspec.structs import replace

from composer.compose.model import Network, Project, Volume
from composer.makeable.collecting import of_each
from composer.makeable.services import service_faults
from composer.plan.networking import used_network_keys
from composer.plan.support import refusals
from runtime.errors import ComposerError, InvalidArgument


def demand_makeable(project: Project) -> None:
    """Raises InvalidArgument with all that is wrong with the active services of ``project`` and what they use."""
    found = faults(project)
    if not found:
        return
    first, *others = found
    if not others:
        raise first
    error = InvalidArgument("\n".join(one.message for one in found), hint=first.hint).pointing_at(first.about)
    error.errors = tuple(found)
    raise error


def faults(project: Project) -> list[ComposerError]:
    """All that is wrong, once for each value."""
    found: list[ComposerError] = [
        InvalidArgument(str(refusal), hint=refusal.hint).pointing_at(refusal.path)
        for refusal in refusals(project)
    ]
    # What a variable is set to is no matter of the file.
    plain = replace(
        project,
        secrets={k: replace(secret, value=secret.value or "") for k, secret in project.secrets.items()},
    )
    for service in project.services.values():
        found += service_faults(plain, service)
    for key in used_network_keys(project):
        network = project.networks.get(key)
        if network is not None and not network.external and not _is_plain(network):
            from composer.makeable.networks import network_checks

            found += of_each(f"networks.{key}", network_checks(network))
    used = {v.source for s in project.services.values() for v in s.volumes if v.type == "volume"}
    for key, volume in project.volumes.items():
        if key in used and not volume.external and not _is_plain(volume):
            from composer.makeable.networks import volume_checks

            found += of_each(f"volumes.{key}", volume_checks(volume))
    once: dict[str, ComposerError] = {}
    for one in found:
        once.setdefault(one.about, one)
    return list(once.values())


def _is_plain(made: Network | Volume) -> bool:
    """Nothing is asked of it, and its name is one: then what there is to check with need not be imported."""
    bare = type(made)(key=made.key, name=made.name, labels=made.labels, extensions=made.extensions)
    return made == bare and made.name.replace("-", "").replace("_", "").isalnum() and made.name[0].isalnum()
