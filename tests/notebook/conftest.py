"""Fixtures for tests of the notebook side: a real IPython shell in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("notebook_driver.py")
TIMEOUT = 60 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))  # seconds


class Notebook:
    """A running `notebook_driver.py`: runs cells and tells what each showed."""

    def __init__(self) -> None:
        theirs_in, mine_out = os.pipe()
        mine_in, theirs_out = os.pipe()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(DRIVER), str(theirs_in), str(theirs_out)],
            pass_fds=[theirs_in, theirs_out],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "IPYTHONDIR": tempfile.gettempdir() + "/rpc_magic-test-ipython",
                "MPLBACKEND": "agg",
            },
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._requests = os.fdopen(mine_out, "w", buffering=1)
        self._reports = os.fdopen(mine_in)

    def ask(self, **request: str) -> Any:
        """Send a request and wait for its report."""
        self._requests.write(json.dumps(request) + "\n")
        return self.report()

    def report(self) -> Any:
        """Wait for a report."""
        line = self._reports.readline()
        if not line:
            self.log.seek(0)
            raise AssertionError(f"the driver ended:\n{self.log.read().decode()}")
        report = json.loads(line)
        assert "broken" not in report, report.get("broken")
        return SimpleNamespace(**report)

    def run(self, cell: str) -> Any:
        """Run a cell; it may fail."""
        return self.ask(cell=cell)

    def good(self, cell: str) -> Any:
        """Run a cell that must not fail."""
        report = self.run(cell)
        assert report.error is None, f"{cell}\n{report.traceback or report.err}"
        return report

    def start(self, cell: str) -> None:
        """Start a cell whose report is fetched later."""
        self._requests.write(json.dumps({"cell": cell}) + "\n")

    def interrupt(self) -> None:
        """Press Stop."""
        os.kill(self.process.pid, signal.SIGINT)

    def close(self) -> None:
        """End the shell."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        try:
            self.process.wait(TIMEOUT)
        finally:
            self.process.kill()
            self._reports.close()
            self.log.close()


@pytest.fixture(scope="session")
def running_notebook() -> Iterator[Notebook]:
    """One shell for all tests of this process."""
    notebook = Notebook()
    yield notebook
    notebook.close()


@pytest.fixture
def bare(running_notebook: Notebook) -> Notebook:
    """A shell as it starts: no variables, nothing loaded."""
    running_notebook.run("%unload_ext rpc_magic")
    running_notebook.good("%reset -f")
    return running_notebook


@pytest.fixture
def loaded(bare: Notebook) -> Notebook:
    """A shell with the extension loaded."""
    bare.good("%load_ext rpc_magic")
    return bare


@pytest.fixture
def notebook(loaded: Notebook) -> Notebook:
    """A shell that is connected to a fresh session on an embedded server."""
    loaded.good("%rpc_connect")
    return loaded


def wait_until(path: Path) -> None:
    """Wait until a file exists."""
    deadline = time.monotonic() + TIMEOUT
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


@pytest.fixture
def until() -> Any:
    """The function that waits until a file exists."""
    return wait_until
