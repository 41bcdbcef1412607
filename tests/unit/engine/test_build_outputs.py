"""``--output``, ``--annotation`` and ``--ssh``: what they ask for."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from composer.engine.builds.agents import agent_sockets
from composer.engine.builds.contexts import Contexts
from composer.engine.builds.outputs import parse_annotations, parse_output
from runtime.errors import ComposerError


def test_outputs() -> None:
    local = parse_output("out")
    assert (local.type, local.dest) == ("local", "out")
    assert parse_output("-").type == "tar" and parse_output("-").dest == "-"
    oci = parse_output('type=oci,dest=x.tar,"name=a,b",compression=zstd,compression-level=9,annotation.k=v')
    assert oci.names == ("a", "b") and oci.packing.compression == "zstd" and oci.packing.level == 9
    assert oci.packing.annotations == (("k", "v"),)
    assert parse_output("type=oci,dest=x,tar=false").is_tar is False
    assert parse_output("type=registry").pushes and parse_output("type=image,push=true,name=x").pushes
    assert parse_output("type=docker").is_stored and not parse_output("type=docker,dest=x").is_stored


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("type=locl,dest=x", "did you mean local?"),
        ("type=local", "needs a dest"),
        ("type=local,dest=-", "cannot be stdout"),
        ("type=image,comprission=zstd", "did you mean compression?"),
        ("type=oci,dest=x,compression=lzma", "compression 'lzma' is not supported"),
        ("type=oci,dest=x,compression-level=99", "no number from 0 to 22"),
        ("type=image,push=perhaps", "true or false"),
        ("type=image,unpack=false", "images are kept, and kept unpacked"),
        ("type=image,push", "not key=value"),
    ],
)
def test_outputs_that_there_are_not(text: str, told: str) -> None:
    with pytest.raises(ComposerError, match=told.replace("?", r"\?")):
        parse_output(text)


def test_annotations() -> None:
    found = parse_annotations(["a=1", "index:b=2", "manifest,index:c=3", "manifest-descriptor:d=4", "x:y=5"])
    assert found == ({"a": "1", "c": "3", "x:y": "5"}, {"b": "2", "c": "3"}, {"d": "4"})
    for wrong in ("a", "=b", "index-descriptor:a=b", "manifest[linux/amd64]:a=b"):
        with pytest.raises(ComposerError):
            parse_annotations([wrong])


async def test_agents(tmp_path: Path) -> None:
    path, contexts = tmp_path / "agent", Contexts(tmp_path / "contexts")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        env = {"SSH_AUTH_SOCK": str(path)}
        async with AsyncExitStack() as held:
            found = await agent_sockets(["default", f"x={path}"], env, contexts, held)
            assert found == {"default": str(path), "x": str(path)}
            for wrong in ("x=/not/there", f"x={path},{__file__}", f"x={path},{path}"):
                with pytest.raises(ComposerError):
                    await agent_sockets([wrong], env, contexts, held)
            with pytest.raises(ComposerError, match="SSH_AUTH_SOCK is not set"):
                await agent_sockets(["default"], {}, contexts, held)
