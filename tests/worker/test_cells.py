"""Cells in a session's shell: values, errors, awaits and everything else that a kernel's cell can do."""

from __future__ import annotations

import re

EVENTS = ["pre_execute", "pre_run_cell", "post_execute", "post_run_cell"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def plain(lines):
    return ANSI.sub("", "\n".join(lines))


def test_value_is_an_object(run_cells):
    """The last expression's value is shown where it comes, and comes as an object as well."""
    reports = run_cells("print('x')\n[1, 2]", "y = 3", "None")
    assert [one["what"] for one in reports.of(1)] == ["Stream", "ExecuteResult", "Done"]
    assert reports.of(1, "ExecuteResult")[0]["is_value"]
    assert (reports.done(1)["value"], reports.done(1)["data"]) == ("[1, 2]", {"text/plain": "[1, 2]"})
    assert [reports.done(call)["has_value"] for call in (1, 2, 3)] == [True, False, False]
    assert [reports.done(call)["count"] for call in (1, 2, 3)] == [1, 2, 3]


def test_semicolon_silences(run_cells):
    """A trailing semicolon silences the value, also before a comment, and leaves Out alone."""
    reports = run_cells("1", "2;", "3;  # why", "(_, Out)")
    assert [reports.done(call)["silenced"] for call in (1, 2, 3)] == [False, True, True]
    assert [reports.done(call)["has_value"] for call in (1, 2, 3)] == [True, False, False]
    assert reports.done(4)["value"].startswith("(1, {1: 1")


def test_output_history(run_cells):
    """`_`, `__`, `_n`, Out and In are set as IPython sets them."""
    reports = run_cells("'a'", "'b'", "(_, __, _1, Out[2], In[1])")
    assert reports.done(3)["value"] == "('b', 'a', 'a', 'b', \"'a'\")"


def test_expression(run_cells):
    """An expression gives its value, makes no history, and may await."""
    reports = run_cells(
        "import asyncio\nx = 4\n'last'",
        {"source": " x + 1 ", "expression": True},
        {"source": "await asyncio.sleep(0, x)", "expression": True},
        {"source": "x +", "expression": True, "offset": 1},
        {"source": "(\n1/0)", "expression": True, "offset": 1},
        "_",
    )
    assert [reports.done(call)["value"] for call in (2, 3, 6)] == ["5", "4", "'last'"]
    assert reports.done(6)["count"] == 2
    assert reports.done(4)["record"]["type_name"] == "SyntaxError"
    assert "line 2" in reports.done(4)["record"]["traceback"]
    assert re.search(r"line 3, in <module>\s+1/0", reports.done(5)["record"]["traceback"])


def test_main_module(run_cells):
    """The session's variables are those of `__main__`, so that its classes pickle and dataclasses work."""
    source = """
import dataclasses, pickle, sys
@dataclasses.dataclass
class Point:
    x: "int"
assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
assert sys.modules["__main__"].Point is Point and Point.__module__ == "__main__"
(__name__, type(sys.modules["__main__"]).__name__)
"""
    assert run_cells(source).done(1)["value"] == "('__main__', 'module')"


def test_await_and_background_task(run_cells):
    """Top-level await runs on the running loop; a task goes on between cells, under its own cell."""
    first = """
import asyncio
ticks = 0
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep(0.01)
        if ticks == 3:
            print("three")
task = asyncio.create_task(tick())
await asyncio.sleep(0)
ticks
"""
    reports = run_cells(
        {"source": first, "until": "ticks >= 4"}, "print('second')\nticks >= 4", "task.cancel()"
    )
    assert reports.done(1)["value"] == "1"
    assert reports.text(1) == "three\n"
    assert reports.text(2) == "second\n"
    assert reports.done(2)["value"] == "True"


def test_loop_is_running_for_plain_cells(run_cells):
    """A plain cell can create tasks and callbacks on the running loop."""
    reports = run_cells(
        {
            "source": "import asyncio\ndone = []\nx = asyncio.get_running_loop().call_soon(done.append, 1)",
            "until": "done",
        },
        "done",
    )
    assert reports.done(2)["value"] == "[1]"


def test_error_has_the_editors_line_numbers(run_cells):
    """Line numbers count the magic's own line, and source lines are the right ones, in functions too."""
    reports = run_cells(
        {"source": "def f():\n    return 1/0  # here", "offset": 1}, {"source": "x = 1\nf()", "offset": 1}
    )
    record = reports.done(2)["record"]
    assert (record["kind"], record["type_name"], record["message"]) == (
        "error",
        "ZeroDivisionError",
        "division by zero",
    )
    assert re.search(r"Remote cell In\[2\], line 3, in <module>\n    f\(\)", record["traceback"])
    assert re.search(r"Remote cell In\[1\], line 3, in f\n    return 1/0  # here", record["traceback"])
    rendered = plain(record["rendered"])
    assert "Remote cell In[2], line 3" in rendered
    assert "----> 3 f()" in rendered
    assert "----> 3     return 1/0" in rendered
    assert "rpc_magic" not in rendered + record["traceback"]
    assert "IPython/core" not in rendered + record["traceback"]
    assert "\x1b[" in "".join(record["rendered"])
    assert [one["what"] for one in reports.of(2)] == ["Done"]  # nothing was printed


def test_source_of_functions(run_cells):
    """The inspect module finds the source of functions of a shifted cell."""
    reports = run_cells(
        {"source": "# top\ndef f():\n    return 1", "offset": 1}, "import inspect\ninspect.getsource(f)"
    )
    assert reports.done(2)["value"] == repr("def f():\n    return 1\n")


def test_syntax_error(run_cells):
    """A syntax error shows the cell's line and no frames; so does one that only the compiler finds."""
    reports = run_cells(
        {"source": "x = 1\ndef (", "offset": 1}, {"source": "return 5", "offset": 1}, "  x = 2\n y = 3"
    )
    for call, line in ((1, 3), (2, 2)):
        record = reports.done(call)["record"]
        assert record["type_name"] == "SyntaxError"
        assert f"Remote cell In[{call}], line {line}" in record["traceback"]
        assert f"line {line}" in plain(record["rendered"])
        assert "IPython/core" not in record["traceback"] + plain(record["rendered"])
    assert reports.done(3)["record"]["type_name"] == "IndentationError"
    assert [one["what"] for one in reports if one["what"] != "End"] == ["Done"] * 3


def test_cause_notes_and_groups(run_cells):
    """Causes, notes and exception groups are in the record."""
    reports = run_cells(
        "try:\n    1/0\nexcept Exception as e:\n    e.add_note('a note')\n    raise KeyError('x') from e",
        "raise ExceptionGroup('several', [ValueError(1), TypeError('two')])",
    )
    cause = reports.done(1)["record"]
    for text in (cause["traceback"], plain(cause["rendered"])):
        assert "direct cause" in text
        assert "a note" in text
        assert "ZeroDivisionError" in text
    group = reports.done(2)["record"]
    for text in (group["traceback"], plain(group["rendered"])):
        assert "several (2 sub-exceptions)" in text
        assert "TypeError: two" in text


def test_exit_leaves_the_session_alive(run_cells):
    """exit, quit() and sys.exit() end the cell with SystemExit, and only the cell."""
    reports = run_cells("exit", "quit()", "import sys\nsys.exit(3)", "raise SystemExit('bye')", "'lives'")
    assert [reports.done(call)["record"]["kind"] for call in (1, 2, 3, 4)] == ["exit"] * 4
    assert [reports.done(call)["record"]["message"] for call in (1, 3, 4)] == ["", "3", "bye"]
    assert reports.done(5)["value"] == "'lives'"


def test_usage_error_and_missing_magic(run_cells):
    """Errors of magics are one line, not a traceback."""
    reports = run_cells("%no_such_magic", "%%timeit -n\n1")
    assert plain(reports.done(1)["record"]["rendered"]).startswith("UsageError: Line magic function")
    assert reports.done(2)["error"] is not None


def test_error_of_a_nested_cell_is_shown(run_cells):
    """A cell run by the cell shows its error and value; the outer one goes on."""
    reports = run_cells("r = get_ipython().run_cell('1/0')\nget_ipython().run_cell('6*7')\nr.success")
    assert [one["type_name"] for one in reports.of(1, "ShownError")] == ["ZeroDivisionError"]
    shown = [(one["data"]["text/plain"], one["is_value"]) for one in reports.of(1, "ExecuteResult")]
    assert shown == [("42", False), ("False", True)]
    assert reports.done(1)["value"] == "False"


def test_captured_errors_are_not_hidden(run_cells):
    """An error under %%capture is shown, as in a kernel."""
    reports = run_cells("%%capture out\nprint('x')\n1/0", "out.stdout")
    (shown,) = reports.of(1, "ShownError")
    assert (shown["type_name"], shown["message"]) == ("ZeroDivisionError", "division by zero")
    assert "1/0" in plain(shown["lines"])
    assert reports.done(2)["value"] == repr("x\n")


def test_all_values_when_the_user_wants_all(run_cells):
    """With ast_node_interactivity 'all' every expression is shown, as in a kernel."""
    reports = run_cells("get_ipython().ast_node_interactivity = 'all'", "1\n2")
    assert [one["data"]["text/plain"] for one in reports.of(2, "ExecuteResult")] == ["1", "2"]
    assert not reports.done(2)["has_value"]


def test_hostile_exceptions(run_cells):
    """An exception whose text fails, or has gigabytes, still makes a record."""
    reports = run_cells(
        "class Bad(Exception):\n    def __str__(self): raise RuntimeError\n    __repr__ = __str__",
        "raise Bad()",
        "raise ValueError('x' * 5_000_000)",
        "def f(): f()\nf()",
    )
    assert reports.done(2)["record"]["type_name"] == "Bad"
    huge = reports.done(3)["record"]
    for text in (huge["message"], huge["traceback"], "\n".join(huge["rendered"])):
        assert 1_000_000 < len(text) < 1_100_000
        assert "characters left out" in text
    assert reports.done(4)["record"]["type_name"] == "RecursionError"


def test_magics(run_cells):
    """%timeit, %%time, %%capture, %%bash, !, assignment from !, %who and %run-like magics work."""
    reports = run_cells(
        "%timeit -n2 -r1 sum(range(10))",
        "%%time\nz = 5",
        "%%capture captured\nprint('in')\ndisplay(7)\n8",
        "(captured.stdout, len(captured.outputs), z)",
        "%%bash\necho from bash\necho wrong >&2",
        "!echo shell $z {z + 1}; exit 3",
        "files = !echo one; echo two\nfiles",
        "_exit_code",
        "z?",
        "import this_is_missing",
    )
    assert "per loop" in reports.text(1)
    assert "Wall time" in reports.text(2)
    assert [one["what"] for one in reports.of(3)] == ["Done"]
    assert reports.done(4)["value"] == "('in\\n', 2, 5)"
    assert (reports.text(5), reports.text(5, "stderr")) == ("from bash\n", "wrong\n")
    assert reports.text(6) == "shell 5 6\r\n"
    assert reports.done(7)["value"] == "['one', 'two']"
    (page,) = reports.of(9, "Page")
    assert "int" in page["data"]["text/plain"]
    assert reports.done(10)["record"]["type_name"] == "ModuleNotFoundError"


def test_command_output_is_live(run_cells):
    """What a command prints arrives while it runs, also from programs that buffer."""
    reports = run_cells("!python -c \"import time; print('one'); time.sleep(0.5); print('two')\"")
    first, second = reports.of(1, "Stream")
    assert (first["text"], second["text"]) == ("one\r\n", "two\r\n")
    assert second["at"] - first["at"] > 0.3


def test_command_with_a_daemon(run_cells):
    """A command that leaves a process behind does not hold the cell up."""
    reports = run_cells(
        "import os, signal, tempfile, time\nt = time.monotonic()\npid = tempfile.mktemp()\n"
        "!(sleep 60 & echo $! > {pid}) ; echo done\nis_quick = time.monotonic() - t < 30\n"
        "os.kill(int(open(pid).read()), signal.SIGKILL)\nos.unlink(pid)\nis_quick"
    )
    assert reports.text(1) == "done\r\n"
    assert reports.done(1)["value"] == "True"


def test_debug_prompts(run_cells):
    """%debug and breakpoint() prompt through input(), at the frame of the last error."""
    reports = run_cells(
        "def f(secret):\n    1/0\nf(42)",
        "%debug",
        "def g():\n    inside = 7\n    breakpoint()\ng()",
        answers=["p secret", "q", "p inside", "c"],
    )
    assert "42" in reports.text(2)
    assert [one["prompt"] for one in reports.of(2, "Question")] == ["ipdb> ", "ipdb> "]
    assert "7" in reports.text(3)


def test_hooks_run(run_cells):
    """pre_run_cell, post_run_cell and the execute events reach the user's callbacks."""
    first = (
        f"EVENTS = {EVENTS}"
        """
seen = []
for event in EVENTS:
    get_ipython().events.register(event, lambda *a, event=event: seen.append(event))
"""
    )
    reports = run_cells(first, "len(seen)", "seen[2:]")
    assert reports.done(3)["value"] == repr([*EVENTS, *EVENTS[:2]])


def test_parent(run_cells):
    """get_parent() answers with the notebook's message; a bare header is wrapped."""
    parent = {"header": {"msg_id": "m1"}}
    reports = run_cells(
        {"source": "get_ipython().kernel.get_parent()", "parent": parent},
        {"source": "get_ipython().get_parent()['header']['msg_id']", "parent": {"msg_id": "m2"}},
    )
    assert reports.done(1)["value"] == repr(parent)
    assert reports.done(2)["value"] == "'m2'"


def test_a_cells_file_has_the_name_that_a_kernel_gives_it(run_cells):
    """Warnings and code objects show it; only the process's number differs."""
    from ipykernel.compiler import get_file_name

    source = "# ünïcode, of any length: {}\nimport sys; sys._getframe().f_code.co_filename"
    cells = [source.format("x" * length) for length in range(4)]
    reports = run_cells(*({"source": f"{cell}\n", "offset": 1} for cell in cells))
    for number, cell in enumerate(cells, 1):
        name = reports.done(number)["value"].strip("'")
        assert name.rpartition("/")[2] == get_file_name(cell).rpartition("/")[2]
        assert (
            name.rpartition("/")[0].rpartition("_")[0]
            == get_file_name(cell).rpartition("/")[0].rpartition("_")[0]
        )


def test_an_interrupt_that_strikes_a_hook(run_cells):
    """IPython shows it as the hook's error and goes on; it is the cell's, else Stop would be lost."""
    reports = run_cells(
        "import signal\nip = get_ipython()\nstrike = lambda: signal.raise_signal(signal.SIGINT)\n"
        "ip.events.register('post_execute', strike)\n1",
        "ip.events.unregister('post_execute', strike)",
        "2",
    )
    assert reports.done(1)["record"]["type_name"] == "KeyboardInterrupt"
    assert reports.done(3)["value"] == "2"
