"""``manifest inspect``: what a registry has under a name, without pulling it. Needs no engine."""

from __future__ import annotations

from composer.cli.arguments import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from composer.cli.arguments import Arguments
    from composer.cli.session import Session
    from runtime.image.registry import Fetched


def run_inspect(session: Session, arguments: Arguments) -> int:
    import json

    import trio

    from runtime.image.manifest import MANIFEST_LIMIT, decode_json

    name = arguments.words[0]
    fetched = trio.run(_fetch, name, session.env, arguments.is_on("insecure"))
    document: Any = decode_json(fetched.data, dict, MANIFEST_LIMIT, f"the manifest of {name}")
    if arguments.is_on("verbose"):
        descriptor = {"mediaType": fetched.media_type, "digest": fetched.digest, "size": len(fetched.data)}
        document = {"Ref": name, "Descriptor": descriptor, "Manifest": document}
    session.write(json.dumps(document, indent="\t") + "\n")
    return 0


async def _fetch(name: str, env: Mapping[str, str], is_insecure: bool) -> Fetched:
    """As it is in the registry. Raises ComposerErrors."""
    import os
    from dataclasses import replace
    from functools import partial

    from runtime.image.configuration import configuration_path, load_configuration
    from runtime.image.credentials import load_credentials
    from runtime.image.reference import parse_reference
    from runtime.image.registry import Registry

    reference = parse_reference(name).with_default_tag()
    configuration = load_configuration(configuration_path(env, os.geteuid()))
    if is_insecure:
        configuration = replace(configuration, insecure=(*configuration.insecure, reference.domain))
    registry = Registry(
        reference.domain,
        replace(configuration, env=env),
        credentials=partial(load_credentials, env, reference.domain),
    )
    try:
        return await registry.manifest(reference)
    finally:
        await registry.aclose()


_NO_LISTS = "lists of manifests are not made here; a registry's are shown by `composer manifest inspect`"

COMMANDS = {
    "annotate": Command("manifest annotate", "Add to a manifest list", None, refusal=_NO_LISTS),
    "create": Command("manifest create", "Make a manifest list", None, refusal=_NO_LISTS),
    "inspect": Command(
        "manifest inspect [OPTIONS] NAME[:TAG|@DIGEST]",
        "Show the manifest or index that a registry has under a name",
        run_inspect,
        (
            Flag("insecure", help="Also without TLS, or with a certificate that nobody vouches for"),
            Flag("verbose", "v", help="With its digest, size and type"),
        ),
        at_least=1,
        at_most=1,
    ),
    "push": Command("manifest push", "Push a manifest list", None, refusal=_NO_LISTS),
    "rm": Command("manifest rm", "Remove manifest lists", None, refusal=_NO_LISTS),
}
