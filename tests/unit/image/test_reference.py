"""Names of images as Docker reads them (checked against ``docker tag``)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidArgument
from runtime.image.reference import Reference, parse_reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/library/x/y", "docker.io/library/x/y", "library/x/y"),
        ("foo/bar", "docker.io/foo/bar", "foo/bar"),
        ("my-registry/x", "docker.io/my-registry/x", "my-registry/x"),
        ("localhost", "docker.io/library/localhost", "localhost"),
        ("localhost/foo", "localhost/foo", "localhost/foo"),
        ("localhost:5000/foo:1", "localhost:5000/foo:1", "localhost:5000/foo:1"),
        ("foo.bar/baz", "foo.bar/baz", "foo.bar/baz"),
        ("FOO.bar/baz", "FOO.bar/baz", "FOO.bar/baz"),
        ("foo:5000/bar", "foo:5000/bar", "foo:5000/bar"),
        ("[fd00::1]:5000/foo", "[fd00::1]:5000/foo", "[fd00::1]:5000/foo"),
        ("1.2.3.4/x", "1.2.3.4/x", "1.2.3.4/x"),
        ("a__b/c.d/e--f:_tag", "docker.io/a__b/c.d/e--f:_tag", "a__b/c.d/e--f:_tag"),
        (f"foo@sha256:{HEX}", f"docker.io/library/foo@sha256:{HEX}", f"foo@sha256:{HEX}"),
        (f"foo:1@sha256:{HEX}", f"docker.io/library/foo:1@sha256:{HEX}", f"foo:1@sha256:{HEX}"),
    ],
)
def test_names(text: str, canonical: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert (str(reference), reference.familiar) == (canonical, familiar)
    assert parse_reference(canonical) == parse_reference(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("", "-a", "a-", "a___b", "a..b", "a b", "foo:", ":tag", "/foo", "foo/", "foo//bar", "BusyBox"),
        *("foo:-tag", "foo:.tag", f"foo:{'t' * 129}", "host:port/foo", "https://foo/bar", HEX, "a\nb", "é"),
        *("foo@sha256:0123", "foo@md5:" + HEX[:32], f"foo@sha256:{HEX.upper()}", "x/" * 200 + "x", "foo@"),
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_reference(text)


@given(st.text(alphabet="ab.-_/:@0[]sha256AZ \n\u00e9", max_size=40))
def test_whatever_is_parsed_reads_the_same_again(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar) == reference


def test_default_tag() -> None:
    assert parse_reference("a").with_default_tag() == Reference("docker.io", "library/a", "latest")
    assert parse_reference("a:1").with_default_tag().tag == "1"
    assert parse_reference(f"a@sha256:{HEX}").with_default_tag().tag == ""


def test_ports_end() -> None:
    assert parse_reference("host:65535/app").domain == "host:65535"
    for text in ("host:65536/app", "host:99999999/app"):
        with pytest.raises(InvalidArgument, match="is not a port"):
            parse_reference(text)
