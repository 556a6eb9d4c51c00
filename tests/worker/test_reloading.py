"""Edited modules are loaded again in place."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from rpc_magic.worker.reloading import reload_modules, to_reload


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Write a module; what was loaded is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    count = 0

    def write(path: str, text: str) -> Path:
        nonlocal count
        count += 1
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        os.utime(file, (count * 10, count * 10))
        importlib.invalidate_caches()
        return file

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def reloaded(tops, *files):
    modules = to_reload(tops, set(files))
    return [module.__name__ for module in modules], reload_modules(modules)


def test_what_refers_to_a_module_sees_the_edit(edit):
    """Functions get the new code, instances the new methods, in place."""
    file = edit("edited.py", "def f(): return 1\nclass C:\n    def m(self): return 1\n")
    module = importlib.import_module("edited")
    f, thing = module.f, module.C()
    edit("edited.py", "def f(): return 2\nclass C:\n    def m(self): return 2\n")
    assert reloaded(["edited"], file) == (["edited"], [])
    assert (f(), thing.m(), module.f()) == (2, 2, 2)
    assert isinstance(thing, module.C)


def test_modules_that_took_names_follow(edit):
    """A constant taken with `from` is renewed through any number of modules; others are left alone."""
    file = edit("edited/core.py", "LIMIT = 1")
    edit("edited/__init__.py", "from .core import LIMIT")
    edit("uses.py", "from edited import LIMIT")
    edit("apart.py", "import edited\nstate = []")
    for name in ("uses", "apart"):
        importlib.import_module(name)
    edit("edited/core.py", "LIMIT = 2")
    names, failed = reloaded(["edited", "uses", "apart"], file)
    assert (names, failed) == (["edited.core", "edited", "uses"], [])
    assert sys.modules["uses"].LIMIT == 2


def test_modules_that_take_from_each_other(edit):
    """A circle ends."""
    one = edit("one.py", "import two\nx = 1\nfrom two import y")
    edit("two.py", "y = 1\ndef f():\n    from one import x\n    return x")
    importlib.import_module("one")
    assert sorted(reloaded(["one", "two"], one)[0]) == ["one", "two"]


def test_a_module_that_cannot_be_loaded_is_forgotten(edit):
    """So that the next import raises its error; what was made of it before goes on."""
    file = edit("edited.py", "def f(): return 1")
    module = importlib.import_module("edited")
    edit("edited.py", "def f(: pass")
    _, failed = reloaded(["edited"], file)
    assert failed[0][0] is module
    assert isinstance(failed[0][1], SyntaxError)
    assert module.f() == 1
    with pytest.raises(SyntaxError):
        importlib.import_module("edited")
