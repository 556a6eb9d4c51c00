"""What a session asks its client for, and what it does with the answers; see tests/client/test_modules.py as well."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from rpc_magic.errors import ProtocolError
from rpc_magic.localmodules.files import list_files
from rpc_magic.settings import ModuleLimits
from rpc_magic.wire import messages
from rpc_magic.worker.modules import UserModules


class Client:
    """Has modules in a folder; None for a folder is a client that has gone."""

    def __init__(self, folder: Path | None, *names: str) -> None:
        self.folder, self.names = folder, names
        self.asked: list[tuple[str, ...]] = []
        self.left: tuple[str, ...] = ()
        self.rename: dict[str, str] = {}
        self.kinds: dict[str, str] = {}

    def ask(self, name: str, paths: tuple[str, ...] = ()):
        self.asked.append((name, *paths))
        if self.folder is None:
            return None
        if not name:
            return messages.ModuleFound(1, names=self.names), []
        if paths:
            real = [next((old for old, new in self.rename.items() if new == path), path) for path in paths]
            return messages.ModuleFound(1, "local"), [(self.folder / path).read_bytes() for path in real]
        if name in self.kinds:
            return messages.ModuleFound(1, self.kinds[name]), []
        place = self.folder / name
        place = place if place.is_dir() else self.folder / f"{name}.py"
        if not place.exists():
            return messages.ModuleFound(1, distribution=f"{name}-dist"), []
        listing = list_files(name, place, ModuleLimits())
        files = {self.rename.get(path, path): digest for path, digest in listing.files.items()}
        return messages.ModuleFound(1, "local", files, listing.extensions, self.left), []


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A client with a folder of modules, and what asks it."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    client = Client(theirs)
    modules = UserModules(client, tmp_path / "kept")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    modules.install()
    before = set(sys.modules)
    yield client, modules, theirs
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_python_is_not_asked_about(session):
    """The standard library is the session's own; for an installed package, the client's names are asked once."""
    client, modules, _ = session
    assert modules._finder.find_spec("json", None) is None
    assert client.asked == []
    assert modules.locate("msgspec") is None
    assert modules.locate("psutil") is None
    assert client.asked == [("",)]


def test_a_module_of_the_users_hides_an_installed_one(session):
    """As it does in the notebook, whose folder comes first."""
    client, modules, theirs = session
    client.names = ("psutil",)
    (theirs / "psutil.py").write_text("x = 1")
    assert modules.locate("psutil").files.keys() == {"psutil.py"}


def test_files_are_fetched_once(session):
    """What has not changed is not asked for again; what is gone there goes here."""
    client, modules, theirs = session
    (theirs / "kept_pkg").mkdir()
    for name in ("__init__", "one", "two"):
        (theirs / "kept_pkg" / f"{name}.py").write_text(f"x = {name!r}")
    folder = Path(modules.locate("kept_pkg").folder)
    assert (folder / "kept_pkg" / "two.py").read_text() == "x = 'two'"
    assert folder.stat().st_mode & 0o777 == 0o700
    (theirs / "kept_pkg" / "one.py").write_text("x = 1")
    (theirs / "kept_pkg" / "two.py").unlink()
    client.asked.clear()
    modules.locate("kept_pkg")
    assert client.asked == [("kept_pkg",), ("kept_pkg", "kept_pkg/one.py")]
    assert not (folder / "kept_pkg" / "two.py").exists()


@pytest.mark.parametrize("path", ["../outside.py", "/tmp/outside.py", "bad/../../outside.py"])
def test_no_file_is_written_outside_the_folder(session, path):
    """Whatever a client calls its files."""
    client, modules, theirs = session
    (theirs / "bad.py").write_text("x = 1")
    client.rename = {"bad.py": path}
    with pytest.raises(ProtocolError, match="no path of a module's file"):
        modules.locate("bad")


def test_what_stays_behind_is_told(session, capsys):
    """Files over the limit are named, where code that looks for them in vain is run."""
    client, modules, theirs = session
    client.left = ("large/a.bin", "large/b.bin")
    (theirs / "large.py").write_text("x = 1")
    modules.locate("large")
    assert "of large, large/a.bin and 1 more stayed on your machine" in capsys.readouterr().err


def test_compiled_modules(session):
    """One that the session has by itself is taken; else the error says what to do."""
    client, modules, _ = session
    client.kinds = {"fast_module": "extension"}
    with pytest.raises(ImportError, match="compiled extension module"):
        importlib.import_module("fast_module")
    client.names, client.kinds = ("msgspec",), {"msgspec": "extension"}
    modules.note_new_client()
    assert modules.locate("msgspec") is None


def test_without_a_client(session):
    """What was sent stays importable; nothing else is the user's."""
    client, modules, theirs = session
    (theirs / "sent.py").write_text("x = 1")
    importlib.import_module("sent")
    client.folder = None
    assert modules.locate("sent").files.keys() == {"sent.py"}
    assert modules.locate("other") is None
    modules.note_new_client()
    assert modules.is_stale
    assert modules.refresh() is False
    assert sys.modules["sent"].x == 1


def test_another_client_may_have_other_files(session, tmp_path):
    """When a connection takes the place of another one, every module is looked at anew."""
    client, modules, theirs = session
    (theirs / "sent.py").write_text("x = 1")
    importlib.import_module("sent")
    client.folder = tmp_path / "others"
    client.folder.mkdir()
    (client.folder / "sent.py").write_text("x = 2")
    modules.note_new_client()
    assert modules.refresh() is True
    assert sys.modules["sent"].x == 2
    assert not modules.is_stale


def test_a_missing_library_is_named_as_it_is_installed(session):
    """The client knows what was installed there under that name."""
    _, modules, _ = session
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("lacking")
    modules.advise(caught.value)
    modules.advise(caught.value)
    (note,) = caught.value.__notes__
    assert note.endswith("%rpc_pip install lacking-dist")
    modules.advise(KeyError("x"))
