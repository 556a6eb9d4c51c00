"""The variables that background cells are making: `rpc_magic.notebook.pending`, and what waits for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rpc_magic.notebook.pending import names_made

WAIT = "import os, time\nwhile not os.path.exists(go): time.sleep(0.01)\n"
ONCE_IT_WAITS = """import os, signal, sys, threading, time
def act():
    while 'still making it' not in getattr(sys.stderr, 'getvalue', str)(): time.sleep(0.01)
    {}
threading.Thread(target=act, daemon=True).start()"""
GO = ONCE_IT_WAITS.format("open(go, 'w').close()")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x = f(y)", {"x"}),
        ("d['k'] = 1; o.a.b = 2; l[0][1] += 3", {"d", "o", "l"}),
        ("import numpy as np\ndef f(): z = 1", {"np", "f"}),
        ("print(x)", set()),
        ("x = (", set()),
    ],
)
def test_names_that_a_cell_makes(text: str, names: set[str]) -> None:
    """What it binds, and what it sets items and attributes of."""
    assert names_made(text) == names


@pytest.fixture
def go(notebook: Any, tmp_path: Path) -> Path:
    """A file for which background cells wait; the notebook's `go` is its name."""
    path = tmp_path / "go"
    notebook.good(f"go = {str(path)!r}")
    return path


def test_a_local_cell_waits_for_what_it_mentions(notebook: Any, go: Path) -> None:
    """It says what it waits for, and has the value; a cell that mentions nothing of it goes on."""
    notebook.good("old, table = 1, {'a': 1}")
    notebook.good(f"%%rpc_call --noblock\n{WAIT}old = 2; new = object(); table['b'] = 2")
    assert notebook.good("1 + 1").result == "2"
    notebook.good(GO)
    report = notebook.good("old, table, type(new).__name__")
    assert report.result == "(2, {'a': 1, 'b': 2}, 'object')"
    assert (
        "new, old, table: a background cell on local is still making it (import os, time, for " in report.err
    )
    assert "Stop ends the wait, not the background cell" in report.err
    assert notebook.good("old").err == ""


def test_a_function_that_mentions_it_waits_as_well(notebook: Any, go: Path) -> None:
    """A mention is also one by the code that a cell uses."""
    notebook.good("rate = 1\ndef f(): return rate * 2")
    notebook.good(f"%%rpc_call --noblock\n{WAIT}rate = 21")
    notebook.good(GO)
    assert notebook.good("f()").result == "42"


def test_stop_ends_the_wait_only(notebook: Any, go: Path) -> None:
    """The waiting cell is interrupted, the background cell goes on."""
    notebook.good(f"%%rpc_call --noblock\n{WAIT}late = 7")
    notebook.good(ONCE_IT_WAITS.format("os.kill(os.getpid(), signal.SIGINT)"))
    report = notebook.run("late")
    assert report.error == "KeyboardInterrupt"
    assert report.traceback == "KeyboardInterrupt"
    go.touch()
    assert notebook.good("late").result == "7"


def test_what_is_bound_here_since_is_not_waited_for(notebook: Any, go: Path) -> None:
    """The name is the notebook's again."""
    notebook.good(f"%%rpc_call --noblock\n{WAIT}x = 'there'")
    notebook.good("x = 'here'")
    report = notebook.good("x")
    assert (report.result, report.err) == ("'here'", "")
    go.touch()
    notebook.good("%rpc_result")


def test_a_module_is_not_waited_for(notebook: Any, go: Path) -> None:
    """A cell that imports what is imported here as well makes nobody wait who uses it here."""
    notebook.good("import os, time")
    notebook.good(f"%%rpc_call --noblock\n{WAIT}late = 1")
    report = notebook.good("(os.getpid() > 0, time.monotonic() > 0)")
    assert (report.result, report.err) == ("(True, True)", "")
    notebook.good("open(go, 'w').close()")
    assert notebook.good("late").result == "1"


def test_a_background_cell_that_fails_is_told_to_who_waits(notebook: Any, go: Path) -> None:
    """The cell goes on with what there is."""
    notebook.good("x = 'before'")
    notebook.good(f"%%rpc_call --noblock\n{WAIT}x = 1 / 0")
    notebook.good(GO)
    report = notebook.good("x")
    assert report.result == "'before'"
    assert "that background cell failed with ZeroDivisionError; x may be as before. %rpc_result" in report.err


def test_the_next_remote_cell_queues_behind_it(notebook: Any, go: Path) -> None:
    """It finds what the background cell made, not what is here; what it changes of that is known here."""
    notebook.good("x = [1]")
    notebook.good(f"%%rpc_call --noblock\n{WAIT}x = [1, 2]; y = {{}}")
    notebook.good(
        "import threading; timer = threading.Timer(0.3, lambda: open(go, 'w').close()); timer.start()"
    )
    report = notebook.good("%%rpc_call\nx.append(3); y['k'] = 1\nlen(x)")
    assert (report.result, report.err) == ("3", "")
    assert notebook.good("x, y").result == "([1, 2, 3], {'k': 1})"


def test_a_cell_of_another_server_waits(notebook: Any, go: Path) -> None:
    """What one server is making is fetched for another when it is there."""
    notebook.good("%rpc_connect --name other --session pending-other")
    notebook.good(f"%%rpc_call -s local --noblock\n{WAIT}x = [1, 2]")
    notebook.good(GO)
    report = notebook.good("%%other\nlen(x)")
    assert report.result == "2"
    assert "a background cell on local is still making it" in report.err


def test_await_and_result(notebook: Any) -> None:
    """Both give the value itself, wherever it was left, and bind what the cell bound."""
    notebook.good(
        "call = get_ipython().run_cell_magic('rpc_call', '--noblock', 'b = 2\\nimport numpy; numpy.ones(3)')"
    )
    assert notebook.good("(await call).sum() + b").result in {"np.float64(5.0)", "5.0"}
    assert notebook.good("call.result().sum()").result in {"np.float64(3.0)", "3.0"}
    notebook.good("call = get_ipython().run_cell_magic('rpc_call', '--noblock', 'def fail(): 1/0\\nfail()')")
    report = notebook.run("await call")
    assert report.error == "ZeroDivisionError"
    assert "def fail(): 1/0" in report.traceback
    assert "rpc_magic/" not in report.traceback
