"""Taking images away: names, what only one image has, and what others still need."""

from __future__ import annotations

import io

import pytest

from runtime.errors import ComposerError, Conflict
from runtime.image.model import ImageUse
from runtime.image.store import ImageStore
from tests.faulty_registry import FaultyRegistry, digest_of
from tests.integration.image.conftest import layer


async def imported(store: ImageStore, name: str, number: int, **labels: str) -> str:
    changes = [f"LABEL {key}={value}" for key, value in labels.items()]
    return (await store.import_(io.BytesIO(layer(number)), name, changes)).id


async def test_shared_layers_stay(store: ImageStore, faulty: FaultyRegistry) -> None:
    faulty.add_image("one", "1", [layer(1), layer(2)])
    faulty.add_image("two", "1", [layer(1), layer(3)])
    one = await store.pull(f"{faulty.address}/one:1")
    two = await store.pull(f"{faulty.address}/two:1")
    removal = store.remove(f"{faulty.address}/one:1")
    deleted = [change["Deleted"] for change in removal.changes if "Deleted" in change]
    assert deleted == [one.id, one.chain_ids[1]]
    assert removal.reclaimed == len(layer(2))
    assert all(path.is_dir() for path in two.layers)
    assert not one.layers[0].exists()
    removal = store.remove(two.id)
    assert removal.changes[-1] == {"Deleted": digest_of(layer(1))}
    assert await store.sweep() == []
    assert store.disk_usage() == 0


async def test_what_is_removed_is_only_put_aside(store: ImageStore) -> None:
    """Deleting large files takes time, which nobody has to wait for."""
    image = store.get(await imported(store, "a:1", 1))
    root = store.content.layers.root.parent
    blob = root / "blobs/sha256" / image.diff_ids[0].removeprefix("sha256:")
    assert blob.is_file()
    store.remove("a:1")
    assert not blob.exists() and not image.layers[0].exists()
    aside = [*root.glob("blobs/.trash/*"), *root.glob("layers/.trash/*")]
    assert len(aside) == 2
    assert await store.sweep() == []
    assert not any(path.exists() for path in aside)


async def test_an_image_with_two_names_loses_one(store: ImageStore) -> None:
    image = await imported(store, "a:1", 1)
    store.tag("a:1", "b:2")
    with pytest.raises(Conflict, match="referenced in multiple repositories"):
        store.remove(image)
    assert store.remove("a:1").changes == ({"Untagged": "a:1"},)
    assert store.get("b:2").id == image
    assert {"Deleted": image} in store.remove("b:2").changes


async def test_a_repository_loses_its_digests_with_its_last_tag(
    store: ImageStore, faulty: FaultyRegistry
) -> None:
    digest = faulty.add_image("app", "1", [layer(1)])
    faulty.add_image("app", "2", [layer(1)])
    name = f"{faulty.address}/app"
    image = await store.pull(f"{name}:1")
    await store.pull(f"{name}:2")
    store.tag(image.id, "other:1")
    assert store.remove(f"{name}:1").changes == ({"Untagged": f"{name}:1"},)
    assert store.remove(f"{name}:2").changes == (
        {"Untagged": f"{name}:2"},
        {"Untagged": f"{name}@{digest}"},
    )
    assert store.get(image.id).digests == ()


async def test_shares_are_counted_among_images(store: ImageStore, faulty: FaultyRegistry) -> None:
    """Not with what only the build cache keeps."""
    faulty.add_image("app", "1", [layer(1), layer(2)])
    faulty.add_image("app", "2", [layer(1), layer(3)])
    one = await store.pull(f"{faulty.address}/app:1")
    await store.derive(one, one.config, None, [{"created_by": "RUN x"}], is_step=True)
    assert store.shared_sizes() == {one.id: 0}
    two = await store.pull(f"{faulty.address}/app:2")
    assert store.shared_sizes() == {one.id: 1000, two.id: 1000}


async def test_used_images_stay(store: ImageStore) -> None:
    image = await imported(store, "a:1", 1)
    store.users = lambda found: (ImageUse("web", False),) if found == image else ()
    for name in ("a:1", image):
        with pytest.raises(Conflict):
            store.remove(name)
    assert (await store.prune(everything=True)).changes == ()
    store.users = lambda found: (ImageUse("web", True),) if found == image else ()
    assert store.remove("a:1", force=True).changes == ({"Untagged": "a:1"},)
    with pytest.raises(Conflict, match="cannot be forced"):
        store.remove(image, force=True)
    assert store.get(image).layers[0].is_dir()


async def test_what_is_removed_by_force_goes_with_its_last_container(store: ImageStore) -> None:
    image = await imported(store, "a:1", 1)
    store.tag("a:1", "b:1")
    users = [ImageUse("web", False)]
    store.users = lambda found: users if found == image else ()
    removal = store.remove(image, force=True)
    assert removal.changes == ({"Untagged": "a:1"}, {"Untagged": "b:1"}, {"Deleted": image})
    assert store.resolve(image[7:19]) is None and image not in [one.id for one in store.list()]
    kept = store.get(image)
    assert kept.layers[0].is_dir(), "the container can still be started"
    assert not store.drop_unused()
    users.clear()
    assert store.drop_unused() and store.resolve(image) is None
    await store.sweep()
    assert not kept.layers[0].exists()


async def test_prune(store: ImageStore) -> None:
    old = await imported(store, "a:1", 1)
    new = await imported(store, "a:1", 2)
    kept = await imported(store, "c:1", 3, keep="yes")
    assert (await store.prune()).changes[0] == {"Deleted": old}
    removal = await store.prune(everything=True, only=lambda image: "keep" not in image.config.labels)
    assert next(c["Deleted"] for c in removal.changes if "Deleted" in c) == new
    assert removal.reclaimed == len(layer(2)) + 1000
    assert [image.id for image in store.list() if not image.is_embedded] == [kept]


async def test_the_beginning_of_an_id(store: ImageStore, faulty: FaultyRegistry) -> None:
    """As Docker: any number of digits that tell; a few that do not are no image, more are ambiguous."""
    for number in range(20):
        faulty.add_image("app", str(number), [layer(1)], author=str(number))
        await store.pull(f"{faulty.address}/app:{number}")
    ids = [image.id for image in store.list()]
    for image in ids:
        digits = next(
            n for n in range(1, 65) if sum(other[7:].startswith(image[7 : 7 + n]) for other in ids) == 1
        )
        for text in (image[7 : 7 + digits], image[: 7 + digits], image[7:], image):
            found = store.resolve(text)
            assert found is not None and found.id == image
        if digits > 1:
            assert store.resolve(image[7 : 6 + digits]) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("app", "No such image: app:latest"),
        ("12ab", "No such image: 12ab:latest"),
        ("1" * 64, f"No such image: sha256:{'1' * 64}"),
        (f"sha256:{'1' * 64}", f"No such image: sha256:{'1' * 64}"),
        ("sha256:12", "No such image: sha256:12"),
        ("docker.io/library/app:1", "No such image: app:1"),
        ("sha256:+", "invalid reference format"),
        ("sha256:", "invalid reference format"),
        ("", "invalid reference format"),
    ],
)
def test_what_is_no_image(store: ImageStore, text: str, told: str) -> None:
    with pytest.raises(ComposerError, match=f"^{told}"):
        store.get(text)
