"""The user's own modules in sessions on another machine and on this one, and what a server may have of the client."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import SECONDS, eventually, served

import rpc_magic
from rpc_magic.client.modules import LocalModules
from rpc_magic.settings import ModuleLimits
from rpc_magic.wire import messages


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that takes itself for another machine, in another folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPC_MAGIC_MACHINE", "elsewhere")
        with served(cwd=str(tmp_path_factory.mktemp("elsewhere"))) as url:
            patch.delenv("RPC_MAGIC_MACHINE")
            yield url


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the user's modules."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # tests edit quicker than a .pyc can tell
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(params=["another machine", "this machine"])
def conn(request: pytest.FixtureRequest, here: Path) -> Iterator[rpc_magic.Connection]:
    """A fresh session, which knows of the folder by asking, or by its `sys.path`."""
    url = request.getfixturevalue("elsewhere") if request.param == "another machine" else None
    with rpc_magic.connect(url) as connection:
        yield connection


def out(conn: rpc_magic.Connection, code: str) -> str:
    return conn.run(code, on_output=lambda _: None).stdout.strip()


def test_another_machine_has_none_of_the_clients_surroundings(elsewhere, here):
    """A session there starts in the server's folder, without the client's `sys.path` and environment."""
    with rpc_magic.connect(elsewhere) as conn:
        assert "elsewhere" in out(conn, "import os; print(os.getcwd())")
        assert out(conn, f"import sys; print({str(here)!r} in sys.path)") == "False"


def test_a_package_comes_with_its_data(conn, here):
    """Sources, submodules, and data by resources, pkgutil and __file__; tracebacks and inspect show its lines."""
    (here / "mine_pkg" / "deep").mkdir(parents=True)
    (here / "mine_pkg" / "__init__.py").write_text("from .deep import calc\n")
    (here / "mine_pkg" / "deep" / "calc.py").write_text("def half(x):\n    return x / 0  # no half\n")
    (here / "mine_pkg" / "table.csv").write_text("a,b")
    code = """
        import importlib.resources, inspect, pathlib, pkgutil
        import mine_pkg
        print(importlib.resources.files("mine_pkg").joinpath("table.csv").read_text(),
              pkgutil.get_data("mine_pkg", "table.csv").decode(),
              (pathlib.Path(mine_pkg.__file__).parent / "table.csv").open().read(),
              "no half" in inspect.getsource(mine_pkg.calc.half), pkgutil.find_loader is not None)
    """.replace("\n        ", "\n")
    assert out(conn, code) == "a,b a,b a,b True True"
    with pytest.raises(ZeroDivisionError) as caught:
        conn.run("mine_pkg.calc.half(1)")
    assert "# no half" in "".join(caught.value.__notes__)


def test_functions_and_classes_travel_by_name(conn, here):
    """What a module here defines is that module's there, and what is made there is of the class here."""
    (here / "mine_kinds.py").write_text(
        "import enum\nclass Point:\n    def __init__(self, x): self.x = x\n"
        "class Colour(enum.Enum):\n    RED = 1\n"
        "def double(point): return Point(point.x * 2)\n"
    )
    kinds = importlib.import_module("mine_kinds")
    made = conn.call(kinds.double, kinds.Point(4))
    assert type(made) is kinds.Point
    assert made.x == 8
    assert conn.call(lambda: kinds.Colour.RED) is kinds.Colour.RED
    conn.push(point=kinds.Point(3))
    assert out(conn, "print(type(point).__module__, point.x)") == "mine_kinds 3"
    first, *_ = conn.run("import mine_kinds\np = mine_kinds.Point(5)", outputs=["p"]).outputs.values()
    assert type(first) is kinds.Point


def test_an_edit_takes_effect_at_the_next_call(conn, here):
    """With an import of its own, without one, through an object that refers to it, and after importlib.reload."""
    file = here / "mine_edited.py"
    file.write_text("V = 1\ndef f(): return V\nclass C:\n    def m(self): return V\n")
    assert out(conn, "import mine_edited\nfrom mine_edited import f\nc = mine_edited.C()\nprint(f())") == "1"
    for value in range(2, 6):
        file.write_text(f"V = {value}\ndef f(): return V\nclass C:\n    def m(self): return V\n")
        assert out(conn, "import mine_edited; print(mine_edited.V)") == str(value)
        assert out(conn, "print(f(), c.m(), isinstance(c, mine_edited.C))") == f"{value} {value} True"
    file.write_text("V = 6\ndef f(): return V + 1\n")
    assert out(conn, "import importlib; importlib.reload(mine_edited); print(f())") == "7"


def test_a_function_of_an_edited_module_is_called_anew(conn, here):
    """A function known by its digest is not the old one, though its name and so its digest are the same."""
    file = here / "mine_called.py"
    file.write_text("import functools\n@functools.lru_cache\ndef f(): return 1\n")
    module = importlib.import_module("mine_called")
    assert conn.call(module.f) == 1
    file.write_text("import functools\n@functools.lru_cache\ndef f(): return 2\n")
    assert conn.call(module.f) == 2
    assert module.f() == 1  # the kernel keeps what it has loaded, as ever
    importlib.reload(module)
    assert (module.f(), conn.call(module.f)) == (2, 2)


def test_a_broken_edit_is_told_and_mended(conn, here):
    """A syntax error is told once; an import raises it; once it is mended, all that refers to the module sees it."""
    file = here / "mine_broken.py"
    file.write_text("def f(): return 1")
    conn.run("import mine_broken\nfrom mine_broken import f")
    file.write_text("def f(: return 2")
    told = conn.run("print(f())", on_output=lambda _: None)
    assert told.stdout == "1\n"
    assert "mine_broken was edited and cannot be loaded again: SyntaxError" in told.stderr
    with pytest.raises(SyntaxError):
        conn.run("import mine_broken")
    file.write_text("def f(): return 3")
    assert out(conn, "print(f(), mine_broken.f())") == "3 3"


def test_a_submodule_may_be_added_and_a_module_deleted(conn, here):
    """A new file is found; a module whose file is gone lives on, as in a kernel."""
    (here / "mine_growing").mkdir()
    (here / "mine_growing" / "__init__.py").write_text("x = 1")
    assert out(conn, "import mine_growing; print(mine_growing.x)") == "1"
    with pytest.raises(ModuleNotFoundError, match=r"mine_growing\.new"):
        conn.run("import mine_growing.new")
    (here / "mine_growing" / "new.py").write_text("y = 2")
    assert out(conn, "import mine_growing.new; print(mine_growing.new.y)") == "2"
    for file in ("new.py", "__init__.py"):
        (here / "mine_growing" / file).unlink()
    assert out(conn, "import mine_growing.new; print(mine_growing.new.y)") == "2"


def test_only_what_has_changed_is_sent(elsewhere, here):
    """An edit of one file of a package does not send its data again."""
    (here / "mine_large").mkdir()
    (here / "mine_large" / "__init__.py").write_text("x = 1")
    (here / "mine_large" / "data.bin").write_bytes(os.urandom(3_000_000))
    with rpc_magic.connect(elsewhere) as conn:
        conn.run("import mine_large")
        before = conn.info().bytes_sent
        assert before > 3_000_000
        (here / "mine_large" / "__init__.py").write_text("x = 2")
        assert out(conn, "print(mine_large.x)") == "2"
        assert conn.info().bytes_sent - before < 100_000


def test_a_thread_and_a_task_between_calls_may_import(elsewhere, here):
    """Then nobody reads for them but themselves: no call runs that a helper would watch."""
    for number in range(2):
        (here / f"mine_late{number}.py").write_text(f"x = {number}")
    with rpc_magic.connect(elsewhere) as conn:
        conn.run(
            "import asyncio, threading, time\nfound = []\n"
            "def late():\n    time.sleep(0.1)\n    import mine_late0\n    found.append(mine_late0.x)\n"
            "async def later():\n    await asyncio.sleep(0.1)\n    import mine_late1\n    found.append(mine_late1.x)\n"
            "threading.Thread(target=late).start()\ntask = asyncio.ensure_future(later())"
        )
        eventually(lambda: sorted(conn.pull("found")) == [0, 1], "imports between calls")


def test_calls_of_several_threads_and_imports_do_not_wait_for_each_other(elsewhere, here):
    """Futures import while their caller waits for something else."""
    for number in range(8):
        (here / f"mine_many{number}.py").write_text(f"def f(): return {number}")
    with rpc_magic.connect(elsewhere) as conn:
        modules = [importlib.import_module(f"mine_many{number}") for number in range(8)]
        calls = [conn.submit(module.f) for module in modules]
        results: list[int] = []
        threads = [threading.Thread(target=lambda m=m: results.append(conn.call(m.f))) for m in modules]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert [call.result(SECONDS) for call in calls] == sorted(results) == list(range(8))


def test_the_folder_is_private_and_goes_with_its_session(elsewhere, here, runtime_dir):
    """Mode 0700, and removed also when the session's process is killed."""
    (here / "mine_gone.py").write_text("x = 1")
    with rpc_magic.connect(elsewhere) as conn:
        folder = Path(out(conn, "import mine_gone; print(mine_gone.__file__)")).parent
        assert folder.is_relative_to(runtime_dir)
        assert folder.stat().st_mode & 0o777 == 0o700
        with pytest.raises(rpc_magic.SessionDiedError):
            conn.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        eventually(lambda: not folder.exists(), "the end of the session's folder")


def test_a_module_that_is_the_same_there_is_not_sent(here, conn):
    """On the client's machine the session uses the very file."""
    (here / "mine_same.py").write_text("x = 1")
    found = Path(out(conn, "import mine_same; print(mine_same.__file__)"))
    is_here = out(conn, f"import sys; print({str(here)!r} in sys.path)") == "True"
    assert (found == here / "mine_same.py") is is_here


def test_a_missing_library_says_how_to_install_it(conn):
    """By the name under which it is installed, where that is known here; also when code is called, not run."""
    with pytest.raises(ModuleNotFoundError, match=r"%rpc_pip install no_such_library") as caught:
        conn.run("import no_such_library")
    assert caught.value.name == "no_such_library"
    assert str(caught.value) == "No module named 'no_such_library'"  # as code that asks for it expects

    def imports():
        import no_such_library  # noqa: F401

    with pytest.raises(ModuleNotFoundError, match=r"%rpc_pip install no_such_library"):
        conn.call(imports)
    assert out(conn, "import importlib.util; print(importlib.util.find_spec('no_such_library'))") == "None"


def test_the_engine_has_them_too(conn, here):
    """Functions of a module run on the engine, as those that import one inside; an edit takes effect there as well."""
    file = here / "mine_engine.py"
    file.write_text("V = 1\ndef add(x): return x + V\n")
    module = importlib.import_module("mine_engine")

    def inside(x):
        import mine_engine

        return mine_engine.add(x)

    for value in (1, 2, 3):
        file.write_text(f"V = {value}\ndef add(x): return x + V\n")
        assert list(conn.map(module.add, range(4))) == [value, value + 1, value + 2, value + 3]
        assert list(conn.map(inside, range(2), chunksize=1)) == [value, value + 1]
    assert out(conn, "import mine_engine; print(mine_engine.V)") == "3"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        list(conn.map(lambda _: __import__("no_such_module"), [1]))


def test_a_function_for_the_engine_that_holds_a_value_of_the_session(conn):
    """The value is fetched while the function is loaded; the task that came meanwhile is not lost."""
    held = conn.put([1, 2])

    def use(x):
        return x + len(held)

    assert list(conn.map(use, [1, 2], chunksize=1)) == [3, 4]


# ---------------------------------------------------------------- what may be served


class Asked:
    """Asks a `LocalModules` as a server would, and takes its answers."""

    def __init__(self, modules: LocalModules) -> None:
        self.modules, self.said = modules, []
        self.came = threading.Event()

    def send(self, _call, message, buffers):
        self.said.append((message, [bytes(b) for b in buffers]))
        self.came.set()

    def ask(self, name: str, *paths: str):
        self.came.clear()
        self.modules.answer(messages.FindModule(7, name, paths), self.send)
        assert self.came.wait(SECONDS)
        return self.said[-1]


def test_no_file_outside_a_module_is_served(here):
    """Whatever a server asks for: paths out of the folder, other modules' files, files that were not listed."""
    (here / "secret.txt").write_text("secret")
    (here / "mine_served").mkdir()
    (here / "mine_served" / "__init__.py").write_text("x = 1")
    (here / "mine_served" / ".hidden").write_text("secret")
    asked = Asked(LocalModules())
    assert asked.ask("mine_served", "mine_served/__init__.py") == (messages.ModuleFound(7, "local"), [b""])
    found, _ = asked.ask("mine_served")
    assert list(found.files) == ["mine_served/__init__.py"]
    hostile = [
        "mine_served/../secret.txt",
        str(here / "secret.txt"),
        "/etc/passwd",
        "mine_served/.hidden",
        "",
        "..",
    ]
    _, contents = asked.ask("mine_served", "mine_served/__init__.py", *hostile)
    assert contents == [b"x = 1", *[b""] * len(hostile)]
    for name in ("../secret", "os", "numpy", "mine_served.sub", "__main__", str(here)):
        assert asked.ask(name)[0].kind == "", name
        assert asked.ask(name, "/etc/passwd")[1] == [b""]


def test_of_cells_only_their_text_is_served(here, monkeypatch):
    """Text that was typed, by the name it has in tracebacks; a file's is not, though it is known as well."""
    import linecache

    file = here / "secret.py"
    file.write_text("secret")
    linecache.getlines(str(file))
    monkeypatch.setitem(linecache.cache, "<cell 1>", (5, None, ["x = 1\n"], "<cell 1>"))
    monkeypatch.setitem(linecache.cache, str(file), (6, None, ["secret"], str(file)))
    _, contents = Asked(LocalModules()).ask("", "<cell 1>", str(file), "/etc/passwd", "<cell 2>")
    assert contents == [b"x = 1\n", b"", b"", b""]


def test_names_and_distributions_are_told(here):
    """The names of the user's folders; for what is installed here, what to install there."""
    (here / "mine_named.py").write_text("")
    asked = Asked(LocalModules())
    assert "mine_named" in asked.ask("")[0].names
    assert asked.ask("IPython")[0].distribution.lower() == "ipython"


def test_edits_are_announced_once(here):
    """A file whose content is the same again is no edit; a limit holds for edits as well."""
    file = here / "mine_announced.py"
    file.write_text("x = 1")
    modules = LocalModules(ModuleLimits(bytes=100))
    asked = Asked(modules)
    assert modules.changed() == ()
    asked.ask("mine_announced")

    def announced():
        modules._look_at = 0.0
        return modules.changed()

    assert announced() == ()
    os.utime(file, ns=(1, 1))
    assert announced() == ()
    file.write_text("x = 2")
    assert announced() == ("mine_announced",)
    assert announced() == ()
    file.unlink()
    assert announced() == ("mine_announced",)
    assert announced() == ()
