"""Fixtures for tests of the worker: a session's shell in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("shell_driver.py")
TIMEOUT = 60 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))  # seconds


class ShellSession:
    """A running `shell_driver.py`: what it reports, as it reports it.

    Attributes:
        seen: all reports so far.
    """

    def __init__(self, plan: Path) -> None:
        reader, writer = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(DRIVER), str(plan)],
            pass_fds=[writer],
            env={**os.environ, "RPC_MAGIC_TEST_FD": str(writer), "MPLBACKEND": "agg"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=plan.parent,
        )
        os.close(writer)
        self._reports = os.fdopen(reader, encoding="utf-8")
        self.seen: list[dict[str, Any]] = []

    def next(self) -> dict[str, Any]:
        """Wait for the next report."""
        line = self._reports.readline()
        if not line:
            output, _ = self.process.communicate(timeout=TIMEOUT)
            raise AssertionError(f"the driver ended early:\n{output.decode()}")
        self.seen.append(json.loads(line))
        return self.seen[-1]

    def wait_for(self, what: str, text: str = "") -> dict[str, Any]:
        """Wait for a report of a kind whose text contains `text`."""
        while True:
            report = self.next()
            if report["what"] == what and text in report.get("text", ""):
                return report

    def interrupt(self) -> None:
        """Press Stop."""
        os.kill(self.process.pid, signal.SIGINT)

    def finish(self) -> Reports:
        """Wait for the end; what the process itself printed must be nothing."""
        if not self.seen or self.seen[-1]["what"] != "End":
            self.wait_for("End")
        output, _ = self.process.communicate(timeout=TIMEOUT)
        assert self.process.returncode == 0, output.decode()
        return Reports(self.seen, output.decode())

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._reports.close()


class Reports(list):
    """What a driver has reported; `raw` is what reached the real file descriptors."""

    def __init__(self, seen: list[dict[str, Any]], raw: str) -> None:
        super().__init__(seen)
        self.raw = raw

    def of(self, call: int, *kinds: str) -> list[dict[str, Any]]:
        return [one for one in self if one.get("call") == call and (not kinds or one["what"] in kinds)]

    def text(self, call: int, name: str = "stdout") -> str:
        return "".join(one["text"] for one in self.of(call, "Stream") if one["name"] == name)

    def done(self, call: int) -> dict[str, Any]:
        (done,) = self.of(call, "Done")
        return done


@pytest.fixture
def start_cells(tmp_path: Path) -> Iterator[Callable[..., ShellSession]]:
    """Start a session that runs cells; texts or dicts as the driver takes them."""
    started: list[ShellSession] = []

    def start(*cells: str | dict[str, Any], **plan: Any) -> ShellSession:
        path = tmp_path / f"plan{len(started)}.json"
        described = [{"source": cell} if isinstance(cell, str) else cell for cell in cells]
        path.write_text(json.dumps({"cells": described, **plan}), "utf-8")
        started.append(ShellSession(path))
        return started[-1]

    yield start
    for session in started:
        session.close()


@pytest.fixture
def run_cells(start_cells: Callable[..., ShellSession]) -> Callable[..., Reports]:
    """Run cells in a session to their end."""
    return lambda *cells, **plan: start_cells(*cells, **plan).finish()
