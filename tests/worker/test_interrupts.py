"""SIGINT: raises in user code, waits for masks, cancels a waiting cell, and is dropped elsewhere."""

from __future__ import annotations

import asyncio
import signal

import pytest

from rpc_magic.worker.interrupts import InterruptGate


@pytest.fixture
def gate():
    """A gate that is not the process's handler; tests call the handler themselves."""
    return InterruptGate()


def press(gate, frame=None):
    gate._on_signal(signal.SIGINT, frame)


def test_outside_user_code_it_is_dropped(gate):
    """Where no user code runs, nothing happens, also not later."""
    press(gate)
    with gate.user_code():
        pass
    assert gate.dropped == 1


def test_early_in_a_call_it_waits_for_user_code(gate):
    """A signal for a call that has begun, but whose user code has not, is not lost: that code raises, once."""
    gate.in_call = True
    press(gate)
    with pytest.raises(KeyboardInterrupt), gate.user_code():
        pytest.fail("user code ran")
    assert (gate.depth, gate.early, gate.dropped) == (0, False, 0)
    with gate.user_code():
        pass


def test_inside_user_code_it_raises(gate):
    """In user code, nested too, KeyboardInterrupt is raised, and the count survives it."""
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), gate.user_code(), gate.user_code():
            press(gate)
        assert gate.depth == 0


def test_a_mask_keeps_it(gate):
    """Inside a mask the signal waits; it is raised when the outermost mask ends."""
    steps = []

    def user_code():
        with gate.masked():
            with gate.masked():
                press(gate)
            steps.append("inner mask over")
        steps.append("not reached")

    with pytest.raises(KeyboardInterrupt), gate.user_code():
        user_code()
    assert steps == ["inner mask over"]
    assert (gate.depth, gate.masks, gate.kept) == (0, 0, False)


def test_a_mask_outside_user_code_drops_it(gate):
    """A signal kept while no user code runs is dropped, not raised in our own code."""
    with gate.masked():
        press(gate)
    assert (gate.dropped, gate.kept) == (1, False)


def test_not_wanted(gate):
    """A signal that was meant for something else does nothing."""
    gate.is_wanted = lambda: False
    with gate.user_code():
        press(gate)
        with gate.masked():
            press(gate)
    assert (gate.dropped, gate.kept) == (2, False)


def test_a_signal_while_another_one_is_looked_at(gate):
    """One that turns out to be meant for something else does not hide the one that came meanwhile."""
    answers = [True, False]

    def is_wanted():
        if len(answers) == 2:
            press(gate)
        return answers.pop()

    gate.is_wanted = is_wanted
    with pytest.raises(KeyboardInterrupt), gate.user_code():
        press(gate)
    assert gate.dropped == 0


class AtExit:
    """Stands for the frame of an `__exit__` that has not counted down yet."""

    def __init__(self, context):
        self.f_code = type(context).__exit__.__code__


def test_at_the_entry_of_exit(gate):
    """A signal at the very end of user code is dropped, and the count stays right."""
    with gate.user_code():
        press(gate, AtExit(gate.user_code()))
    assert (gate.depth, gate.kept, gate.dropped) == (0, False, 1)


def test_at_the_entry_of_an_inner_exit(gate):
    """A signal at the end of nested user code is raised in the outer one."""
    with pytest.raises(KeyboardInterrupt), gate.user_code(), gate.user_code():
        press(gate, AtExit(gate.user_code()))
    assert (gate.depth, gate.kept) == (0, False)


def test_a_waiting_task_is_cancelled(gate):
    """While a cell waits, its task is cancelled, and the gate says by whom."""

    async def main():
        task = asyncio.ensure_future(asyncio.sleep(60))
        await asyncio.sleep(0)
        gate.set_task(task)
        press(gate)
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set_task(None)
        assert gate.take_cancelled()
        assert not gate.take_cancelled()

    asyncio.run(main())


def test_a_signal_during_the_handler(gate):
    """A signal that comes while another one is decided on does nothing: only one KeyboardInterrupt is raised."""

    def is_wanted():
        press(gate)
        return True

    gate.is_wanted = is_wanted
    with gate.user_code():
        press(gate, AtExit(gate.user_code()))
    assert (gate.depth, gate.kept, gate.dropped) == (0, False, 1)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        pytest.param("import time\nprint('started')\ntime.sleep(60)", 4, id="sleep"),
        pytest.param("print('started')\nwhile True:\n    pass", 3, id="busy loop"),
        pytest.param("import asyncio\nprint('started')\nawait asyncio.sleep(60)", 4, id="await"),
        pytest.param(
            "import asyncio\nprint('started')\nawait asyncio.sleep(0)\nwhile True:\n    pass",
            5,
            id="busy async",
        ),
        pytest.param("while True:\n    print('started')", None, id="printing"),
    ],
)
def test_stop(start_cells, source, line):
    """Stop ends a cell with KeyboardInterrupt at the user's line, and the session goes on."""
    session = start_cells({"source": source, "offset": 1}, "kept = 5\nkept")
    session.wait_for("Stream", "started")
    session.interrupt()
    reports = session.finish()
    done = reports.done(1)
    assert done["error"] == "KeyboardInterrupt"
    assert done["record"]["kind"] == "interrupt"
    if line:
        assert f"Remote cell In[1], line {line}" in done["record"]["traceback"]
        assert "shell.py" not in done["record"]["traceback"]
    assert reports.done(2)["value"] == "5"


def test_stop_of_an_expression_that_awaits(start_cells):
    """An awaiting expression is interrupted as a cell is."""
    session = start_cells(
        "import asyncio\nasync def wait():\n    print('started', flush=True)\n    await asyncio.sleep(60)",
        {"source": "await wait()", "expression": True},
        "'lives'",
    )
    session.wait_for("Stream", "started")
    session.interrupt()
    reports = session.finish()
    assert reports.done(2)["error"] == "KeyboardInterrupt"
    assert reports.done(3)["value"] == "'lives'"


def test_second_stop_reaches_a_busy_child_task(start_cells):
    """When another task of the cell holds the loop, a second Stop ends that one, and with it the cell."""
    source = """
import asyncio
async def busy():
    print("started")
    while not shell_gate._cancelled:
        pass
    report(what="First")
    while True:
        pass
await asyncio.gather(busy(), asyncio.sleep(60))
"""
    session = start_cells(source, "await asyncio.sleep(0)\n'lives'")
    session.wait_for("Stream", "started")
    session.interrupt()
    session.wait_for("First")
    session.interrupt()
    reports = session.finish()
    assert reports.done(1)["error"] == "KeyboardInterrupt"
    assert reports.done(2)["value"] == "'lives'"


def test_stop_between_cells_is_ignored(start_cells):
    """A signal while the session is idle hits nothing, and not the next cell either."""
    session = start_cells(
        {"source": "first = 1", "until": "shell_gate.dropped"},
        "import time\ntime.sleep(0.05)\nshell_gate.dropped",
    )
    session.wait_for("Done")
    session.interrupt()
    reports = session.finish()
    assert reports.done(2)["error"] is None
    assert reports.done(2)["value"] == "1"


def test_stop_ends_a_command(start_cells):
    """Stop ends a running `!command` with its children, and the cell."""
    session = start_cells("!echo started; sleep 60; echo no\nprint('not reached')", "'lives'")
    session.wait_for("Stream", "started")
    session.interrupt()
    reports = session.finish()
    assert reports.done(1)["error"] == "KeyboardInterrupt"
    assert reports.text(1) == "started\r\n"
    assert reports.done(2)["value"] == "'lives'"


def test_signals_never_leave_the_gate(start_cells):
    """However SIGINTs hit the edges of user code, they raise inside of it only, and the counts stay right."""
    source = """
import os, subprocess, time
from rpc_magic.worker.interrupts import InterruptGate
shell_gate.is_wanted = lambda: False
gate = InterruptGate()
gate.install()
inside, outside = 0, 0
shoot = f"while kill -INT {os.getpid()}; do :; done"
firing = subprocess.Popen(["sh", "-c", shoot], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def user():
    for _ in range(10):
        pass
def one_call():
    global inside
    try:
        with gate.user_code():
            with gate.masked():
                user()
            user()
    except KeyboardInterrupt:
        inside += 1
until = time.monotonic() + 20  # a loaded machine may send few signals
while (inside < 500 or gate.dropped < 50) and time.monotonic() < until:
    try:
        one_call()
    except KeyboardInterrupt:
        outside += 1
firing.kill()
firing.wait()
shell_gate.install()
(outside, gate.depth, gate.masks, gate.kept, inside > 20, gate.dropped > 10)
"""
    assert start_cells(source).finish().done(1)["value"] == "(0, 0, 0, False, True, True)"


def test_many_stops_while_printing_lose_nothing(start_cells):
    """SIGINTs that hit prints and displays never tear them: all that was printed arrives, whole."""
    source = """
import os, signal, threading, time
armed, ended, count, caught = False, False, 0, 0
def fire():
    global armed
    while not ended:
        if armed:  # one signal at a time, and only into the loop below
            armed = False
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.0003)
thread = threading.Thread(target=fire)
thread.start()
while caught < 300:
    try:
        armed = True
        while True:
            display({"text/plain": "d"}, raw=True)
            count += 1
    except KeyboardInterrupt:
        caught += 1
ended = True
thread.join()
report(what='Count', count=count, caught=caught)
"""
    reports = start_cells(source).finish()
    (counted,) = [one for one in reports if one["what"] == "Count"]
    displays = len(reports.of(1, "Display"))
    assert reports.done(1)["error"] is None
    # A display may have left when the interrupt came before it was counted, never the other way round.
    assert counted["count"] <= displays <= counted["count"] + counted["caught"]
