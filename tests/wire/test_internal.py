"""The messages between a server's processes: every one comes through; other bytes are `ProtocolError`."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_structs import check_hostile_bytes, members, sample, some, tags

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import internal

TAGS = {
    1: "Fork",
    2: "EndWorker",
    3: "EndAll",
    4: "Settle",
    5: "Remember",
    6: "Forget",
    10: "KeeperReady",
    11: "Forked",
    12: "ForkFailed",
    13: "Exited",
    14: "ProgramReady",
    15: "Living",
    16: "Adopted",
    20: "Adopt",
    21: "Keep",
    22: "Kept",
    23: "Keeping",
    24: "Finish",
    25: "Finished",
    26: "Broken",
    27: "Inherit",
    28: "Absent",
    30: "Drained",
    31: "SyncOutput",
    32: "Synced",
    33: "ForkEngine",
    34: "EngineForked",
}


def test_tags_are_fixed() -> None:
    """A tag keeps its meaning: a restarted supervisor may meet a keeper that was started before an update."""
    assert tags(internal.AnyInternal) == sorted(TAGS.items())


def test_every_message_is_in_the_union() -> None:
    """No message is forgotten in the union that is decoded."""
    declared = {
        value
        for value in vars(internal).values()
        if isinstance(value, type) and issubclass(value, internal.Internal) and value is not internal.Internal
    }
    assert declared == {*members(internal.AnyInternal)}


@pytest.mark.parametrize("struct", members(internal.AnyInternal), ids=lambda s: s.__name__)
@pytest.mark.parametrize("full", [True, False])
def test_round_trip(struct: type[internal.Internal], *, full: bool) -> None:
    """Every message comes out equal, with all its fields and with only those that must be there."""
    message = sample(struct, full=full)
    again = internal.decode(internal.encode(message))
    assert again == message
    assert type(again) is struct


def test_hostile_bytes() -> None:
    """A worker runs user code, which may write anything to its link: it is refused."""
    check_hostile_bytes(internal.decode)


@settings(deadline=None)
@given(message=some(internal.AnyInternal))
def test_any_message(message: Any) -> None:
    """Invariant: whatever is in its fields, a message comes out equal."""
    assert internal.decode(internal.encode(message)) == message


@settings(deadline=None)
@given(data=st.binary(max_size=100), tag=st.sampled_from(sorted(TAGS)), size=st.integers(1, 8))
def test_any_bytes(data: bytes, tag: int, size: int) -> None:
    """Invariant: any bytes, also behind a good tag, are a message or `ProtocolError`."""
    for start in (b"", bytes([0x90 + size, tag])):
        with contextlib.suppress(ProtocolError):
            assert isinstance(internal.decode(start + data), internal.Internal)


def test_status_page() -> None:
    """The offsets are those of the packed words, aligned, and all of them fit the page."""
    page = mmap.mmap(-1, internal.PAGE_SIZE)
    internal.STATUS_PAGE.pack_into(page, 0, 1, 2.0, 3, 4, 5)
    view = memoryview(page)
    assert view.cast("Q")[internal.CURRENT_AT // 8] == 1
    assert view.cast("d")[internal.BEGAN_AT // 8] == 2.0
    assert view.cast("Q")[internal.INTERRUPTS_AT // 8] == 3
    assert view.cast("Q")[internal.DRAINED_AT // 8] == 4
    assert view.cast("Q")[internal.TASKS_AT // 8] == 5
    assert internal.STATUS_PAGE.size <= internal.PAGE_SIZE
    for offset in (
        internal.CURRENT_AT,
        internal.BEGAN_AT,
        internal.INTERRUPTS_AT,
        internal.DRAINED_AT,
        internal.TASKS_AT,
    ):
        assert offset % 8 == 0
    assert internal.STATUS_PAGE.size <= internal.RING_AT
    assert internal.RING_AT + internal.RING * 8 <= internal.PAGE_SIZE
