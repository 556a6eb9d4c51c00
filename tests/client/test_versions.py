"""Client and server of different versions of Python, with real interpreters, in both directions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import SECONDS, served
from pythons import MINORS, ROOT, python_of

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime import launch

CASES = Path(__file__).with_name("version_cases.py")


@pytest.fixture(scope="module", params=MINORS, ids=lambda minor: f"3.{minor}")
def other(request: pytest.FixtureRequest) -> str:
    """Another version's interpreter."""
    return python_of(request.param)


@pytest.fixture(scope="module")
def their_server(other: str) -> Iterator[str]:
    """A server of the other version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch.sys, "executable", other)
        with served() as url:
            patch.undo()
            yield url


def run_cases(python: str, url: str) -> str:
    """Run `version_cases.py` with an interpreter; return what it printed."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, str(CASES), url],
        capture_output=True,
        text=True,
        env=environ,
        timeout=4 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_client_of_this_version(their_server):
    """Functions, classes, instances, closures, decorators and errors go to the other version and come back."""
    lines = run_cases(sys.executable, their_server).splitlines()
    assert lines[:-1] == []
    assert int(lines[-1]) > 50


def test_a_client_of_the_other_version(other, url):
    """The same the other way round."""
    lines = run_cases(other, url).splitlines()
    assert lines[:-1] == []
    assert int(lines[-1]) > 50


def test_packages_of_this_version_are_not_used_there(their_server):
    """The session is on the client's machine, but the client's installed packages are another Python's."""
    with rpc_magic.connect(their_server) as conn:
        path = conn.run("import sys, os; (sys.path, os.getcwd())").value
        assert path[1] == str(Path.cwd())
        mine = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        assert not [entry for entry in path[0] if mine in entry]


def test_functions_as_arguments_of_exposed_functions(other, script, tmp_path):
    """A program of this version that exposes functions is called by a client of the other one."""
    program = script(
        "import rpc_magic\nserver = rpc_magic.Server('tcp://127.0.0.1:0')\n"
        "server.register(lambda f, x: f(x) + 1, 'apply')\nserver.serve_forever()"
    )
    url = program.line()
    client = tmp_path / "client.py"
    client.write_text(
        "import sys, rpc_magic\nscale = 3\ndef times(x): return x * scale\n"
        "with rpc_magic.connect(sys.argv[1]) as conn:\n    print(conn.call('apply', times, 5))\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [other, str(client), url], capture_output=True, text=True, env=environ, timeout=SECONDS, check=False
    )
    assert done.stdout.strip() == "16", done.stderr


def test_local_modules_travel_between_versions(their_server, tmp_path, monkeypatch):
    """A module beside the program is compiled there from its source."""
    (tmp_path / "mine_versions.py").write_text("import sys\ndef which(): return sys.version_info[:2]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with rpc_magic.connect(their_server) as conn:
        assert conn.run("import mine_versions\nmine_versions.which()").value != sys.version_info[:2]


def test_remote_lines_are_those_of_the_source(their_server):
    """A traceback names the lines as they were written, with their comments."""

    def fails():
        # a comment line, which no tree has

        raise ValueError("there")  # this very line

    with rpc_magic.connect(their_server) as conn:
        with pytest.raises(ValueError, match="there") as caught:
            conn.call(fails)
        assert f"line {fails.__code__.co_firstlineno + 3}, in fails" in "".join(caught.value.__notes__)


LIBRARY = "__version__ = {version!r}\nclass Thing: pass\n"


@pytest.fixture
def two_versions(tmp_path, monkeypatch):
    """A library that is installed in one version here, and in another one at a server elsewhere; gives its URL."""
    for side, version in (("here", "1.5"), ("there", "2.0")):
        site = tmp_path / side / "site-packages"
        (site / f"two_versions-{version}.dist-info").mkdir(parents=True)
        (site / f"two_versions-{version}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: two_versions\nVersion: {version}\n"
        )
        (site / "two_versions.py").write_text(LIBRARY.format(version=version))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPC_MAGIC_MACHINE", "elsewhere")
        patch.setenv("PYTHONPATH", str(tmp_path / "there" / "site-packages"))
        with served() as url:
            patch.undo()
            monkeypatch.syspath_prepend(str(tmp_path / "here" / "site-packages"))
            yield url
    sys.modules.pop("two_versions", None)


def said(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if "two_versions" in line]


def test_another_major_version_is_told_once(two_versions, capsys):
    """When an object goes there, by a call or a push; once for the connection, also when one comes back."""
    import two_versions as library

    with rpc_magic.connect(two_versions) as conn:
        assert said(capsys) == []
        conn.push(thing=library.Thing())
        conn.call(len, [library.Thing()])
        conn.pull("thing")
        (line,) = said(capsys)
        assert "two_versions has version 1.5 here and 2.0 in the session" in line
        assert "%rpc_pip install two_versions==1.5" in line


def test_another_major_version_of_what_comes_back(two_versions, capsys):
    """When the first object of the library is the session's."""
    with rpc_magic.connect(two_versions) as conn:
        conn.run("import two_versions\nthing = two_versions.Thing()")
        assert said(capsys) == []
        conn.pull("thing")
        conn.call(len, [conn.pull("thing")])
        (line,) = said(capsys)
        assert "1.5 here and 2.0 in the session" in line


def test_what_is_told_at_connect(url):
    """The client is told of Python, rpc_magic and dill."""
    with rpc_magic.connect(url) as conn:
        assert {"python", "rpc_magic", "dill"} <= conn.info().versions.keys()


MADE = """
scale = 3
class Base:
    def get(self): return self.value
class Point(Base):
    def __init__(self): self.value = scale
    def get(self): return super().get() * 2
def times(x, *, more=1): return x * scale + more
def outer(k):
    return lambda z: z * k
shared = [1]
pair, point, inner = (shared, shared), Point(), outer(5)
"""
DEED = "from rpc_magic.worker.checkpoints import load, save\n"


def test_a_checkpoint(their_server, url, tmp_path):
    """What one version has saved the other loads, both ways; where a function has no source, a sentence says so."""
    file = tmp_path / "session"
    for one, other in ((url, their_server), (their_server, url)):
        with rpc_magic.connect(one) as conn:
            conn.run(MADE)
            conn.run(f"{DEED}save({str(file)!r})")
        with rpc_magic.connect(other) as conn:
            conn.run(f"{DEED}load({str(file)!r})")
            said = conn.run("times(2), point.get(), inner(2), pair[0] is pair[1], isinstance(point, Base)")
            assert said.value == (7, 6, 10, True, True)
    with rpc_magic.connect(url) as conn:
        conn.run(f"{DEED}exec('def f(): return 1')\nsave({str(file)!r})")
    with rpc_magic.connect(url) as conn:
        assert conn.run(f"{DEED}load({str(file)!r})\nf()").value == 1
    with rpc_magic.connect(their_server) as conn, pytest.raises(errors.RpcMagicError, match="no source"):
        conn.run(f"{DEED}load({str(file)!r})")
