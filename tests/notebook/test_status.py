"""The status model: `rpc_magic.notebook.status`."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

import pytest

import rpc_magic
from rpc_magic.client.reconnecting import Retry
from rpc_magic.notebook.status import Snapshot, Status

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
    status.cell_ends()  # as the cell that started it
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


def test_it_sleeps_while_nothing_goes_on(status: Status) -> None:
    """Watched, but idle, it asks nothing; a cell that ends is followed by one question; details are kept fresh."""
    seen: queue.Queue[Snapshot] = queue.Queue()
    status.watch(seen.put)
    wait_for(seen, "connected")
    control = status._connection.attachment.control
    asked: queue.Queue[bool] = queue.Queue()
    ping = control.ping

    def counted(*, machine: bool = False) -> int:
        asked.put(machine)
        return ping(machine=machine)

    control.ping = counted  # type: ignore[method-assign]
    with pytest.raises(queue.Empty):
        asked.get(timeout=3)
    status.cell_begins()
    status.cell_ends()
    assert asked.get(timeout=TIMEOUT) is False
    status.wants_facts = lambda: True
    status.touch()
    assert asked.get(timeout=TIMEOUT) is True
    deadline = time.monotonic() + TIMEOUT
    while status.facts().machine is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    facts = status.facts()
    assert facts.machine is not None
    assert facts.machine.memory > facts.machine.memory_used > 0
    assert facts.machine.uptime >= facts.machine.session_age > 0
    assert facts.welcome.host
    assert facts.memory > 0


def test_a_cell_that_lasts_blocks(status: Status) -> None:
    """A cell that runs for some time is told, so that buttons can say that nobody hears them; its end too."""
    seen: queue.Queue[Snapshot] = queue.Queue()
    status.watch(seen.put)
    status.cell_begins()
    while not seen.get(timeout=TIMEOUT).is_blocked:
        pass
    status.cell_ends()
    while seen.get(timeout=TIMEOUT).is_blocked:
        pass


def test_stop_means_the_call_that_is_shown(status: Status) -> None:
    """Stop for a call that has ended leaves the one that runs alone; for that one, it interrupts it."""
    seen: queue.Queue[Snapshot] = queue.Queue()
    status.watch(seen.put)
    first = status._connection.submit(time.sleep, 0)
    first.result(TIMEOUT)
    second = status._connection.submit(time.sleep, 60)
    status.touch()
    status.cell_ends()
    busy = wait_for(seen, "busy")
    assert busy.call == second.id
    status.stop(first.id)
    status.ask()
    assert not second.done()
    status.stop(busy.call)
    with pytest.raises(rpc_magic.RemoteError, match="KeyboardInterrupt"):
        second.result(TIMEOUT)


def test_a_countdown_goes_on(status: Status) -> None:
    """While the connection is being made again, watchers are told of the time that is left without being woken."""
    attachment = status._connection.attachment
    attachment.state, attachment.retry = "reconnecting", Retry(3, time.monotonic() + 60)
    seen: queue.Queue[Snapshot] = queue.Queue()
    status.watch(seen.put)
    first, second = (wait_for(seen, "reconnecting") for _ in range(2))
    assert (first.attempt, second.attempt) == (3, 3)
    assert first.next_seconds > second.next_seconds > 0
    attachment.state, attachment.retry = "attached", None


def test_the_end_of_a_cell_is_asked_for_at_the_next_look(status: Status) -> None:
    """The line does not say "busy" for long after it; while something runs, a question a second is enough."""
    assert status._interval(wants=False) == 0
    status.cell_ends()
    assert status._interval(wants=False) == 0.5
    status._connection.submit(time.sleep, 60)
    while status.ask().word != "busy":
        pass
    assert status._interval(wants=False) == 0.5
    status._is_due = False
    assert status._interval(wants=False) == 1.0
    status._connection.interrupt()
