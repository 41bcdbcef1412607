"""How much of a log is kept."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.container.logfile import LogWriter, list_files
from runtime.container.logs import read_log

CHUNKS = st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=200), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(chunks=CHUNKS, max_size=st.sampled_from([1, 100, 1000, 4096]), max_files=st.integers(1, 4))
def test_no_file_is_larger_than_asked(
    tmp_path_factory: object, chunks: list[list[int]], max_size: int, max_files: int
) -> None:
    """However much comes at once; but a single line may be. The last lines are there, in order, without a gap."""
    directory: Path = tmp_path_factory.mktemp("log")  # type: ignore[attr-defined]
    writer = LogWriter(str(directory), max_size=max_size, max_files=max_files)
    number = 0
    for lengths in chunks:
        data = b""
        for length in lengths:
            data += b"%d %s\n" % (number, b"x" * length)
            number += 1
        writer.write(b"stdout", data)
    writer.close()
    files = list_files(directory)
    assert len(files) <= max_files
    for file in files:
        content = (directory / f"{file}.log").read_bytes()
        assert len(content) <= max_size or content.count(b"\n") == 1
        assert content.endswith(b"\n")
    kept = [int(entry.data.split()[0]) for entry in read_log(directory)]
    assert kept == list(range(number - len(kept), number))
    assert kept
    # No more is thrown away than has to be: two neighbours never fit into one.
    sizes = [(directory / f"{file}.log").stat().st_size for file in files]
    assert all(one + following > max_size for one, following in itertools.pairwise(sizes))
