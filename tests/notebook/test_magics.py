"""The magics, with bad input: `rpc_magic.notebook.magics`, `server_magics`, `arguments`, `completing`."""

from __future__ import annotations

import re
from typing import Any

import pytest


def one_sentence(report: Any, *parts: str) -> None:
    """Check that a cell failed with one line that says these things."""
    assert report.error is not None
    assert report.traceback.count("\n") == 0
    for part in parts:
        assert part in report.traceback, report.traceback


def test_loading_twice_and_unloading(bare: Any) -> None:
    """Loading twice does no harm; unloading takes everything away and closes connections."""
    bare.good("shell = get_ipython(); before = len(shell.ast_transformers)")
    bare.good("%load_ext rpc_magic\nimport rpc_magic\nrpc_magic.load_ipython_extension(shell)\n%rpc_connect")
    bare.good("conn = shell._rpc_magic_extension.registry.servers['local'].connection")
    bare.good("%unload_ext rpc_magic")
    assert bare.good(
        "conn.state, len(shell.ast_transformers) == before, shell.find_line_magic('rpc_call'),"
        "shell.find_cell_magic('local'), 'showtraceback' in vars(shell)"
    ).result == ("('closed', True, None, None, False)")
    assert bare.run("%rpc_status").error == "UsageError"


def test_without_a_connection(loaded: Any) -> None:
    """A call says what to run first; the status says that there is none."""
    one_sentence(loaded.run("%%rpc_call\n1"), "UsageError", "%rpc_connect")
    one_sentence(loaded.run("%rpc_call 1"), "%rpc_connect")
    assert "No server is connected" in loaded.good("%rpc_status").out


def test_the_connection_of_the_remote_cells(notebook: Any) -> None:
    """`rpc_magic.connection` gives it by name or the latest one; without any it says what to do."""
    notebook.good("%rpc_connect --name other --no-widget\nimport rpc_magic")
    notebook.good("%%rpc_call -s local\nmark = 1")
    assert notebook.good("rpc_magic.connection('local').pull('mark')").result == "1"
    assert notebook.good("rpc_magic.connection() is rpc_magic.connection('other')").result == "True"
    assert "under the name 'none'" in notebook.run("rpc_magic.connection('none')").message
    notebook.good("%unload_ext rpc_magic")
    assert "%load_ext rpc_magic has not run here" in notebook.run("rpc_magic.connection()").message


def test_connecting_again_keeps_the_connection(notebook: Any) -> None:
    """The session and its variables stay."""
    notebook.good("%%rpc_call\nonly_there = [object()]")
    notebook.good("%rpc_connect")
    assert notebook.good("%rpc_call len(only_there)").result == "1"


def test_two_servers_by_name(notebook: Any) -> None:
    """-s and the alias magics choose; the one connected last is the default."""
    notebook.good("%rpc_connect --name gpu")
    notebook.good("%%gpu -o ''\nwhere = 'gpu'")
    notebook.good("%%rpc_call -s local -o ''\nwhere = 'local'")
    assert notebook.good("%rpc_call where").result == "'gpu'"
    assert notebook.good("%gpu where + '!'").result == "'gpu!'"
    assert notebook.good("%rpc_call -s local where").result == "'local'"
    status = notebook.good("%rpc_status").out
    assert re.search(r"^local: connected, unix://.*, session private-\d+, [\d.]+ ms$", status, re.MULTILINE)
    assert "gpu: connected" in status
    notebook.good("%rpc_disconnect gpu")
    assert notebook.run("%%gpu\n1").error == "UsageError"
    assert notebook.good("%rpc_call where").result == "'local'"


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ("%rpc_connect --name 1st", ("--name", "identifier", "'1st'")),
        ("%rpc_connect --name time", ("there is a magic %time already",)),
        ("%rpc_connect --nmae x", ("unrecognized arguments", "%rpc_connect?")),
        ("%rpc_connect no-such-server", ("ConnectError", "no server of that name")),
        ("%rpc_connect 127.0.0.1:9 --token-file /nowhere/token", ("/nowhere/token",)),
        ("%rpc_connect ftp://host", ("ConnectError", "ftp")),
        ("%%rpc_call -q\n1", ("unrecognized arguments: -q", "%rpc_call?")),
        ("%%rpc_call -s nope\n1", ("'nope'", "connected: local")),
        ("%%rpc_call -i 1a\n1", ("-i", "'1a'")),
        ("%%rpc_call --timeout soon\n1", ("--timeout", "'soon'")),
        ("%%rpc_call --timeout -1\n1", ("--timeout",)),
        ("%%rpc_call --noblock --local\n1", ("--noblock",)),
        ("%%rpc_call -i 'a\n1", ("No closing quotation",)),
        ("%rpc_call", ("needs an expression",)),
        ("%rpc_call --timeout 5 f(x)", ("'--timeout'", "%%rpc_call")),
        ("%rpc_call -s nope 1", ("'nope'",)),
        ("%rpc_push", ("%rpc_push",)),
        ("%rpc_push nowhere", ("MissingNameError", "'nowhere'")),
        ("%rpc_push 1x", ("'1x'",)),
        ("%rpc_pull nowhere", ("MissingNameError", "'nowhere'", "in the session")),
        ("%rpc_status now", ("no arguments",)),
        ("%rpc_result", ("no cell was started",)),
        ("%rpc_result x", ("'x'",)),
        ("%rpc_config nothing", ("'nothing'", "upload_warning")),
        ("%rpc_config auto perhaps", ("on or off", "'perhaps'")),
        ("%rpc_config upload_warning much", ("a size",)),
        ("%rpc_config eager -1", ("a size",)),
        ("%rpc_restart nope", ("'nope'",)),
        ("%rpc_pip", ("%rpc_pip install",)),
        ("%rpc_pip install 'x", ("No closing quotation",)),
        ("%rpc_pip -s nope list", ("'nope'",)),
        ("%rpc_pip no_such_command", ("pip ended with status 1", "local")),
        ("%rpc_disconnect nope", ("'nope'",)),
    ],
)
def test_misuse_is_one_sentence_and_fails_the_cell(notebook: Any, cell: str, parts: tuple[str, ...]) -> None:
    """What cannot work is said in one line, raised, and the connection goes on."""
    one_sentence(notebook.run(cell), *parts)
    assert notebook.good("%rpc_call 1 + 1").result == "2"


@pytest.mark.parametrize(
    ("line", "last"),
    [
        ("conn.call(len, (i for i in 'a'))", "TransferError: obj (generator) cannot travel: "),
        ("conn.pull('nothing')", "MissingNameError: no variable 'nothing' in the session"),
        ("conn.call('nothing')", "UnknownFunctionError: the server exposes no function 'nothing'"),
        ("conn.submit(int, 'a').result()", "ValueError: invalid literal for int"),
        ("rpc_magic.connect('localhost:1')", "ConnectError: cannot connect to tcp://127.0.0.1:1"),
    ],
)
def test_errors_of_a_connection_end_at_the_users_line(notebook: Any, line: str, last: str) -> None:
    """A plain cell that uses a connection shows its own line, and none of this package's."""
    notebook.good("import rpc_magic\nconn = rpc_magic.connect()")
    shown = notebook.run(f"try:\n    1 / 0\nexcept ZeroDivisionError:\n    {line}").traceback
    assert f"\n{last}" in shown
    assert f"----> 4     {line}" in shown
    assert "ZeroDivisionError: division by zero" in shown  # what the user's own code was at is shown too
    assert "rpc_magic/" not in shown
    notebook.good("conn.close()")


def test_an_expression_as_it_is_written(notebook: Any) -> None:
    """Braces, dollars, commas in strings and a leading minus reach the server untouched."""
    notebook.good("x = 3")
    assert notebook.good("%rpc_call '{x} $x a, b'").result == "'{x} $x a, b'"
    assert notebook.good("y = %rpc_call -x\ny").result == "-3"
    assert notebook.good("%rpc_call -- -x + 1").result == "-2"
    assert notebook.good("%rpc_call -s local {'a': x}").result == "{'a': 3}"
    assert notebook.good("%rpc_call x;").result == "None"


def test_the_value_of_an_expression_is_here(notebook: Any) -> None:
    """It can be used in the same cell, whatever its size."""
    report = notebook.good("import numpy as np\ny = %rpc_call np.arange(5)\nprint(y.sum())")
    assert report.out == "10\n"


def test_a_semicolon_silences(notebook: Any) -> None:
    """As it does for a local cell."""
    assert notebook.good("%%rpc_call\n1 + 1;").result == "None"


def test_local_runs_here_as_well(notebook: Any) -> None:
    """The cell runs on both sides."""
    report = notebook.good("%%rpc_call --local\nimport os\nprint(os.getpid())")
    assert len(set(report.out.split())) == 2
    report = notebook.run("import os\n" + "here = os.getpid()")
    assert notebook.run("%%rpc_call --local\nimport os\nassert os.getpid() != here").error == "AssertionError"


def test_push_and_pull(notebook: Any) -> None:
    """Variables are sent and fetched by name."""
    notebook.good("a = [1]; b = 2")
    notebook.good("%rpc_push a, b")
    notebook.good("%%rpc_call -i '' -o ''\na.append(b)\nimport numpy as np\nc = np.ones(2)")
    notebook.good("%rpc_pull a c")
    assert notebook.good("a, type(globals()['c']).__name__").result == "([1, 2], 'ndarray')"


def test_functions_of_a_server_without_any(notebook: Any) -> None:
    """It says that there are none."""
    assert "local exposes no functions." in notebook.good("%rpc_functions").out


def test_sessions(notebook: Any) -> None:
    """The list names this session."""
    assert re.search(r"private-\d+ \(this one\): idle, process \d+", notebook.good("%rpc_sessions").out)


def test_config_lists_and_sets(notebook: Any) -> None:
    """Keys come with values and meanings."""
    assert "upload_warning = 100 MB" in notebook.good("%rpc_config").out
    notebook.good("%rpc_config upload_warning 1.5GB")
    assert notebook.good("%rpc_config upload_warning").out.startswith("upload_warning = 1.5 GB")


def test_restart_forgets(notebook: Any) -> None:
    """Placeholders of the old session say that they are gone; the next cell sends what it needs again."""
    notebook.good("def f(): return 'sent again'")
    notebook.good("%%rpc_call\nkept = [object()]\nf()")
    assert "restarted" in notebook.good("%rpc_restart").out
    one_sentence(notebook.run("kept"), "kept is gone")
    one_sentence(notebook.run("%%rpc_call\nkept"), "kept is gone")
    assert notebook.good("%%rpc_call\nf()").result == "'sent again'"


def test_a_session_that_died(notebook: Any) -> None:
    """The error says how, the status says so, and a restart gives a new one."""
    report = notebook.run("%%rpc_call\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    one_sentence(report, "SessionDiedError", "SIGKILL", "%rpc_restart")
    assert "local: died" in notebook.good("%rpc_status").out
    one_sentence(notebook.run("%%rpc_call\n1"), "SessionDiedError")
    notebook.good("%rpc_restart")
    assert notebook.good("%%rpc_call\n1").result == "1"


def test_every_magic_has_help_with_an_example(notebook: Any) -> None:
    """The docstring shows how it is used."""
    report = notebook.good(
        "m = get_ipython().magics_manager.magics['line']\n"
        "[n for n in m if (n.startswith('rpc_') or n == 'local') and 'Example' not in (m[n].__doc__ or '')]"
    )
    assert report.result == "[]"
    assert notebook.good("sum(n.startswith('rpc_') for n in m)").result == "16"


def test_completion(notebook: Any) -> None:
    """Names of servers after -s, variables after -i, options, settings and their values."""
    notebook.good("%rpc_connect --name gpu\ntable_one, table_two = 1, 2")
    assert notebook.ask(complete="%%rpc_call -i tab").matches == ["table_one", "table_two"]
    assert notebook.ask(complete="%%rpc_call -o table_one,tab").matches[-1].endswith("table_two")
    assert notebook.ask(complete="%rpc_config auto o").matches[-2:] == ["on", "off"]
    assert "100MB" in notebook.ask(complete="%rpc_config upload_warning ").matches
    assert notebook.ask(complete="%%rpc_call -s g").matches == ["gpu"]
    assert "--noblock" in notebook.ask(complete="%%rpc_call --").matches
    assert notebook.ask(complete="%rpc_disconnect l").matches == ["local"]
    assert "upload_warning" in notebook.ask(complete="%rpc_config up").matches
