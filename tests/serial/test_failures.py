"""Exceptions travel as well as they can."""

from __future__ import annotations

import json
import subprocess

import pytest

from rpc_magic import errors, serial


def travel(notebook, peer, error):
    """Send as encode_error does, to the other process and back."""
    buffers = serial.encode_error(error, namespace=notebook.namespace)
    assert buffers
    return peer.echo(notebook, notebook.decode(buffers))


BUILTIN = [
    ValueError("a", 1),
    KeyError("k"),
    OSError(2, "No such file", "name"),
    FileNotFoundError(2, "No such file", "name"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
    StopIteration(3),
    SystemExit(4),
    KeyboardInterrupt(),
    ImportError("no", name="n", path="p"),
    AttributeError("no", name="n"),
    SyntaxError("bad", ("f.py", 1, 2, "text", 1, 3)),
    subprocess.CalledProcessError(3, ["cmd"]),
    json.JSONDecodeError("bad", "doc", 1),
    ExceptionGroup("many", [ValueError(1), KeyError(2)]),
    errors.TransferError("x[0]", "lock", "no"),
    errors.RemoteError("t", "m"),
]


@pytest.mark.parametrize("error", BUILTIN, ids=lambda e: type(e).__name__)
def test_known_exceptions(error, notebook, peer):
    """Exceptions of Python, of its library and of ours keep class, text, arguments and attributes."""
    copy = travel(notebook, peer, error)
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert repr(copy.args) == repr(error.args)
    for name in ("errno", "filename", "code", "name", "path", "value", "lineno", "reason", "returncode"):
        assert getattr(copy, name, None) == getattr(error, name, None)


def test_group_keeps_its_members():
    """The members of a group keep their classes."""
    copy = serial.decode(serial.encode_error(ExceptionGroup("many", [ValueError(1), KeyError(2)])))
    assert [type(e) for e in copy.exceptions] == [ValueError, KeyError]


def test_chain_notes_and_attributes():
    """Cause, context, whether it is hidden, notes and attributes come along; the traceback stays."""
    try:
        try:
            raise KeyError("inner")  # noqa: TRY301  # a chain is what is needed
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as caught:
        error = caught
    error.add_note("a note")
    error.extra = [1]
    copy = serial.decode(serial.encode_error(error))
    assert repr(copy.__cause__) == "KeyError('inner')"
    assert copy.__context__ is copy.__cause__
    assert copy.__suppress_context__
    assert copy.__notes__ == ["a note"]
    assert copy.extra == [1]
    assert copy.__traceback__ is None


def test_what_cannot_travel_stays_behind(notebook):
    """Arguments, attributes and causes that cannot travel are left out or told as text; the rest travels."""
    stuck = (n for n in ())
    error = ValueError("text", stuck)
    error.good, error.bad = 1, stuck
    error.__cause__ = KeyError(stuck)
    error.__cause__.__cause__ = OSError(5, "deep")
    copy = serial.decode(serial.encode_error(error))
    assert copy.args[0] == "text"
    assert "generator" in copy.args[1]
    assert copy.good == 1
    assert not hasattr(copy, "bad")
    assert "generator" in copy.__cause__.args[0]
    assert copy.__cause__.__cause__.errno == 5


def test_hostile_exceptions(notebook):
    """Exceptions that fight back give [] or a copy, never an error."""
    notebook.run("""
        class BadReduce(Exception):
            def __reduce__(self): raise RuntimeError("no")
        class BadRepr(Exception):
            def __repr__(self): raise RuntimeError("no")
            __str__ = __repr__
        class BadLoad(Exception):
            def __reduce__(self): return fail, ()
        class Deep(Exception): pass
        def fail(): raise SystemError("on arrival")
        deep = []
        for _ in range(20000): deep = [deep]
        loop = ValueError("loop")
        loop.__context__ = KeyError()
        loop.__context__.__context__ = loop
        class Arg:
            def __repr__(self): raise RuntimeError
            def __reduce__(self): raise RuntimeError
    """)
    for name, args in [("BadReduce", ()), ("BadRepr", (1,)), ("BadLoad", ()), ("Deep", (notebook["deep"],))]:
        buffers = serial.encode_error(notebook[name](*args), namespace=notebook.namespace)
        assert isinstance(buffers, list)
        if buffers:
            assert type(notebook.decode(buffers)) is notebook[name]
    copy = notebook.decode(serial.encode_error(notebook["loop"], namespace=notebook.namespace))
    assert copy.__context__.__context__ is copy
    copy = notebook.decode(serial.encode_error(ValueError(notebook["Arg"]()), namespace=notebook.namespace))
    assert copy.args == ("<Arg>",)
    deep = notebook.namespace.pop("deep")
    while deep:
        deep = deep.pop()


def test_class_of_a_cell_comes_back_as_itself(notebook, peer):
    """An exception of a class made in a cell can be caught by that class after a round trip."""
    notebook.run("""
        class Oops(OSError):
            def __init__(self, where, *, why):
                super().__init__(where)
                self.why = why
        def make(): return Oops("here", why="because")
    """)
    copy = peer.call(notebook, notebook["make"])
    assert type(copy) is notebook["Oops"]
    assert (copy.args, copy.why) == (("here",), "because")
