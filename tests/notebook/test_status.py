"""The status model and its widget: `rpc_magic.notebook.status`, `widget`."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rpc_magic
from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.relay import Relay
from rpc_magic.notebook.status import Snapshot, Status
from rpc_magic.notebook.widget import show_widget

TIMEOUT = 30.0  # seconds


@pytest.fixture
def status() -> Iterator[Status]:
    """The status of a fresh connection."""
    with rpc_magic.connect() as connection:
        status = Status("gpu", connection)
        yield status
        status.end()


def wait_for(seen: queue.Queue[Snapshot], word: str) -> Snapshot:
    """Wait until a watcher has been told a state."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        snapshot = seen.get(timeout=max(0.1, deadline - time.monotonic()))
        if snapshot.word == word:
            return snapshot


def threads() -> list[str]:
    """Return the names of the threads that look after statuses."""
    return [thread.name for thread in threading.enumerate() if thread.name == "rpc_magic-status"]


def test_nobody_watches_nobody_asks(status: Status) -> None:
    """Without a watcher there is no thread."""
    assert threads() == []
    assert status.now().word == "connected"


def test_a_watcher_hears_of_busy_and_idle(status: Status) -> None:
    """What runs is told while it runs, with its time; the thread ends with the last watcher."""
    seen: queue.Queue[Snapshot] = queue.Queue()
    status.watch(seen.put)
    assert wait_for(seen, "connected").name == "gpu"
    call = status._connection.submit(time.sleep, 60)
    busy = wait_for(seen, "busy")
    assert "gpu: busy for" in str(busy)
    call.cancel()
    assert wait_for(seen, "connected").round_trip > 0
    status.unwatch(seen.put)


def test_a_watcher_hears_of_the_end(status: Status) -> None:
    """A session that dies, and a connection that is closed, are said truly."""
    seen: queue.Queue[Snapshot] = queue.Queue()
    status.watch(seen.put)
    with pytest.raises(rpc_magic.SessionDiedError):
        status._connection.run("import os; os._exit(3)")
    assert "%rpc_restart" in str(wait_for(seen, "died"))
    status._connection.restart()
    wait_for(seen, "connected")
    status._connection.close()
    wait_for(seen, "closed")


def test_each_step_of_a_stop_is_told(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    """Busy, stopping, deaf; a second stop ends the session."""
    monkeypatch.setattr("rpc_magic.notebook.status.GRACE", 1.0)
    seen: queue.Queue[Snapshot] = queue.Queue()
    status.watch(seen.put)

    def deaf() -> None:
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(60)

    call = status._connection.submit(deaf)
    wait_for(seen, "busy")
    assert not status.stop().is_deaf
    assert "gpu: stopping for" in str(wait_for(seen, "stopping"))
    while not wait_for(seen, "stopping").is_deaf:
        pass
    assert "Stop again ends the session" in str(status.now())
    assert status.stop().is_deaf
    wait_for(seen, "died")
    with pytest.raises(rpc_magic.SessionDiedError, match="it was stopped"):
        call.result(TIMEOUT)


def test_a_watcher_that_fails_harms_nobody(status: Status) -> None:
    """Other watchers are told."""

    def fails(_: Snapshot) -> None:
        raise ValueError

    seen: queue.Queue[Snapshot] = queue.Queue()
    status.watch(fails)
    status.watch(seen.put)
    assert wait_for(seen, "connected")


def test_lines() -> None:
    """Each state says what to do next."""
    assert str(Snapshot("lost", "a", "u", "s")) == "a: lost (run %rpc_connect again), u, session s"
    assert str(Snapshot("connected", "a", "u", "", round_trip=0.0012)) == "a: connected, u, 1.2 ms"


def test_the_widget_follows_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text changes with the state; its buttons act; its bundle holds text for where no widgets are."""
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    with rpc_magic.connect() as connection:
        status = Status("gpu", connection)
        server = Server("gpu", connection, (), status, Relay(connection))
        assert show_widget(server)
        (line,) = shown
        light, stop, leave = line.children
        bundle = line._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        assert data["text/plain"].startswith("gpu: connected")
        assert "gpu: connected" in data["text/html"]
        changed: queue.Queue[str] = queue.Queue()
        light.observe(lambda change: changed.put(change["new"]), "value")
        leave.click()
        while "closed" not in changed.get(timeout=TIMEOUT):
            pass
        assert connection.state == "closed"
        status.end()
        assert stop.disabled
