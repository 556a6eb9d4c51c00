"""Servers of their own: named sessions, tokens, exposed functions, and servers that end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

sys.path.append(str(Path(__file__).parents[1] / "client"))

from live import eventually

import rpc_magic

TIMEOUT = 60 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))  # seconds

Serve = Callable[..., SimpleNamespace]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server; its first line is the URL."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> SimpleNamespace:
        process = subprocess.Popen(
            [sys.executable, "-m", "rpc_magic", "serve", "--port", "0", "--cwd", str(tmp_path), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        started.append(process)
        assert process.stdout is not None
        return SimpleNamespace(url=process.stdout.readline().split()[-1], process=process)

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
        assert process.stdout is not None
        process.stdout.close()


def test_a_named_session_outlives_the_connection(loaded: Any, serve: Serve) -> None:
    """After a disconnect its variables are still there, and so are the placeholders of here."""
    server = serve()
    loaded.good(f"%rpc_connect {server.url} --name lab --session work")
    loaded.good("%%lab\nimport numpy as np\nkept = np.arange(3)\nstay = {1: [object()]}")
    assert "(this one)" in loaded.good("%rpc_sessions").out
    loaded.good("%%lab -o ''\nother = 5")
    loaded.good("%rpc_disconnect lab")
    assert loaded.run("%%lab\n1").error == "UsageError"
    shown = loaded.good(f"%rpc_connect {server.url} --name lab --session work").out
    assert "lab: here too now: other\n" in shown
    assert loaded.good("other").result == "5"
    assert loaded.good("%rpc_call len(stay)").result == "1"
    assert loaded.good("int(kept.sum())").result == "3"


EARLIER = """
import numpy as np
class Model:
    def score(self):
        return 42
model = Model()
a = b = [model, object()]
big = np.arange(1_000_000)
n = 5
def add(x):
    return x + len(a)
"""


def test_a_new_kernel_has_the_variables_of_the_session(loaded: Any, serve: Serve) -> None:
    """As if a cell had just bound them there: a mention brings them; what a name holds here stays."""
    server = serve()
    with rpc_magic.connect(server.url, session="work") as earlier:
        earlier.run(EARLIER)
    loaded.good("n = 'mine'")
    shown = loaded.good(f"%rpc_connect {server.url} --name lab --session work").out
    assert "lab: here too now: a, add, b, big, Model, model, np\n" in shown
    assert loaded.good("model.score(), a is b, a[0] is model, type(model) is Model, n").result == (
        "(42, True, True, True, 'mine')"
    )
    assert loaded.good("int(big.sum()), np.__name__, add(1)").result == "(499999500000, 'numpy', 3)"
    loaded.good("%%lab\na.append(n)")
    assert loaded.good("b[-1], add(1)").result == "('mine', 4)"
    loaded.good("%rpc_disconnect lab")
    assert "here too" not in loaded.good(f"%rpc_connect {server.url} --name lab --session work").out


def test_variables_of_a_session_that_is_busy(loaded: Any, serve: Serve, tmp_path: Path) -> None:
    """They are here once the cell that an earlier kernel has left has been waited for."""
    server, go = serve(), tmp_path / "go"
    with rpc_magic.connect(server.url, session="work") as earlier:
        earlier.submit(exec, WAITING.format(go=str(go)))
        eventually(go.with_suffix(".begun").exists)
    shown = loaded.good(f"%rpc_connect {server.url} --name lab --session work").out
    (number,) = re.findall(r"%rpc_result (\d+) -s lab", shown)
    assert "here too" not in shown
    go.touch()
    assert "lab: here too now: found\n" in loaded.good(f"%rpc_result {number} -s lab").out
    assert loaded.good("found").result == "7"


def test_variables_of_a_session_when_they_do_not_travel_by_themselves(loaded: Any, serve: Serve) -> None:
    """With `auto` off nothing is bound."""
    server = serve()
    with rpc_magic.connect(server.url, session="work") as earlier:
        earlier.run("found = 7")
    loaded.good("%rpc_config auto off")
    assert "here too" not in loaded.good(f"%rpc_connect {server.url} --name lab --session work").out
    assert loaded.run("found").error == "NameError"


WAITING = """
import pathlib, sys, time
go = pathlib.Path({go!r})
go.with_suffix(".begun").touch()
while not go.exists():
    time.sleep(0.01)
sys.modules["__main__"].found = 7
"""
LEFT = """%%lab --noblock
import os, pathlib, time
print("first line")
while not pathlib.Path({go!r}).exists(): time.sleep(0.01)
print("last line")
6 * 7"""
RUNNING = """%%lab --noblock
import pathlib, time
print("so far", flush=True)
pathlib.Path({begun!r}).touch()
time.sleep(600)"""


def test_a_named_session_dies_while_nobody_is_there(loaded: Any, serve: Serve, tmp_path: Path) -> None:
    """The list tells how; whoever connects is told what it has left, and reads that by its numbers."""
    server, go, begun = serve(), tmp_path / "go", tmp_path / "begun"
    loaded.good(f"%rpc_connect {server.url} --name watch")
    loaded.good(f"%rpc_connect {server.url} --name lab --session work")
    loaded.good(LEFT.format(go=str(go)))
    loaded.good(RUNNING.format(begun=str(begun)))
    loaded.good("%rpc_disconnect lab")
    go.touch()
    eventually(begun.exists)
    listed = loaded.good("%rpc_sessions watch").out
    worker = re.search(r"^work: busy, process (\d+)", listed, re.MULTILINE)
    assert worker is not None, listed
    os.kill(int(worker[1]), signal.SIGKILL)
    told = r"^work: died \d+ s ago \(killed by SIGKILL\); %rpc_connect \S+ --session work tells what can still be read$"
    eventually(lambda: re.search(told, loaded.good("%rpc_sessions watch").out, re.MULTILINE))
    shown = loaded.good(f"%rpc_connect {server.url} --name lab --session work").out
    assert (
        "lab: the session work has died (killed by SIGKILL) and begins anew; its variables are gone\n"
        in shown
    )
    numbers = re.findall(r"^lab: ended: import .*  \(%rpc_result (\d+) -s lab\)$", shown, re.MULTILINE)
    assert len(numbers) == 2, shown
    left = loaded.good("%rpc_sessions lab").out
    assert re.search(r"^work \(this one\): idle", left, re.MULTILINE)
    assert left.count("left by an earlier client, ended: import") == 2
    report = loaded.good(f"%rpc_result {numbers[0]} -s lab")
    assert report.out.startswith("first line\nlast line\n")
    assert report.result == "42"
    report = loaded.run(f"%rpc_result {numbers[1]} -s lab")
    assert report.out == "so far\n"
    assert report.error == "SessionDiedError"
    assert "killed by SIGKILL" in report.traceback
    assert "left by" not in loaded.good("%rpc_sessions lab").out
    loaded.good("%rpc_disconnect lab")
    shown = loaded.good(f"%rpc_connect {server.url} --name lab --session work").out
    assert "has died" not in shown
    assert "%rpc_result" not in shown


def test_sessions_are_listed_when_this_one_has_died(loaded: Any, serve: Serve) -> None:
    """The list says how, with a command that leads to the same server; it is no error."""
    server = serve()
    loaded.good(f"%rpc_connect {server.url} --name lab --session work")
    assert loaded.run("%%lab\nimport os\nos._exit(7)").error == "SessionDiedError"
    assert f"%rpc_connect {server.url} --session work tells" in loaded.good("%rpc_sessions lab").out


def test_a_value_of_a_named_session_waits_for_its_server(loaded: Any, serve: Serve) -> None:
    """While it is disconnected a mention says how to connect again; then it is fetched."""
    server = serve()
    loaded.good(f"%rpc_connect {server.url} --name lab --session work")
    loaded.good("%%lab\nimport numpy as np\nkept = np.arange(3)\nnp.ones(2)")
    loaded.good("%rpc_disconnect lab")
    report = loaded.run("ran = 1\nkept")
    assert report.error == "RemoteValueError"
    assert "kept is on lab, which is disconnected: connect again with --session work" in report.traceback
    assert loaded.run("ran").error == "NameError"
    loaded.good(f"%rpc_connect {server.url} --name lab --session work")
    assert loaded.good("int(kept.sum())").result == "3"


def test_a_module_whose_session_has_ended(loaded: Any, serve: Serve) -> None:
    """It can be had anywhere: here, and on another server."""
    server = serve()
    loaded.good(f"%rpc_connect {server.url} --name lab")
    loaded.good(f"%rpc_connect {server.url} --name other")
    loaded.good("%%lab\nimport wave as waves, colorsys as colours")
    loaded.good("%rpc_disconnect lab")
    assert loaded.good("%%other\nwaves.__name__").result == "'wave'"
    assert loaded.good("colours.__name__").result == "'colorsys'"


def test_a_value_whose_server_was_killed(loaded: Any, serve: Serve) -> None:
    """The cell that mentions it stops with a sentence that names both, and ends at once."""
    server = serve()
    loaded.good(f"%rpc_connect {server.url} --name lab")
    loaded.good("%%lab\nimport numpy as np\nkept = np.arange(3)")
    family = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait(TIMEOUT)
    for process in family:  # they would wait for a supervisor that adopts them, and give the value
        process.kill()
    report = loaded.run("ran = 1\nkept")
    assert report.error == "RemoteValueError"
    assert "kept is on lab and cannot be fetched: " in report.traceback
    assert loaded.run("ran").error == "NameError"


def test_a_private_session_whose_server_was_started_again(loaded: Any, serve: Serve) -> None:
    """Told to end, the server keeps it; connected again, what stands here for a variable is fetched as before."""
    server = serve("--name", "returning")
    loaded.good("%rpc_connect returning --name lab")
    loaded.good("%%lab\nimport numpy as np\nkept = np.arange(3)\nstream = (i for i in [1])")
    server.process.terminate()
    server.process.wait(TIMEOUT)
    report = loaded.run("kept")
    assert "of its variables are kept for the next start, 1 could not be" in report.traceback
    serve("--name", "returning")
    told = loaded.good("%rpc_connect returning --name lab --no-widget")
    assert "the private session has its variables from when its server ended" in told.err
    assert "kept; not kept: stream (generator)" in told.err
    assert loaded.good("int(kept.sum())").result == "3"
    assert loaded.good("%%lab\nint(kept[-1])").result == "2"


def test_a_refused_token(loaded: Any, serve: Serve, tmp_path: Path) -> None:
    """It is one sentence that says what to check."""
    server = serve()
    token = tmp_path / "token"
    token.write_text("0" * 64)
    token.chmod(0o600)
    report = loaded.run(f"%rpc_connect {server.url} --token-file {token}")
    assert report.error == "AuthenticationError"
    assert "Check that the token is this server's" in report.traceback
    assert report.traceback.count("\n") == 0


def test_a_token_for_no_server(loaded: Any) -> None:
    """It is not silently left aside."""
    report = loaded.run("%rpc_connect --token-file token")
    assert "give its URL or its name" in report.message


def test_a_session_that_another_client_holds(loaded: Any, serve: Serve) -> None:
    """It says who holds it; --take takes it over."""
    server = serve()
    program = (
        f"import rpc_magic, sys\nconn = rpc_magic.connect({server.url!r}, session='shared')\n"
        "conn.push(x=1)\nprint('has it', flush=True)\nsys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        report = loaded.run(f"%rpc_connect {server.url} --session shared")
        assert report.error == "SessionInUseError"
        assert "--take" in report.traceback
        loaded.good(f"%rpc_connect {server.url} --session shared --take")
        assert loaded.good("%rpc_call x").result == "1"
        holder.kill()


def test_a_server_that_ends(loaded: Any, serve: Serve) -> None:
    """The status and the next cell say that it is lost; other servers go on."""
    server = serve()
    loaded.good("%rpc_connect --name here")
    loaded.good(f"%rpc_connect {server.url} --name far")
    loaded.good("%%far\nthere = [object()]")
    # The keeper outlives a killed supervisor, so that a new one can adopt its sessions: it is ended by hand.
    family = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait(TIMEOUT)
    for process in family:
        process.kill()
    report = loaded.run("%%far\n1")
    assert report.error == "ConnectionLostError"
    assert "%rpc_connect" in report.traceback
    assert report.traceback.count("\n") == 0
    assert "far: lost" in loaded.good("%rpc_status").out
    assert loaded.run("there").error in {"ConnectionLostError", "RemoteValueError"}
    assert loaded.good("%here 1 + 1").result == "2"


def test_exposed_functions(loaded: Any, serve: Serve, tmp_path: Path) -> None:
    """They are listed with signature and docstring."""
    (tmp_path / "exposed_module.py").write_text(
        'def add(a, b=2):\n    """Add two numbers."""\n    return a + b\n'
    )
    server = serve("--expose", "exposed_module")
    loaded.good(f"%rpc_connect {server.url} --name lab")
    assert "add(a, b=2)  # Add two numbers." in loaded.good("%rpc_functions").out


def test_a_server_without_sessions(loaded: Any, serve: Serve, tmp_path: Path) -> None:
    """A cell gets a sentence that says what the server does instead."""
    (tmp_path / "exposed_other.py").write_text("def add(a, b):\n    return a + b\n")
    server = serve("--expose", "exposed_other", "--no-sessions")
    loaded.good(f"%rpc_connect {server.url} --name lab")
    report = loaded.run("%%lab\n1")
    assert report.error == "RpcMagicError"
    assert "exposed functions and nothing else" in report.traceback


def test_what_values_of_one_server_share_is_shared_on_another(loaded: Any) -> None:
    """Tables inside containers, instances and functions, and what those functions refer to, reach it together."""
    loaded.good("%rpc_connect --name one\n%rpc_connect --name two")
    loaded.good(
        "%%one\nimport math\nimport pandas as pd\ntable = pd.DataFrame({'a': [1.0, 2.0]})\nheld = [table]\n"
        "class Shop:\n    def __init__(self, table): self.table = table\nshop = Shop(table)\n"
        "def total(table=table): return math.floor(table['a'].sum())"
    )
    report = loaded.good("%%two\ntable['a'] *= 3\nprint(held[0] is table, shop.table is table, total())")
    assert report.out == "True True 9\n"
    assert loaded.good("%%one\ntable.loc[2] = [10.0]\nprint(len(held[0]), total())").out == "3 19\n"
    assert loaded.good("print(shop.table is table, held[0] is table, len(table))").out == "True True 3\n"


def test_a_class_that_was_changed_here_is_changed_where_it_was_made(loaded: Any) -> None:
    """Its attributes, as a list of subclasses, are the newest on each server."""
    loaded.good("%rpc_connect --name one\n%rpc_connect --name two")
    loaded.good(
        "%%one\nclass Base:\n    known = []\n    def __init_subclass__(cls): Base.known.append(cls.__name__)\n"
        "class A(Base): pass"
    )
    assert loaded.good("%%two\nclass B(Base): pass\nprint(Base.known)").out == "['A', 'B']\n"
    assert loaded.good("class C(Base): pass\nprint(Base.known)").out == "['A', 'B', 'C']\n"
    assert loaded.good("%%one\nprint(Base.known, issubclass(A, Base))").out == "['A', 'B', 'C'] True\n"
    assert loaded.good("%%two\nprint(Base.known)").out == "['A', 'B', 'C']\n"
    assert loaded.good("%%one\nclass A(Base): pass\nBase.known").err == ""
    assert loaded.good("print(Base.known)").out == "['A', 'B', 'C', 'A']\n"


def test_a_view_shows_the_same_array_wherever_it_was_made(loaded: Any) -> None:
    """A change of the array or of its view, here or on either server, is seen through both."""
    loaded.good("%rpc_connect --name one\n%rpc_connect --name two")
    loaded.good("import numpy as np\nb = np.zeros(6)\na = b[::2]")
    assert loaded.good("%%one\na[0] = 1\nprint(b[0])").out == "1.0\n"
    assert loaded.good("%%two\nb[2] = 2\nprint(a[1])").out == "2.0\n"
    assert loaded.good("a += 1\nprint(b.tolist())").out == "[2.0, 0.0, 3.0, 0.0, 1.0, 0.0]\n"
    loaded.good("%%one\ngrid = b.reshape(2, 3)\nheld = [grid[1:]]")
    assert loaded.good("grid[0, 0] = 9\nprint(a[0], b[0])").out == "9.0 9.0\n"
    loaded.good("%%two\nheld[0][:] = 7")
    assert loaded.good("print(b.tolist(), a[2])").out == "[9.0, 0.0, 3.0, 7.0, 7.0, 7.0] 7.0\n"


def test_a_cell_of_unknown_names_runs_without_what_cannot_be_fetched(loaded: Any) -> None:
    """A generator on another server keeps no `eval(text)` from running; a cell that names it says where it is."""
    loaded.good("%rpc_connect --name one\n%rpc_connect --name two")
    loaded.good("%%two\ng = (n for n in [1]); good = [1, 2]\ndef use(): return next(g)")
    loaded.good("text = 'sum(good)'")
    assert loaded.good("%%one\nprint(eval(text))").out == "3\n"
    for cell in ("%%one\nprint(eval(text), g)", "%%one\neval(text), use()"):
        report = loaded.run(cell)
        assert report.error == "RemoteValueError"
        assert "on two" in report.message
        assert "g (generator)" in report.message
    report = loaded.run("%%one\neval('nex' + 't(g)')")
    assert report.error == "NameError"
    assert "cannot travel" in report.traceback
    assert loaded.good("%%one\n%reset -f").err == ""
