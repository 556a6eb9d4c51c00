"""The local engine: order, streaming, faults. Real processes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import signal
import time

import pytest

from rpc_magic import errors


def square(n):
    return n * n


def slow_first(n):
    import time

    time.sleep(1.5 if n == 0 else 0)
    return n


def test_order_and_iterables(conn):
    """Results come in the order of the arguments; several iterables end with the shortest; none is an error."""
    assert list(conn.map(square, range(100))) == [n * n for n in range(100)]
    assert list(conn.map(lambda a, b: (a, b), range(3), "abcdef")) == [(0, "a"), (1, "b"), (2, "c")]
    assert list(conn.map(square, [])) == []
    assert list(conn.map(square, range(50), chunksize=7)) == [n * n for n in range(50)]
    with pytest.raises(TypeError, match="iterable"):
        conn.map(square)
    with pytest.raises(ValueError, match="chunksize"):
        conn.map(square, [1], chunksize=0)


def test_unordered_gives_what_is_ready(conn):
    """With ordered=False a slow task does not hold the others up."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    list(conn.map(square, range(4)))
    results = list(conn.map(slow_first, range(6), chunksize=1, ordered=False))
    assert sorted(results) == list(range(6))
    assert results[0] != 0


def test_first_result_comes_before_the_last_task_ends(conn, tmp_path):
    """Results stream."""
    go = tmp_path / "go"

    def wait(n):
        import time

        while n == 9 and not go.exists():
            time.sleep(0.01)
        return n

    results = conn.map(wait, range(10), chunksize=1)
    assert next(results) == 0
    go.touch()
    assert list(results) == list(range(1, 10))


def test_parallel(conn):
    """Tasks run in several processes, other than the session's."""
    pids = set(
        conn.map(
            lambda n: __import__("time").sleep(0.05) or __import__("os").getpid(), range(12), chunksize=1
        )
    )
    assert len(pids) == len(os.sched_getaffinity(0))
    assert conn.info().worker_pid not in pids


def test_exception_at_its_place(conn):
    """The results before it come, then it is raised; the pool goes on."""

    def fail_at(n):
        if n == 5:
            raise LookupError(n)
        return n

    for chunksize in (1, 3, None):
        results = conn.map(fail_at, range(10), chunksize=chunksize)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(LookupError, match="5"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
    assert list(conn.map(square, [3])) == [9]


def test_infinite_iterable_and_close(conn):
    """Endless arguments are taken as they are needed; closing the iterator ends what is under way."""
    taken = []

    def count():
        for n in itertools.count():
            taken.append(n)
            yield n

    results = conn.map(square, count())
    assert [next(results) for _ in range(100)] == [n * n for n in range(100)]
    assert len(taken) < 1000
    results.close()
    sleeping = conn.map(time.sleep, itertools.repeat(600), chunksize=1)
    first = conn.map(time.sleep, [0])
    assert list(first) == [None]

    def run():
        return next(sleeping)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run)
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        for pid in engine_pids(conn):
            os.kill(pid, signal.SIGINT)
        with pytest.raises(errors.RpcMagicError):
            waiting.result(30)
    sleeping.close()
    assert list(conn.map(square, [4])) == [16]


def engine_pids(conn):
    """Return the engine's processes: children of the keeper that are no worker."""
    import psutil

    worker = psutil.Process(conn.info().worker_pid)
    return [
        child.pid
        for child in worker.parent().children()
        if child.pid != worker.pid and any(c.pid == child.pid for c in worker.parent().children())
    ]


def test_process_killed(fresh):
    """The task that a dead process ran fails with RemoteError; all others succeed, and the pool goes on."""

    def maybe_die(n):
        import os
        import signal

        if n == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    calls = [fresh.pool.submit(maybe_die, n) for n in range(8)]
    concurrent.futures.wait(calls, 30)
    with pytest.raises(errors.RemoteError, match="died"):
        calls[3].result()
    assert [c.result() for n, c in enumerate(calls) if n != 3] == [0, 1, 2, 4, 5, 6, 7]
    assert list(fresh.map(square, range(10))) == [n * n for n in range(10)]


def test_timeout_frees_the_process(fresh):
    """A task whose caller has waited long enough ends, so that all processes work again."""

    def pid(_):
        import time

        time.sleep(0.05)
        return os.getpid()

    with pytest.raises(TimeoutError):
        list(fresh.pool.map(time.sleep, [60], timeout=0.3))
    began = time.monotonic()
    assert len(set(fresh.map(pid, range(12), chunksize=1))) == len(os.sched_getaffinity(0))
    assert time.monotonic() - began < 20


def test_dead_processes_leave_no_trace(fresh):
    """Processes that died are waited for: they do not pile up for as long as the session lives."""
    import psutil

    list(fresh.map(square, range(4)))
    keeper = psutil.Process(fresh.info().worker_pid).parent()
    for _ in range(5):
        with pytest.raises(errors.RemoteError):
            fresh.pool.submit(os._exit, 1).result(30)
    zombies = 0
    for child in keeper.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it was waited for just now
            zombies += child.status() == psutil.STATUS_ZOMBIE
    assert zombies <= 2


def test_exit_in_a_task(conn):
    """sys.exit in a task is RemoteExit for its caller and leaves the pool whole."""
    with pytest.raises(errors.RemoteExit):
        conn.pool.submit(exit, 3).result(30)
    with pytest.raises(errors.RemoteStopIteration):
        conn.pool.submit(next, iter([])).result(30)
    assert conn.pool.submit(square, 3).result(30) == 9


def test_executor(conn):
    """The pool is an Executor: kwargs, map with timeout, context manager, cancel, futures' functions."""
    assert isinstance(conn.pool, concurrent.futures.Executor)
    assert conn.pool.submit(dict, a=1, fn=2).result(30) == {"a": 1, "fn": 2}
    with conn.pool as pool:
        assert list(pool.map(square, range(5))) == [0, 1, 4, 9, 16]
    with pytest.raises(TimeoutError):
        list(conn.pool.map(time.sleep, [60], timeout=0.2))
    calls = [conn.pool.submit(time.sleep, 60) for _ in range(6)]
    assert all(call.cancel() for call in calls)
    began = time.monotonic()
    assert conn.pool.submit(square, 3).result(30) == 9
    assert time.monotonic() - began < 10


def test_pool_map_begins_at_once(conn, tmp_path):
    """As an executor's does, before a result is asked for; one that is not wanted any more can be closed."""
    from live import eventually

    results = conn.pool.map(lambda path: path.touch(), [tmp_path / "a", tmp_path / "b"])
    eventually((tmp_path / "b").exists)
    assert list(results) == [None, None]
    conn.pool.map(time.sleep, [600] * 64).close()
    assert list(conn.map(square, [4])) == [16]


def test_what_cannot_travel(conn):
    """An argument, a result and an exception that cannot travel end their own task with an error."""
    with pytest.raises(errors.TransferError, match=r"^n \(generator\)"):
        conn.pool.submit(square, (i for i in "a"))
    with pytest.raises(errors.TransferError, match="generator"):
        conn.pool.submit(lambda: (i for i in "a")).result(30)
    results = conn.map(lambda n: (i for i in "a") if n == 2 else n, range(4), chunksize=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(errors.TransferError):
        next(results)


def test_changed_functions(conn):
    """A function that refers to a changed global is sent anew."""
    space = conn.namespace
    exec("factor_ = 2\ndef times_(n): return n * factor_", space)
    try:
        assert list(conn.map(space["times_"], [1, 2])) == [2, 4]
        space["factor_"] = 3
        assert list(conn.map(space["times_"], [1, 2])) == [3, 6]
    finally:
        del space["factor_"], space["times_"]


def test_large_items(conn):
    """Megabytes go to a task and come back."""
    blobs = [bytes([n]) * 3_000_000 for n in range(6)]
    assert [len(b) for b in conn.map(lambda b: b + b, blobs)] == [6_000_000] * 6


def test_output_of_tasks(conn, capfd):
    """What tasks print reaches the client."""
    from live import eventually

    seen = []
    conn.exchange.show = lambda message, _: seen.append(getattr(message, "text", ""))
    try:
        list(conn.map(lambda n: print("task", n, flush=True), range(3)))
        eventually(
            lambda: (conn.call(abs, 0), capfd.readouterr().out)[1].count("task") or "task" in "".join(seen)
        )
    finally:
        del conn.exchange.show


def test_big_machines():
    """More processors than one packet passes descriptors: the processes are asked for in several packets."""
    from rpc_magic.settings import WorkerSettings
    from rpc_magic.wire import internal
    from rpc_magic.worker.enginehost import EngineHost

    class Keeper:
        def __init__(self):
            self.asked = []

        def send(self, message):
            import socket

            assert isinstance(message, internal.ForkEngine)
            self.asked.append(message.count)
            count = message.count if len(self.asked) < 4 else 0
            host._forked.put([(n, socket.socket(socket.AF_UNIX)) for n in range(count)])

    keeper = Keeper()
    host = EngineHost(keeper, lambda *_: None, WorkerSettings())
    made = host._make(150)
    assert keeper.asked == [64, 64, 22]
    assert len(made) == 150
    for _, sock in made:
        sock.close()
    assert host._make(5) == []
    host._wake_read.close()
    host._wake_write.close()


def test_no_process_to_be_had():
    """An engine that gets no process fails its tasks instead of keeping them for ever."""
    import selectors

    from rpc_magic.engines.base import Task
    from rpc_magic.engines.local import LocalEngine

    done = []
    with selectors.DefaultSelector() as selector:
        engine = LocalEngine(lambda count: [], lambda *_: None, lambda *a: done.append(a), selector, 2)
        engine.define(b"d", [])
        engine.submit(Task(1, b"d", []))
    assert done[0][0] == 1
    assert "no process" in done[0][1].error.message


def test_a_keeper_that_does_not_answer(monkeypatch):
    """It makes no process, and the engine goes on without."""
    from rpc_magic.settings import WorkerSettings
    from rpc_magic.worker import enginehost

    class Keeper:
        def send(self, message):
            pass

    monkeypatch.setattr(enginehost, "_FORK_SECONDS", 0.01)
    host = enginehost.EngineHost(Keeper(), lambda *_: None, WorkerSettings())
    assert host._make(5) == []
    host._wake_read.close()
    host._wake_write.close()


@pytest.mark.parametrize("says", ["its answer", "nothing any more"])
def test_a_process_that_is_let_go_of_as_it_speaks(says):
    """Its client leaves in the moment in which it answers, or dies: nothing comes of that, and the engine goes on."""
    import selectors
    import socket
    import subprocess

    from rpc_magic.engines.base import Task
    from rpc_magic.engines.local import LocalEngine
    from rpc_magic.transport import FrameSocket
    from rpc_magic.wire import messages

    done = []
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(["sleep", "600"])
    with selectors.DefaultSelector() as selector:
        engine = LocalEngine(
            lambda count: [(process.pid, ours)], lambda *_: None, lambda *a: done.append(a), selector, 1
        )
        engine.define(b"d", [])
        engine.submit(Task(1, b"d", []))
        frames = FrameSocket(theirs)
        if says == "its answer":
            frames.send(1, messages.encode(messages.Returned()))
        else:
            frames.hang_up()
        ((key, _),) = selector.select(60)
        engine.close()
        key.data()
        assert not engine.unfinished
    frames.close()
    process.wait()
    assert done == []
