"""Real servers, programs and scripts for tests; deadlines instead of sleeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from rpc_magic.runtime import launch
from rpc_magic.runtime.processes import start_time

FACTOR = float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))
SECONDS = 60 * FACTOR
"""Deadline of whatever is expected to happen."""


def eventually(condition: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """Wait until `condition` gives something true; return it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s: {what or condition}"
        time.sleep(0.005)


@contextmanager
def fair_clock() -> Iterator[Callable[[], float]]:
    """Run a clock for what is to be quick on a machine that has nothing else to do; gives what reads it, in seconds.

    It is the processor time of a process that is always busy. On a quiet machine that is real time; on a busy one it
    gets its share of the processors, as what is measured does.
    """
    with subprocess.Popen([sys.executable, "-ISc", "while True: pass"]) as busy:
        process = psutil.Process(busy.pid)
        try:
            yield lambda: sum(process.cpu_times()[:2])
        finally:
            busy.kill()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is done inside must not take longer, by a fair clock."""
    with fair_clock() as now:
        yield
        spent = now()
    assert spent < seconds * FACTOR, f"it took {spent:g} s, and may take {seconds * FACTOR:g}"


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (one that has ended and is not yet waited for does not)."""
    return start_time(pid) != 0


def family(pid: int) -> set[int]:
    """Return the ids of a process and all its descendants."""
    try:
        process = psutil.Process(pid)
        return {pid, *(child.pid for child in process.children(recursive=True))}
    except psutil.NoSuchProcess:
        return set()


def all_gone(pids: set[int]) -> None:
    """Wait until none of these processes runs."""
    eventually(lambda: not [pid for pid in pids if is_alive(pid)], f"the end of {pids}")


@contextmanager
def served(**config: Any) -> Iterator[str]:
    """Run a supervisor as `rpc-magic serve` does; gives its URL. It is ended, with all that it started."""
    config.setdefault("stop_seconds", 0.0)  # what still runs at a test's end is of no interest
    process, url = launch.start(launch.SupervisorConfig(url=config.pop("url", "tcp://127.0.0.1:0"), **config))
    served.process = process  # type: ignore[attr-defined]
    try:
        yield url
    finally:
        pids = family(process.pid)
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        all_gone(pids)


class Script:
    """A Python program in a process of its own, under ``-W error``.

    Args:
        text: the program.
        folder: where it is written and runs.
    """

    def __init__(
        self, text: str, folder: Path, *args: str, options: tuple[str, ...] = ("-W", "error")
    ) -> None:
        path = folder / f"program{len(list(folder.glob('program*.py')))}.py"
        path.write_text(text, "utf-8")
        self.process = subprocess.Popen(
            [sys.executable, *options, str(path), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            text=True,
            start_new_session=True,
        )
        self._errors: list[str] = []
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=lambda: self._errors.extend(self.process.stderr), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def errors(self) -> str:
        """What it has written to its standard error."""
        return "".join(self._errors)

    def line(self) -> str:
        """Return its next line of output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(SECONDS)
            self._reader.join(SECONDS)
            raise AssertionError(f"the program ended early ({self.process.returncode}):\n{self.errors}")
        return line.rstrip("\n")

    def finish(self, status: int | None = 0) -> str:
        """Wait for its end; return the rest of its output."""
        assert self.process.stdout is not None
        timer = threading.Timer(SECONDS * 2, self.process.kill)
        timer.start()
        rest = self.process.stdout.read()
        self.process.wait()
        timer.cancel()
        self._reader.join(SECONDS)
        if status is not None:
            assert self.process.returncode == status, self.errors
        return rest

    def signal(self, number: int = signal.SIGINT) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        self._reader.join(SECONDS)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
