"""What all tests share: a runtime folder of their own, one time factor, and no process left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TIME_FACTOR = float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))
"""All timeouts of the tests are multiplied by it; set it on a slow machine."""

_RUNTIME = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep this run apart from the user's servers and tokens; the path is short, for Unix sockets' sake."""
    base = "/tmp" if os.name == "posix" else None
    folder = config.stash[_RUNTIME] = tempfile.mkdtemp(prefix="rpcm-test-", dir=base)
    os.environ["RPC_MAGIC_RUNTIME_DIR"] = folder
    os.environ.pop("RPC_MAGIC_TOKEN_FILE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that runs a script's command in the background has it ignore Ctrl-C; many tests are about that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if getattr(config.option, "timeout", None) is None and TIME_FACTOR != 1:
        config.option.timeout = float(config.getini("timeout")) * TIME_FACTOR


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where nobody waits for the end, tell of a failure at once: the run may be cut off before its summary."""
    if report.failed and os.environ.get("CI") and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n--- {report.nodeid} ({report.when})\n{report.longreprtext}", flush=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder."""
    shutil.rmtree(config.stash[_RUNTIME], ignore_errors=True)


@pytest.fixture(scope="session")
def time_factor() -> float:
    """The number by which every timeout is multiplied."""
    return TIME_FACTOR


@pytest.fixture(scope="session", autouse=True)
def _no_process_left(pytestconfig: pytest.Config) -> Iterator[None]:
    """Every process that the tests start inherits this run's runtime folder: by it, those that are left are found."""
    yield
    _end_embedded()
    mark = b"RPC_MAGIC_RUNTIME_DIR=" + os.fsencode(pytestconfig.stash[_RUNTIME])
    deadline = time.monotonic() + 10 * TIME_FACTOR
    while (left := _processes_with(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"processes were left behind: {left}"


def _end_embedded() -> None:
    """End the embedded server of this process, which otherwise ends with it."""
    from rpc_magic.client import locating

    if locating._embedded is not None and locating._embedded[0] == os.getpid():
        process: subprocess.Popen[bytes] = locating._embedded[1]
        process.terminate()
        process.wait(10 * TIME_FACTOR)
        locating._embedded = None


def _processes_with(mark: bytes) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
