"""What remote cells show, raise and how they stop: `rpc_magic.notebook.render`, `errors`, `background`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def test_streams_come_in_their_order(notebook: Any) -> None:
    """Prints go to stdout and stderr of here."""
    report = notebook.good("%%rpc_call\nimport sys\nprint('a')\nprint('b', file=sys.stderr)\n!echo c")
    assert report.out.split() == ["a", "c"]
    assert "b" in report.err


def test_displays_updates_and_clearing(notebook: Any) -> None:
    """Bundles, updates of a display and clear_output are shown here."""
    report = notebook.good(
        "%%rpc_call\nfrom IPython.display import display, HTML, clear_output\n"
        "h = display(HTML('<b>x</b>'), display_id='k')\nh.update(HTML('<i>y</i>'))\nclear_output(wait=True)"
    )
    first, second, third = report.shown
    assert first["data"]["text/html"] == "<b>x</b>"
    assert first["transient"] == {"display_id": "k"}
    assert second["update"]
    assert second["data"]["text/html"] == "<i>y</i>"
    assert third == {"clear": True}


def test_capture_takes_it(notebook: Any) -> None:
    """%%capture above or around a remote cell holds what it shows."""
    report = notebook.good(
        "%%capture cap\n%%rpc_call\nprint('held')\nfrom IPython.display import display, HTML\n"
        "display(HTML('h'))"
    )
    assert report.out == ""
    assert report.shown == []
    assert notebook.good("cap.stdout, len(cap.outputs)").result == "('held\\n', 1)"


def test_magics_inside(notebook: Any) -> None:
    """Line and cell magics, await and help work in a remote cell."""
    assert "loop" in notebook.good("%%rpc_call\n%timeit -n1 -r1 1 + 1").out
    assert "Wall time" in notebook.good("%%rpc_call\n%%time\nx = 1").out
    assert "Wall time" in notebook.good("%%time\n%%rpc_call\nx = 1").out
    assert notebook.good("%%rpc_call\nimport asyncio\nawait asyncio.sleep(0, 'waited')").result == "'waited'"
    report = notebook.good("%%rpc_call\ndef documented():\n    'told there'\ndocumented?")
    assert "told there" in report.out + str(report.shown)


def test_an_exception_shows_the_remote_lines_only(notebook: Any) -> None:
    """Its class is its own, its traceback the remote one; line 1 is the magic's line."""
    report = notebook.run("%%rpc_call\ndef fail():\n    return {}['missing']\nfail()")
    assert report.error == "KeyError"
    assert "line 4" in report.traceback
    assert "return {}['missing']" in report.traceback
    assert "rpc_magic/" not in report.traceback
    assert report.traceback.count("KeyError: 'missing'") == 1
    assert "There it happened" not in report.traceback


def test_lines_are_counted_below_other_magics(notebook: Any) -> None:
    """With %%time above, the remote cell's lines are counted as the editor does."""
    assert "line 4" in notebook.run("%%time\n%%rpc_call\n\n1/0").traceback


def test_a_syntax_error(notebook: Any) -> None:
    """It shows the user's line and nothing of ours."""
    report = notebook.run("%%rpc_call\nx = 1\nif x\n    pass")
    assert report.error == "SyntaxError"
    assert "line 3" in report.traceback
    assert "rpc_magic/" not in report.traceback


def test_an_exception_group(notebook: Any) -> None:
    """All its parts are shown, without frames of ours."""
    report = notebook.run("%%rpc_call\nraise ExceptionGroup('several', [ValueError('one'), KeyError('two')])")
    assert report.error == "ExceptionGroup"
    assert "ValueError: one" in report.traceback
    assert "rpc_magic/" not in report.traceback


def test_exceptions_can_be_caught(notebook: Any) -> None:
    """Try and except around a remote expression work, chains stay."""
    report = notebook.good(
        "try:\n    %rpc_call 1/0\nexcept ZeroDivisionError as error:\n    print('caught', error)"
    )
    assert report.out == "caught division by zero\n"


def test_exit_there_is_an_error_here(notebook: Any) -> None:
    """SystemExit ends the cell, not the kernel or the session."""
    report = notebook.run("%%rpc_call\nx = 1\nexit()")
    assert report.error == "RemoteExit"
    assert notebook.good("%rpc_call x").result == "1"


def test_a_class_of_here_is_raised_as_itself(notebook: Any) -> None:
    """An exception class that the notebook defines arrives as that class."""
    notebook.good("class Mine(Exception): pass")
    report = notebook.good(
        "try:\n    get_ipython().run_cell_magic('rpc_call', '', 'raise Mine(3)')\n"
        "except Mine as error:\n    print(error.args)"
    )
    assert report.out == "(3,)\n"


def test_a_value_shows_its_bundle(notebook: Any) -> None:
    """The result of a cell that stays there is shown as it was rendered there."""
    notebook.good("%%rpc_call\nclass Rich:\n    def _repr_html_(self): return '<b>rich</b>'\nvalue = Rich()")
    notebook.good("%%rpc_call\nvalue")
    report = notebook.good(
        "shell = get_ipython()\nshell.display_formatter.format(shell.user_ns['_' * 1])[0]['text/html']"
    )
    assert report.result == "'<b>rich</b>'"


def test_a_stated_time(notebook: Any) -> None:
    """--timeout interrupts the cell; the session lives."""
    report = notebook.run("%%rpc_call --timeout 0.3\nimport time\nx = 1\ntime.sleep(60)")
    assert report.error == "CallTimeoutError"
    assert report.traceback.count("\n") == 0
    assert notebook.good("%rpc_call x").result == "1"


def test_stop(notebook: Any, tmp_path: Path, until: Any) -> None:
    """Stop interrupts the remote cell: KeyboardInterrupt with the remote line; the session lives."""
    mark = tmp_path / "running"
    notebook.good(f"mark = {str(mark)!r}")
    notebook.start("%%rpc_call\nimport time\nbefore = 1\nopen(mark, 'w').close()\ntime.sleep(60)")
    until(mark)
    notebook.interrupt()
    report = notebook.report()
    assert report.error == "KeyboardInterrupt"
    assert "time.sleep(60)" in report.traceback
    assert "rpc_magic/" not in report.traceback
    assert notebook.good("%rpc_call before").result == "1"


def test_a_background_cell(notebook: Any) -> None:
    """It returns a live Call; its result binds what it bound."""
    report = notebook.good(
        "%%rpc_call --noblock\nimport time\ntime.sleep(0.1)\nlate = 7\nprint('shown')\nlate * 2"
    )
    assert re.fullmatch(r"<Call \d+ import time: pending, [\d.]+ s>", report.result)
    assert notebook.good("%rpc_result").result == "14"
    assert notebook.good("late").result == "7"


def test_a_background_cell_never_overwrites_what_was_bound_since(notebook: Any, tmp_path: Path) -> None:
    """The value of here stays, and the user is told once."""
    go = tmp_path / "go"
    notebook.good(f"go = {str(go)!r}; x = 'before'")
    notebook.good(
        "%%rpc_call --noblock\nimport time, os\nwhile not os.path.exists(go): time.sleep(0.01)\n"
        "x = 'there'; y = 'new'\nx"
    )
    notebook.good("x = 'here'")
    go.touch()
    report = notebook.good("value = %rpc_result")
    assert "x kept the value bound here" in report.err
    assert notebook.good("x, y, value").result == "('here', 'new', 'there')"
    notebook.good("%rpc_pull x")
    assert notebook.good("x").result == "'there'"


def test_interrupting_a_background_cell(notebook: Any, tmp_path: Path, until: Any) -> None:
    """%rpc_interrupt ends it; its result raises, and the session lives."""
    mark = tmp_path / "running"
    notebook.good(f"mark = {str(mark)!r}")
    notebook.good("%%rpc_call --noblock\nimport time\nopen(mark, 'w').close()\ntime.sleep(60)")
    until(mark)
    notebook.good("%rpc_interrupt")
    assert notebook.run("%rpc_result").error == "RemoteInterrupt"
    assert notebook.good("%rpc_call 1").result == "1"


def test_a_failed_background_cell(notebook: Any) -> None:
    """Its result raises with the remote traceback."""
    notebook.good("%%rpc_call --noblock\ndef fail(): return 1/0\nfail()")
    report = notebook.run("%rpc_result")
    assert report.error == "ZeroDivisionError"
    assert "def fail(): return 1/0" in report.traceback
    assert "rpc_magic/" not in report.traceback


def test_the_later_of_a_background_cell_and_a_blocking_one_wins(notebook: Any) -> None:
    """Calls of a session run in order, and what they bound is bound in that order."""
    notebook.good("%%rpc_call --noblock\nx = 'background'; y = 'background'")
    report = notebook.good("%%rpc_call\nx = 'blocking'")
    assert report.err == ""
    assert notebook.good("x, y").result == "('blocking', 'background')"


def test_a_background_cell_whose_variables_cannot_be_loaded(notebook: Any) -> None:
    """Its result says so, and the variables are sent again."""
    notebook.good(
        "class Picky:\n    def __getstate__(self): return {'a': 1}\n"
        "    def __setstate__(self, state): raise OSError('not loaded')\ngood, bad = [1], Picky()"
    )
    notebook.good("%%rpc_call --noblock\ngood, bad")
    assert notebook.run("%rpc_result").error == "OSError"
    assert notebook.good("%%rpc_call\ngood").result == "[1]"


def test_a_background_cell_of_a_session_that_dies(notebook: Any) -> None:
    """Its result says how the session ended."""
    notebook.good("%%rpc_call --noblock\nimport os; os._exit(3)")
    report = notebook.run("%rpc_result")
    assert report.error == "SessionDiedError"
    assert "status 3" in report.traceback


def test_cancelling_a_background_cell_that_waits(notebook: Any, tmp_path: Path) -> None:
    """It never runs, and the session goes on."""
    go = tmp_path / "go"
    notebook.good(f"go = {str(go)!r}")
    notebook.good("%%rpc_call --noblock\nimport os, time\nwhile not os.path.exists(go): time.sleep(0.01)")
    notebook.good("get_ipython().run_cell_magic('rpc_call', '--noblock', 'never = 1').cancel()")
    go.touch()
    assert notebook.run("%rpc_call never").error == "NameError"
