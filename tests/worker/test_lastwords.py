"""The last words: what the keeper reads of what a worker had printed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rpc_magic.wire import internal
from rpc_magic.worker.lastwords import LastWords


@pytest.fixture
def ends() -> Iterator[tuple[LastWords, LastWords]]:
    """The worker's and the keeper's."""
    page = os.memfd_create("page")
    os.ftruncate(page, internal.PAGE_SIZE + 2 * internal.WORDS_SIZE)
    yield LastWords(page), LastWords(page)
    os.close(page)


def test_sent_and_unsent(ends: tuple[LastWords, LastWords]) -> None:
    """What was sent is no last word, unless standard error's; what comes meanwhile is; a new call forgets."""
    worker, keeper = ends
    assert keeper.read() == b""
    worker.add("a")
    mark = worker.waiting()
    worker.add("bü")
    assert keeper.read() == "abü".encode()
    worker.leave(mark, "")
    assert keeper.read() == "bü".encode()
    worker.leave(worker.waiting(), "b")
    assert keeper.read() == b"b"
    worker.add("c")
    worker.begin()
    assert keeper.read() == b"c"


def test_the_end_of_much(ends: tuple[LastWords, LastWords]) -> None:
    """Of much the end is kept, in order, however it comes."""
    worker, keeper = ends
    said = ""
    for count in (1, 100, 4095, 4096, 3, 70_000, 17):
        said += "".join(chr(97 + n % 26) for n in range(count))
        worker.add(said[-count:])
        read = keeper.read().decode()
        assert said.endswith(read)
        assert len(read) >= min(len(said), internal.WORDS_SIZE - 16)
    worker.leave(worker.waiting(), "x" * 10_000)
    assert keeper.read() == b"x" * (internal.WORDS_SIZE - 16)
