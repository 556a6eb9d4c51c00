"""The spool file: frames go in and come out, it is private, emptied, bounded."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rpc_magic.worker.spool import Spool, make_file

KIB = 1 << 10


def test_frames_come_out_as_they_went_in(tmp_path: Path) -> None:
    """Small and large frames, with many buffers, in any order; the file has mode 0600 and no name."""
    file = make_file(tmp_path / "spool")
    spool = Spool(file, 1 << 30)
    want = [
        (7, n, b"m" * (n * 1000), [bytes([n]) * (n * 50_000), b"", memoryview(b"abc")] * n)
        for n in range(1, 12)
    ]
    want.append((8, 99, b"many", [b"x"] * 3000))
    places = [spool.write(*one, is_output=True) for one in want]
    assert os.fstat(file).st_mode & 0o777 == 0o600
    assert not list(tmp_path.iterdir())
    for place, (call, number, message, buffers) in reversed(list(zip(places, want, strict=True))):
        assert place is not None
        frame = spool.read(place)
        assert (frame.call, frame.seq, frame.message) == (call, number, message)
        assert [bytes(b) for b in frame.buffers] == [bytes(b) for b in buffers]


def test_it_is_emptied(tmp_path: Path) -> None:
    """With the last frame that is wanted it gives its room back, and goes on."""
    file = make_file(tmp_path / "spool")
    spool = Spool(file, 100 * KIB)
    for _ in range(3):
        places = [spool.write(1, 1, b"m", [b"x" * 30 * KIB], is_output=True) for _ in range(4)]
        assert [bool(place) for place in places] == [True, True, True, False]
        assert os.fstat(file).st_size > 90 * KIB
        for _ in range(3):
            spool.release()
        assert os.fstat(file).st_size == 0


def test_outcomes_are_taken_over_the_limit(tmp_path: Path) -> None:
    """The limit is for output."""
    spool = Spool(make_file(tmp_path / "spool"), 10)
    assert spool.write(1, 1, b"m" * 100, (), is_output=True) is None
    assert spool.write(1, 1, b"m" * 100, (), is_output=False) is not None


def test_a_full_disk(tmp_path: Path) -> None:
    """What cannot be written is not taken, and nothing is half there."""
    spool = Spool(os.open("/dev/full", os.O_RDWR), 1 << 30)
    assert spool.write(1, 1, b"m", (), is_output=False) is None
    assert spool.trouble


def test_no_file(tmp_path: Path) -> None:
    """A file that cannot be made takes nothing, and says so."""
    spool = Spool(make_file(tmp_path / "nowhere" / "spool"), 1 << 30)
    assert spool.write(1, 1, b"m", (), is_output=False) is None
    assert "could not be made" in spool.trouble


def test_what_is_noted(tmp_path: Path) -> None:
    """A note lies behind what is there, and goes with it; alone it takes the place of another one."""
    file = make_file(tmp_path / "spool")
    spool = Spool(file, 1 << 30)
    for _ in range(3):
        spool.note(5, b"calls")
        size = os.fstat(file).st_size
    place = spool.write(1, 1, b"m", (), is_output=True)
    assert place is not None
    assert place.start == size
    spool.note(5, b"calls")
    assert os.fstat(file).st_size == 2 * size + place.size
    assert spool.release()
    assert os.fstat(file).st_size == 0


@given(messages=st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_any_messages(tmp_path_factory, messages: list[bytes]) -> None:
    """Invariant: what is written is read."""
    spool = Spool(make_file(tmp_path_factory.mktemp("spool") / "spool"), 1 << 30)
    places = [spool.write(1, n, message, [message], is_output=True) for n, message in enumerate(messages, 1)]
    for place, message in zip(places, messages, strict=True):
        frame = spool.read(place)
        assert frame.message == bytes(frame.buffers[0]) == message
