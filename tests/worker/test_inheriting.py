"""A session takes over what one of its name has spooled before it died: the file that one leaves, and nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rpc_magic.settings import WorkerSettings
from rpc_magic.transport import FrameSocket
from rpc_magic.wire import messages
from rpc_magic.worker.datachannel import Chunks
from rpc_magic.worker.line import Line
from rpc_magic.worker.spool import Spool, make_file

DIED = messages.Failed(messages.ErrorRecord("error", "SessionDiedError", "it died", ""))


class Left(NamedTuple):
    """A call as it is read later: its label, what it has shown, and how it ended."""

    label: str
    text: str
    outcome: object
    buffers: list[bytes]


class Life:
    """A session, and the client that it has; when it dies, its spool is left."""

    def __init__(self, folder: Path, ends: contextlib.ExitStack) -> None:
        self.folder, self.ends = folder, ends
        ends.callback(self.end_all)
        self.spool = make_file(folder / "spool")
        self.settings = WorkerSettings()
        self.line = Line(
            Spool(self.spool, self.settings.spool), Chunks(self.settings), self.settings, lambda c: c.close()
        )
        self.frames: FrameSocket | None = None

    def connect(self, client: bytes, resume: int = 0) -> None:
        if self.frames is not None:
            self.cut()
        mine, theirs = socket.socketpair()
        self.frames = FrameSocket(mine, last_seq=max(0, resume - 1))
        self.line.adopt(theirs, client, resume)

    def cut(self) -> None:
        assert self.frames is not None
        self.frames.close()
        if self.line.channel is not None:
            self.line.lose(self.line.channel)

    def begin(self, call: int, source: str) -> None:
        self.line.open(call, messages.RunCell(source))

    def show(self, call: int, text: str) -> None:
        self.line.send(self.line.calls.inside(call), messages.Stream("stdout", text))

    def end(self, call: int, *buffers: bytes) -> None:
        self.line.end(self.line.calls.inside(call), messages.Returned(), buffers, lambda: None)

    def run(self, call: int) -> None:
        """A call from its beginning to its end, which the client is told of."""
        self.begin(call, f"cell {call}")
        self.show(call, f"shown by {call}\n")
        self.end(call, b"value of %d" % call)

    def end_all(self) -> None:
        if self.spool >= 0:
            os.close(self.spool)
            self.spool = -1
        for end in (self.frames, self.line.channel):
            if end is not None:
                end.close()

    def die(self) -> Life:
        """Return the session of its name that is made next."""
        left = os.dup(self.spool)  # as the keeper's
        self.end_all()
        later = Life(self.folder, self.ends)
        later.line.inherit(left, (DIED, ()))
        return later

    def left(self, client: bytes = b"reader") -> list[Left]:
        """Read all calls that are left, as a client does."""
        self.connect(client)
        assert self.frames is not None
        read: list[Left] = []
        for number, one in enumerate(self.line.calls.listing(0).calls, 1):
            self.line.open(number, messages.Follow(one.number))
            following = threading.Thread(target=self.line.follow, args=(number, one.number))
            following.start()  # it waits until what it gives has been read
            shown, outcome, buffers = "", None, []
            deadline = time.monotonic() + 30
            while outcome is None:
                for frame in self.frames.read():
                    message = messages.decode_answer(frame.message)
                    if isinstance(message, messages.Stream):
                        shown += message.text
                    elif frame.call == number:
                        outcome, buffers = message, [bytes(buffer) for buffer in frame.buffers]
                assert time.monotonic() < deadline
            following.join()
            self.line.acknowledge(self.frames.last_seq)
            read.append(Left(one.label, shown, outcome, buffers))
        return read


def second(one: Life) -> Life:
    """Have a session die with a call that has ended for nobody; return the next one, whose client is there."""
    one.connect(b"first")
    one.run(1)
    one.cut()
    two = one.die()
    two.connect(b"second")
    return two


def finished(call: int) -> Left:
    return Left(f"cell {call}", f"shown by {call}\n", messages.Returned(), [b"value of %d" % call])


def died(call: int, text: str) -> Left:
    return Left(f"cell {call}", text, DIED, [])


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Life]:
    with contextlib.ExitStack() as ends:
        yield Life(tmp_path, ends)


def test_what_a_client_that_is_away_has_not_got(one: Life) -> None:
    """Calls that have ended have their values, others what they have shown, and how the session died."""
    one.connect(b"first")
    one.begin(1, "cell 1")
    one.begin(2, "cell 2")
    one.show(1, "shown by 1\n")
    one.cut()
    one.end(1, b"value of 1")
    one.show(2, "so far\n")
    assert one.die().left() == [finished(1), died(2, "so far\n")]


def test_an_earlier_clients_list_is_not_taken_for_the_next_ones(one: Life) -> None:
    """What was noted of a client that has left does not say whose the next one's calls are."""
    one.connect(b"first")
    one.begin(1, "cell 1")
    one.cut()  # noted: call 1 has not ended
    one.connect(b"first", resume=1)
    one.end(1)
    assert one.frames is not None
    while not one.frames.last_seq:
        one.frames.read()
    one.line.acknowledge(one.frames.last_seq)
    one.connect(b"second")
    one.run(1)
    one.cut()
    assert one.die().left() == [finished(1)]


def test_a_left_call_whose_second_client_is_cut_too(one: Life) -> None:
    """The third one reads what the first had begun, and what the second has begun since."""
    one.connect(b"first")
    one.begin(1, "cell 1")
    one.begin(2, "cell 2")
    one.show(1, "shown by 1\n")
    one.connect(b"second")
    one.begin(1, "cell 3")
    one.cut()
    first = one.line.calls._base - (1 << 32)
    one.line.end(first + 1, messages.Returned(), [b"value of 1"], lambda: None)
    one.line.send(first + 2, messages.Stream("stdout", "more\n"))
    one.end(1, b"value of 3")
    read = one.die().left()
    assert read[:2] == [finished(1), died(2, "more\n")]
    assert read[2].buffers == [b"value of 3"]


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_follower_that_is_cut_off(one: Life, *, is_cut: bool) -> None:
    """A call that a second client follows when the session dies is there for the third, from its beginning."""
    one.connect(b"first")
    one.begin(1, "cell 1")
    one.show(1, "shown by 1\n")
    one.connect(b"second")
    (listed,) = one.line.calls.listing(0).calls
    assert one.line.follow(7, listed.number)
    if is_cut:
        one.cut()
    one.line.end(one.line.calls.inside(7), messages.Returned(), [b"value of 1"], lambda: None)
    if not is_cut:
        one.cut()
    assert one.die().left() == [finished(1)]


def test_sessions_that_die_one_after_the_other(one: Life) -> None:
    """What was taken over and nobody has read is taken over again, beside what a client has begun since."""
    two = second(one)
    two.run(1)
    two.begin(2, "cell 2")
    two.cut()
    two.show(2, "so far\n")
    assert two.die().die().left() == [finished(1), finished(1), died(2, "so far\n")]


def test_numbers_of_a_client_are_not_those_of_calls_that_were_taken_over(one: Life) -> None:
    """A client whose calls have the same numbers gets its own outcomes, and nobody else's."""
    two = second(one)
    two.begin(1, "another cell")
    two.end(1, b"its value")
    assert two.frames is not None
    frames: list[object] = []
    while not frames:
        frames = [(frame.call, bytes(frame.buffers[0])) for frame in two.frames.read() if frame.buffers]
    assert frames == [(1, b"its value")]
    two.line.acknowledge(two.frames.last_seq)
    assert two.left() == [finished(1)]


def test_what_an_earlier_server_had_kept(one: Life) -> None:
    """Calls that were kept when a server was told to end, and were not asked for when the session dies."""
    one.connect(b"first")
    said = [messages.Stream("stdout", "shown by 1\n"), messages.Returned()]
    buffers: list[list[bytes]] = [[], [b"value of 1"]]
    one.line.readmit("cell 1", [(m, messages.encode(m), b) for m, b in zip(said, buffers, strict=True)])
    assert one.die().left() == [finished(1)]


def test_a_long_output_and_a_large_value(one: Life) -> None:
    """What went to the spool is there, however much it is."""
    one.connect(b"first")
    one.begin(1, "cell 1")
    one.cut()
    for n in range(60):
        one.show(1, f"{n:09d}\n" * 10_000)
    one.end(1, bytes(range(256)) * 300_000)
    (read,) = one.die().left()
    assert read.buffers == [bytes(range(256)) * 300_000]
    assert read.text == "".join(f"{n:09d}\n" * 10_000 for n in range(60))
