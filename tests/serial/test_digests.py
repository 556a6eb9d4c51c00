"""Functions named by digest: the same state has the same name, any change another one."""

from __future__ import annotations

import sys
import time

import pytest

from rpc_magic import serial
from rpc_magic.errors import TransferError


@pytest.fixture
def digests():
    return serial.FunctionDigests()


def ask(digests, notebook, name="f"):
    return digests.digest(notebook[name], notebook.namespace)


def test_unchanged_function_is_not_encoded_again(notebook, digests):
    """The second time the digest alone comes; the buffers of the first time are the function."""
    notebook.run("k = 3\ndef f(x): return x + k")
    digest, buffers = ask(digests, notebook)
    assert len(digest) == 16
    assert serial.decode(buffers, namespace={})(1) == 4
    assert ask(digests, notebook) == (digest, None)


CHANGES = {
    "global": ("k = 1\ndef f(): return k", "k = 2"),
    "global that appears": ("def f(): return k", "k = 2"),
    "global that goes": ("k = 1\ndef f(): return k", "del k"),
    "function it calls": ("def g(): return 1\ndef f(): return g()", "def g(): return 2"),
    "global of a function it calls": ("k = 1\ndef g(): return k\ndef f(): return g()", "k = 2"),
    "code": ("def f(): return 1\ndef other(): return 2", "f.__code__ = other.__code__"),
    "code of a function it calls": (
        "def g(): return 1\ndef f(): return g()\ndef other(): return 2",
        "g.__code__ = other.__code__",
    ),
    "defaults": ("def f(a=1): return a", "f.__defaults__ = (2,)"),
    "keyword defaults": ("def f(*, a=1): return a", "f.__kwdefaults__['a'] = 2"),
    "attribute": ("def f(): return 1", "f.x = 1"),
    "attribute of a function it calls": ("def g(): return 1\ndef f(): return g()", "g.x = 1"),
    "cell": (
        "def o():\n    n = 1\n    def i(): return n\n    return i\nf = o()",
        "f.__closure__[0].cell_contents = 2",
    ),
    "list changed in place": ("l = [1]\ndef f(): return l", "l.append(2)"),
    "class changed in place": ("class C: v = 1\ndef f(): return C.v", "C.v = 2"),
    "constant tuple": ("k = (1, (2, 3))\ndef f(): return k", "k = (1, (2, 4))"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(change, notebook, digests):
    """Whatever the function's result depends on changes its digest."""
    before, after = CHANGES[change]
    notebook.run(before)
    first, _ = ask(digests, notebook)
    assert ask(digests, notebook)[0] == first
    notebook.run(after)
    second, buffers = ask(digests, notebook)
    assert second != first
    assert buffers is not None


def test_submodule_imported_later(notebook, digests, tmp_path, monkeypatch):
    """A submodule that the code names and that is imported later is part of the state from then on."""
    package = tmp_path / "package_of_a_digest"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "late.py").write_text("value = 3")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        notebook.run("import package_of_a_digest as p\ndef f(): return p.late.value")
        first, _ = ask(digests, notebook)
        assert ask(digests, notebook) == (first, None)
        notebook.run("import package_of_a_digest.late")
        second, buffers = ask(digests, notebook)
    finally:
        for name in [name for name in sys.modules if name.startswith(package.name)]:
            del sys.modules[name]
    assert second != first
    assert buffers is not None


def test_new_function_in_the_same_place(notebook, digests):
    """A function redefined is told from the one before, even in the same memory."""
    seen = set()
    for number in range(20):
        notebook.run(f"def f(): return {number}")
        seen.add(ask(digests, notebook)[0])
    assert len(seen) == 20


def test_annotated_functions_keep_the_fast_path(notebook, digests):
    """Annotations with importable classes do not make a function slow; a changed one is seen."""
    notebook.run("def f(x: int, y: list[str] | None = None) -> 'text': return x")
    digest, _ = ask(digests, notebook)
    assert ask(digests, notebook) == (digest, None)
    notebook["f"].__annotations__["x"] = float
    assert ask(digests, notebook)[0] != digest


def test_recursion_and_mutual_recursion(notebook, digests):
    """Functions that call themselves or each other keep the fast path."""
    notebook.run("def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)")
    digest, _ = ask(digests, notebook, "even")
    assert ask(digests, notebook, "even") == (digest, None)


def test_other_namespace_is_another_state(notebook, other_notebook, digests):
    """The digest belongs to the namespace it was asked for."""
    notebook.run("k = 3\ndef f(x): return x + k")
    ask(digests, notebook)
    _, buffers = digests.digest(notebook["f"], other_notebook.namespace)
    assert buffers is not None


def test_mutable_state_is_encoded_each_time(notebook, digests):
    """A function that refers to a list keeps its digest while the list does, at the cost of encoding."""
    notebook.run("l = [1, 2]\ndef f(): return l")
    first, _ = ask(digests, notebook)
    second, buffers = ask(digests, notebook)
    assert first == second
    assert buffers is not None


def test_methods_partials_builtins(notebook, digests):
    """Any callable has a digest."""
    notebook.run(
        "import functools\nclass C:\n    def m(self): return 1\nf = functools.partial(C().m)\ng = len"
    )
    assert ask(digests, notebook)[0] == ask(digests, notebook)[0]
    assert ask(digests, notebook, "g")[0] != ask(digests, notebook)[0]


def test_what_cannot_travel_is_named(notebook, digests):
    """A function that refers to a generator is refused by its own name."""
    notebook.run("db = (x for x in ())\ndef f(): return db")
    with pytest.raises(TransferError) as caught:
        ask(digests, notebook)
    assert caught.value.path == "f -> db"


def test_fast_path_is_fast(notebook, digests):
    """An unchanged function costs microseconds (the bound is generous: machines are shared)."""
    notebook.run("import math\nk = 3\ndef g(x): return x + k\ndef f(x): return g(x) * math.pi")
    ask(digests, notebook)
    function, namespace = notebook["f"], notebook.namespace
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(100):
            digests.digest(function, namespace)
        best = min(best, (time.perf_counter() - start) / 100)
    assert best < 10e-6
