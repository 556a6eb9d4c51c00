"""A client of the soak test, in a process of its own: it does its program, and writes down what came of each call.

``python clients.py '{"url": ..., ...}'``; the fields are those of `Task`. Each line of the journal is one call
(`Entry`), or the beginning of a fresh session. A calm client repeats what one in the storm has written down: the
same program with what was stopped run to its end, and without the calls that ended with their session.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
from live import SECONDS, eventually
from program import CELLS, FUNCTIONS, HELD, SETUP, Step, argument, program

import rpc_magic
from rpc_magic import errors
from rpc_magic.wire import messages

__all__ = ["Entry", "Task", "read_journal"]

_LONGEST = 4 * SECONDS
"""For a call: an array of a megabyte takes many connections."""


class Task(msgspec.Struct):
    """What a client is told.

    Attributes:
        url, token_file: of the server.
        session: its name.
        seed: of its program.
        journal, ledger: where it writes what came of its calls, and these that they run.
        seconds: for how long.
        is_killed: its session is killed now and then.
        after: journal of the client that a calm one repeats; empty in the storm.
    """

    url: str
    token_file: str
    session: str
    seed: str
    journal: str
    ledger: str
    seconds: float = 0.0
    is_killed: bool = False
    after: str = ""


class Entry(msgspec.Struct, omit_defaults=True):
    """What came of a call.

    Attributes:
        number: of the call; 0 for the beginning of a fresh session.
        kind: of the step.
        end: "value", "error", "stopped", "died" for one whose session went, or "unknown" for one that was called by
            name in a program that has ended, or was about to.
        value: digest of the value, or the error.
        shown: what it has shown.
        at: moment of `time.monotonic` of its end.
        is_torn: the server has interrupted an earlier call of this session, so its variables are anyhow.
    """

    number: int
    kind: str = ""
    end: str = ""
    value: str = ""
    shown: list[tuple[str, Any]] = []
    at: float = 0.0
    is_torn: bool = False


def read_journal(path: str | Path) -> Iterator[Entry]:
    """Read what a client has written down."""
    with Path(path).open("rb") as lines:
        yield from map(msgspec.json.Decoder(Entry).decode, lines)


class Shown:
    """What calls have shown; text that follows text is one."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Any]] = []

    def take(self, message: messages.Message, _: object = None) -> None:
        match message:
            case messages.Stream(name, text):
                if self.entries and self.entries[-1][0] == name:
                    text = self.entries.pop()[1] + text
                self.entries.append((name, text))
            case messages.Display(data, metadata, transient, update):
                self.entries.append(("display", [_plain(data), metadata, transient, update]))
            case messages.ExecuteResult(data, metadata):
                self.entries.append(("result", [_plain(data), metadata]))
            case messages.ClearOutput(wait):
                self.entries.append(("clear", wait))
            case _:
                self.entries.append((type(message).__name__, str(message)))


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {kind: part.hex() if isinstance(part, bytes) else part for kind, part in data.items()}


def _digest(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(value).hexdigest()}"
    return repr(value)


class Client:
    """See the module's text."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._random = random.Random(f"{task.seed} kills")
        self._journal = Path(task.journal).open("wb", buffering=0)  # noqa: SIM115 - closed by `main`
        self._lines: dict[int, str] = {}  # what background calls have printed
        self._rest = ""
        self._is_torn = False
        self.kills = 0
        self.conn: rpc_magic.Connection | None = None
        self._fresh()

    # ------------------------------------------------------------ the two ways to do the program

    def storm(self) -> None:
        """Do it until the time is over; whatever ends a session is followed by a fresh one."""
        over = threading.Event()
        killer = threading.Thread(target=self._kill, args=(over,))
        if self._task.is_killed:
            killer.start()
        until = time.monotonic() + self._task.seconds
        try:
            for deed in program(self._task.seed, dies=self._task.is_killed):
                if time.monotonic() > until:
                    return
                self._note(self._do(deed))
                if any(entry.end == "died" for entry in self._last):
                    self._fresh()
        finally:
            over.set()
            if killer.ident:
                killer.join()

    def repeat(self) -> None:
        """Do what another client has done."""
        steps = {step.number: step for deed in self._deeds(self._task.after) for step in deed}
        for entry in list(read_journal(self._task.after))[1:]:
            if not entry.number:
                self._fresh()
            elif entry.end not in {"died", "unknown"}:
                self._note(self._do([steps[entry.number]]))

    def _deeds(self, journal: str) -> Iterable[list[Step]]:
        last = max((entry.number for entry in read_journal(journal)), default=0)
        for deed in program(self._task.seed, dies=self._task.is_killed):
            if deed[0].number > last:
                return
            yield deed

    def _kill(self, over: threading.Event) -> None:
        while not over.wait(self._random.uniform(5.0, 25.0)):
            conn = self.conn
            if conn is not None and conn.state == "attached" and conn.attachment.worker_pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(conn.attachment.worker_pid, signal.SIGKILL)
                    self.kills += 1

    # ------------------------------------------------------------ sessions

    def _fresh(self) -> None:
        """Get a fresh session, however often that fails."""
        deadline = time.monotonic() + 4 * SECONDS
        while True:
            try:
                if self.conn is None:
                    self.conn = rpc_magic.connect(
                        self._task.url, token_file=self._task.token_file, session=self._task.session
                    )
                    self.conn.attachment.links.chunks._limit = HELD
                    self.conn.exchange.show = self._take_lines
                    self.conn.exchange.ask = lambda request, reply: reply(
                        messages.InputReply(f"yes, {request.prompt}")
                    )
                elif self.conn.state == "lost":
                    self.conn.close()
                    self.conn = None
                    continue
                else:
                    self.conn.restart()
                self.conn.run(SETUP.format(ledger=self._task.ledger, held=HELD))
                break
            except (errors.ConnectionLostError, errors.ConnectError, errors.SessionDiedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self._is_torn = False
        self._lines.clear()
        self._note([Entry(0, at=time.monotonic())])

    # ------------------------------------------------------------ calls

    def _do(self, deed: list[Step]) -> list[Entry]:
        self.doing = deed
        if deed[0].kind in CELLS:
            return [self._cell(deed[0])]
        return [self._map(deed[0])] if deed[0].kind == "map" else self._functions(deed)

    def _cell(self, step: Step) -> Entry:
        assert self.conn is not None
        shown = Shown()
        entry = Entry(step.number, step.kind)
        try:
            result = self.conn.run(
                CELLS[step.kind].format(**step._asdict()),
                on_output=shown.take,
                timeout=step.pause if self._is_stormy and step.pause else None,
            )
            entry.end, entry.value = "value", _digest(result.value)
        except errors.CallTimeoutError as error:
            entry.end, entry.value = "died" if error.is_session_ended else "stopped", str(error)
        except BaseException as error:
            self._failed(entry, error)
        entry.shown = shown.entries
        return self._ended(entry)

    def _map(self, step: Step) -> Entry:
        assert self.conn is not None
        entry, parts = Entry(step.number, step.kind), range(step.size)
        ledgers, numbers = [self._task.ledger] * step.size, [step.number] * step.size
        try:
            entry.value = _digest(list(self.conn.map(FUNCTIONS["map"], ledgers, numbers, parts)))
            entry.end = "value"
        except BaseException as error:
            self._failed(entry, error)
        return self._ended(entry)

    def _functions(self, deed: list[Step]) -> list[Entry]:
        assert self.conn is not None
        calls = []
        for step in deed:
            call: Future[Any]
            try:
                call = self.conn.submit(FUNCTIONS[step.kind], step.number, argument(step, self._task.ledger))
            except errors.RpcMagicError as error:
                call = Future()
                call.set_exception(error)
            calls.append((step, call))
        return [self._call(step, call) for step, call in calls]

    def _call(self, step: Step, call: Future[Any]) -> Entry:
        entry = Entry(step.number, step.kind)
        try:
            if self._is_stormy and step.pause:
                time.sleep(step.pause)
                call.cancel()
            if call.cancelled():
                entry.end = "stopped"
            else:
                entry.end, entry.value = "value", _digest(call.result(_LONGEST))
        except BaseException as error:
            self._failed(entry, error)
        entry.shown = [("stdout", self._lines.pop(step.number, ""))]
        return self._ended(entry)

    def _failed(self, entry: Entry, error: BaseException) -> None:
        entry.value = f"{type(error).__name__}: {error}"
        if isinstance(error, (errors.SessionDiedError, errors.ConnectionLostError)):
            assert self.conn is not None
            is_known = entry.kind != "named" or self.conn.state in {"died", "lost"}
            entry.end = "died" if is_known else "unknown"
        elif isinstance(error, errors.RpcMagicError) and "the server is about to end" in str(error):
            entry.end = "unknown"
        elif "KeyboardInterrupt" in {base.__name__ for base in type(error).__mro__}:
            entry.end, self._is_torn = "stopped", True
        elif isinstance(error, (ValueError, KeyError)):
            entry.end = "error"
        else:
            error.add_note(repr(self))
            raise error

    def _ended(self, entry: Entry) -> Entry:
        entry.at, entry.is_torn = time.monotonic(), self._is_torn
        return entry

    @property
    def _is_stormy(self) -> bool:
        return not self._task.after

    def _take_lines(self, message: messages.Message, _: object) -> None:
        """I/O thread: lines of background calls begin with the call's number."""
        assert isinstance(message, messages.Stream), message
        *lines, self._rest = (self._rest + message.text).split("\n")
        for line in lines:
            number = int(line.split()[0])
            self._lines[number] = self._lines.get(number, "") + line + "\n"

    def _note(self, entries: list[Entry]) -> None:
        self._last = entries
        for entry in entries:
            self._journal.write(msgspec.json.encode(entry) + b"\n")

    def __repr__(self) -> str:
        assert self.conn is not None
        attachment = self.conn.attachment
        pong = attachment.control.ask_pong(1.0)
        return (
            f"{self.doing}: {attachment.state}, {attachment.retry}, {pong}, session {attachment.worker_pid}"
        )

    def close(self) -> None:
        if self.conn is not None:
            self.conn.close()
        self._journal.close()


def main() -> None:
    """Do a task; the last line of output is how many kills there were."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    me = psutil.Process()
    began = me.num_fds(), threading.active_count()
    client = Client(task)
    try:
        if task.after:
            client.repeat()
        else:
            client.storm()
    finally:
        client.close()
    kills = client.kills
    del client
    gc.collect()
    eventually(lambda: (me.num_fds(), threading.active_count()) <= began, f"{began} again")
    print(kills)


if __name__ == "__main__":
    main()
