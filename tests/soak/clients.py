"""A client of the soak test: it does random things, and accounts for each of its calls.

A call writes its number into a file when it begins, so that what ran is known whatever became of its session; and what
the client got for it is written down here. `Client.check` compares the two.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from live import SECONDS

import rpc_magic
from rpc_magic import errors

__all__ = ["Client", "expected"]

CELL = """
note({number})
for i in range({lines}):
    print({number}, i, "." * {width})
    if i % 10 == 9:
        time.sleep(0.002)
total += 1
digest({number} * {lines})
"""
SETUP = """
import hashlib, os, time
total = 0
def note(number):
    ledger = os.open({ledger!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, b"%d\\n" % number)
    os.close(ledger)
def digest(value):
    return hashlib.sha256(str(value).encode()).hexdigest()
"""


def there(name: str, *args: object) -> object:
    """Call a function of the session's own."""
    from IPython import get_ipython

    return get_ipython().user_ns[name](*args)


def small(number: int, data: bytes) -> tuple[int, str]:
    there("note", number)
    return number, hashlib.sha256(data).hexdigest()


def asleep(number: int) -> None:
    there("note", number)
    time.sleep(600)


def dying(number: int) -> None:
    there("note", number)
    time.sleep(random.random() * 0.05)
    os.kill(os.getpid(), signal.SIGKILL)


def expected(number: int, lines: int, width: int) -> tuple[str, str]:
    """Return what a cell prints and its value."""
    text = "".join(f"{number} {i} {'.' * width}\n" for i in range(lines))
    return text, hashlib.sha256(str(number * lines).encode()).hexdigest()


class Client:
    """One client with a session of its own.

    Args:
        name: of the session.
        seed: of all that it does.
        url, token_file: of the server.
        ledger: the file in which its calls write their numbers.

    Attributes:
        conn: its connection.
        got: how each call ended, by its number: "value", "interrupted" or "died".
        deaths: how often it had its session killed.
        doing: what it does now.
    """

    def __init__(self, name: str, seed: str, url: str, token_file: str, ledger: Path) -> None:
        self._random = random.Random(seed)
        self._ledger, self._next = ledger, 0
        self.got: dict[int, str] = {}
        self.deaths = 0
        self.doing = ""
        self.error: BaseException | None = None
        self.conn = rpc_magic.connect(url, token_file=token_file, session=name)
        self._set_up()

    def run(self, until: float) -> None:
        """Do random things until a moment of `time.monotonic`."""
        deeds: list[Callable[[], None]] = [self.cell, self._calls, self.cell, self._calls, self._interrupt]
        try:
            while time.monotonic() < until:
                deed = self._die if self._random.random() < 0.03 else self._random.choice(deeds)
                self.doing = f"{deed.__name__} from {self._next + 1}"
                deed()
        except BaseException as error:
            error.add_note(repr(self))
            self.error = error

    def check(self) -> None:
        """Every call is accounted for: what gave a value ran once, what was ended at most once, nothing else ran."""
        ran = Counter(map(int, self._ledger.read_text().split()))
        twice = {number for number, count in ran.items() if count > 1}
        assert not twice, f"these ran twice: {twice}"
        assert set(self.got) == set(range(1, self._next + 1)), "a call has no end"
        lost = {number for number, end in self.got.items() if end == "value" and not ran[number]}
        assert not lost, f"these gave a value and did not run: {lost}"
        assert set(ran) <= set(self.got)

    def __repr__(self) -> str:
        attachment = self.conn.attachment
        pong = attachment.control.ask_pong(1.0)
        return (
            f"{self.doing}: {attachment.state}, {attachment.retry}, {pong}, session {attachment.worker_pid}"
        )

    # ------------------------------------------------------------ what it does

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _set_up(self) -> None:
        self.conn.run(SETUP.format(ledger=str(self._ledger)))

    def cell(self) -> None:
        """Run a cell, and compare what it shows and returns."""
        number, lines, width = self._number(), self._random.randrange(40), self._random.randrange(100)
        shown: list[str] = []
        result = self.conn.run(
            CELL.format(number=number, lines=lines, width=width),
            on_output=lambda message: shown.append(getattr(message, "text", "")),
        )
        assert ("".join(shown), result.value) == expected(number, lines, width)
        self.got[number] = "value"

    def _calls(self) -> None:
        numbers = [self._number() for _ in range(self._random.randint(1, 5))]
        sent = [self._random.randbytes(self._random.choice((10, 1_000, 60_000))) for _ in numbers]
        calls = [self.conn.submit(small, number, data) for number, data in zip(numbers, sent, strict=True)]
        for number, data, call in zip(numbers, sent, calls, strict=True):
            assert call.result(SECONDS) == (number, hashlib.sha256(data).hexdigest())
            self.got[number] = "value"

    def _interrupt(self) -> None:
        first, second = self._number(), self._number()
        calls = self.conn.submit(asleep, first), self.conn.submit(asleep, second)
        time.sleep(self._random.random() * 0.2)
        for call in self._random.sample(calls, 2):
            assert call.cancel()
        self.got[first] = self.got[second] = "interrupted"

    def _die(self) -> None:
        self.deaths += 1
        number = self._number()
        call, queued = self.conn.submit(dying, number), self.conn.submit(small, self._number(), b"")
        for one, its in ((call, number), (queued, number + 1)):
            try:
                one.result(SECONDS)
            except errors.SessionDiedError:
                self.got[its] = "died"
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.conn.restart()
                break
            except (errors.ConnectionLostError, errors.ConnectError):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        self._set_up()
