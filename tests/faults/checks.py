"""A server under test, and what must hold after every fault: others are served, nothing is left, the log is clean."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from live import SECONDS, all_gone, eventually, family, within

import rpc_magic
from rpc_magic.runtime import launch, records

__all__ = ["Server", "serving", "spooled", "unharmed"]


class Server:
    """`rpc-magic serve` in a process of its own, whose log is kept."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        self.log_file = folder / "server.log"
        self.start()

    def start(self) -> None:
        """Start it, the same again after it was killed."""
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rpc_magic", "serve", *self.options],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=launch.environment(),
                cwd=self.folder,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.log
        self.process.stdout.close()

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def token_file(self) -> str:
        record = records.find(self.url)
        assert record is not None
        return record.token_file

    def size(self) -> tuple[int, int, int]:
        """Return the descriptors, threads and processes of the server."""
        process = psutil.Process(self.process.pid)
        return process.num_fds(), process.num_threads(), len(family(process.pid))

    def stop(self) -> None:
        pids = family(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
        all_gone(pids)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """Run a server; `options` as of `rpc-magic serve`."""
    server = Server(folder, *(options or ("--port", "0")))
    try:
        yield server
    finally:
        server.stop()


def spooled(worker: int) -> bytes:
    """Return what is in a session's spool."""
    for file in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if "spool-" in str(file.readlink()):
                return file.read_bytes()
    return b""


@contextmanager
def unharmed(server: Server, said: str = "") -> Iterator[None]:
    """The three checks of every row: run a fault inside, with all connections closed at its end.

    Args:
        server: the server.
        said: what the one line is about that the log must have of the fault; empty where the server has no part in it.
    """
    with rpc_magic.connect(server.url, session="innocent") as innocent:
        assert innocent.call(abs, -1) == 1
        before, threads = server.size(), threading.active_count()
        memory = psutil.Process(server.process.pid).memory_info().rss
        logged = len(server.log)
        yield
        with within(1.0):
            with rpc_magic.connect(server.url) as another:
                assert another.call(abs, -2) == 2
            assert innocent.call(abs, -3) == 3
        eventually(lambda: server.size() <= before, f"{before} again")
        eventually(lambda: threading.active_count() <= threads)
        assert psutil.Process(server.process.pid).memory_info().rss < memory + 20_000_000
        new = server.log[logged:]
        assert not said or [said in line for line in new.splitlines(keepends=True)].count(True) == 1, new
        assert "Traceback" not in new
        assert Path(server.token_file).read_text().strip() not in new
