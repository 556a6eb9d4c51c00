"""Importing the user's modules from where they were put."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import pkgutil
import sys
from collections.abc import Iterator

import pytest

from rpc_magic.localmodules.importing import Finder, Placed, own_spec


@pytest.fixture
def place(tmp_path, monkeypatch) -> Iterator[dict[str, Placed]]:
    """Where modules are, by name; a finder that knows it."""
    places: dict[str, Placed] = {}
    monkeypatch.setattr(sys, "meta_path", [Finder(places.get), *sys.meta_path])
    yield places
    for name in list(sys.modules):
        if name.partition(".")[0] in places:
            del sys.modules[name]


def test_a_package_is_imported_whole(place, tmp_path):
    """Submodules, data by resources, pkgutil and __file__, and sources: as for any package."""
    folder = tmp_path / "put"
    (folder / "put_pkg" / "sub").mkdir(parents=True)
    (folder / "put_pkg" / "__init__.py").write_text("from . import sub")
    (folder / "put_pkg" / "sub" / "__init__.py").write_text("def f():\n    return 7\n")
    (folder / "put_pkg" / "data.txt").write_text("data")
    place["put_pkg"] = Placed(str(folder), {})
    module = importlib.import_module("put_pkg")
    assert module.sub.f() == 7
    assert "return 7" in inspect.getsource(module.sub.f)
    assert importlib.resources.files("put_pkg").joinpath("data.txt").read_text() == "data"
    assert pkgutil.get_data("put_pkg", "data.txt") == b"data"
    assert module.__file__ == str(folder / "put_pkg" / "__init__.py")
    assert not list(folder.rglob("*.pyc"))
    with pytest.raises(ModuleNotFoundError, match=r"put_pkg\.gone"):
        importlib.import_module("put_pkg.gone")


def test_the_newest_text_is_taken(place, tmp_path):
    """Also when an edit leaves size and time of change as they were, which deceives a .pyc."""
    import os

    file = tmp_path / "put_one.py"
    place["put_one"] = Placed(str(tmp_path), {})
    for value in "12":
        file.write_text(f"x = {value}")
        os.utime(file, (1, 1))
        sys.modules.pop("put_one", None)
        assert importlib.import_module("put_one").x == int(value)


def test_compiled_modules_say_what_to_do(place, tmp_path):
    """They are not sent, and the error says so; one that lies here by itself is left to Python."""
    (tmp_path / "put_pkg").mkdir()
    (tmp_path / "put_pkg" / "__init__.py").write_text("")
    extensions = ("put_pkg/_fast.cpython-311-x86_64-linux-gnu.so",)
    place["put_pkg"] = Placed(str(tmp_path), {}, extensions)
    place["put_fast"] = Placed("", {}, is_extension=True)
    for name in ("put_pkg._fast", "put_fast"):
        with pytest.raises(ImportError, match=r"compiled extension.*%rpc_pip") as caught:
            importlib.import_module(name)
        assert caught.value.name == name


def test_other_modules_are_left_to_others(place):
    """A module that is nobody's is found as ever, and not found as ever."""
    finder = sys.meta_path[0]
    assert finder.find_spec("json", None) is None
    assert finder.find_spec("xml.dom", ["/"]) is None
    assert own_spec("msgspec", finder).origin.endswith("__init__.py")
    assert own_spec("no_such_module", finder) is None
