"""Identity across processes: what comes home is what left; what others change does not leak back."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import typing

import pytest

from rpc_magic import serial
from rpc_magic.serial import build_types
from rpc_magic.serial.tokens import Registry

CLASSES = """
    import dataclasses, enum, typing
    @dataclasses.dataclass
    class Point:
        x: int
        limit = 5
    class Color(enum.Enum):
        RED = 1
    T = typing.TypeVar("T")
    UserId = typing.NewType("UserId", int)
    class Box(typing.Generic[T]): pass
    def back(): return Point(3), Color.RED, Point, Color, T, UserId, Box
"""


def test_classes_come_home_as_themselves(notebook, peer):
    """Classes, enums and type variables made in a cell are the same objects after a round trip."""
    notebook.run(CLASSES)
    point, red, *rest = peer.call(notebook, notebook["back"])
    assert type(point) is notebook["Point"]
    assert red is notebook["Color"].RED
    names = ("Point", "Color", "T", "UserId", "Box")
    assert all(thing is notebook[name] for thing, name in zip(rest, names, strict=True))


SAME_BYTES = """
    class A:
        "doc"
        arg = "join"
        def join(self, arg): pass
        limit = 3
        def __init__(self): self.x = A
    A.join.arg = "join"
    class B(A): pass
"""


def test_bytes_do_not_depend_on_who_sends(notebook):
    """A class that another process loaded and dumps again has the bytes that it came with."""
    notebook.run(SAME_BYTES)
    script = "import sys, rpc_magic as r; sys.stdout.buffer.write(r.dumps(r.loads(sys.stdin.buffer.read())))"
    sent = serial.dumps([notebook["A"], notebook["B"]])
    run = subprocess.run([sys.executable, "-c", script], input=sent, stdout=subprocess.PIPE, check=True)
    assert run.stdout == sent


def test_origin_of_a_class_is_the_authority(notebook, peer):
    """What the other side does to its copy of a class does not reach the class itself."""
    notebook.run(CLASSES)
    notebook.run("""
        def change():
            Point.limit = 99
            Point.extra = 1
            Point.__repr__ = lambda self: "changed"
            return Point, Point.limit
    """)
    repr_before = notebook["Point"].__repr__
    cls, limit = peer.call(notebook, notebook["change"])
    assert limit == 99
    assert cls is notebook["Point"]
    assert cls.limit == 5
    assert not hasattr(cls, "extra")
    assert cls.__repr__ is repr_before


def test_changes_at_the_origin_reach_the_copy(notebook, peer):
    """A class sent again after its origin changed it updates the copy, and old instances see it."""
    notebook.run("""
        class C: v = 1
        c = C()
        def get(kept): return kept.v, C.v, type(kept) is C
    """)
    peer.keep(notebook, "c", notebook["c"])
    notebook["C"].v = 2
    assert peer.apply(notebook, notebook["get"], "c") == (2, 2, True)


def test_redefined_class_lives_beside_the_old_one(notebook, peer):
    """A cell run again makes a new class; instances sent before keep the old one."""
    notebook.run("class C: v = 1\nold = C()")
    peer.keep(notebook, "old", notebook["old"])
    notebook.run("""
        class C: v = 2
        def compare(old): return old.v, C().v, type(old) is C
    """)
    assert peer.apply(notebook, notebook["compare"], "old") == (1, 2, False)


def test_class_made_there(notebook, peer):
    """A class defined on the other side arrives once, and goes back to be itself there."""
    notebook.run("""
        def make():
            class Made:
                n = 1
            return Made, Made()
        def same(kept): return type(instance) is kept
    """)
    cls, instance = peer.call(notebook, notebook["make"])
    assert type(instance) is cls
    again, _ = peer.echo(notebook, (cls, instance))
    assert again is cls


def test_function_that_comes_home_leaves_globals_alone(notebook, peer):
    """Globals that a function carried out and back do not overwrite what they have become here."""
    notebook.run("n = 1\ndef get(): return n\ndef back(): return get")
    notebook.run("def bump():\n    global n\n    n = 50\n    return get")
    get = peer.call(notebook, notebook["bump"])
    assert notebook["n"] == 1
    assert get() == 1
    assert get.__globals__ is notebook.namespace


def test_function_made_there_carries_globals_here(notebook, peer):
    """A function defined on the other side is bound to this side's namespace and brings what it refers to."""
    notebook.run("""
        def make():
            exec("k = 7\\ndef there(): return k", globals())
            return there
    """)
    there = peer.call(notebook, notebook["make"])
    assert there() == 7
    assert notebook["k"] == 7
    assert there.__globals__ is notebook.namespace


def test_exec_globals_come_home(notebook, peer):
    """A function with globals of its own finds them again at home."""
    notebook.run("space = {'k': 1}\nexec('def f(): return k', space)\nf = space['f']\ndef back(): return f")
    f = peer.call(notebook, notebook["back"])
    notebook["space"]["k"] = 2
    assert f() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_is_another_origin():
    """A forked child gives tokens of its own, so that its classes are not taken for its parent's."""
    script = """
        import os, sys
        from rpc_magic import serial
        space = {"__name__": "__main__"}
        exec("class A: pass", space)
        serial.encode(space["A"])
        read, write = os.pipe()
        if os.fork() == 0:
            exec("class B:\\n    who = 'child'", space)
            os.write(write, b"".join(serial.encode(space["B"])))
            os._exit(0)
        exec("class B:\\n    who = 'parent'", space)
        serial.encode(space["B"])
        os.wait()
        made = serial.decode([os.read(read, 100000)])
        print(made.who, made is space["B"])
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.split() == ["child", "False"]


def test_renewed_registry_still_knows_its_things():
    """After `renew`, known objects keep their tokens, which are no longer the registry's own."""

    class Thing:
        pass

    registry = Registry()
    old = registry.token(Thing)
    assert registry.is_own(old)
    registry.renew()
    assert not registry.is_own(old)
    assert registry.token(Thing) == old
    assert registry.find(old) is Thing


def test_registry_forgets_the_dead():
    """A token goes with its object; another object in the same memory has none."""
    registry = Registry()
    cls = type("Gone", (), {})
    token = registry.token(cls)
    del cls
    import gc

    gc.collect()
    assert registry.find(token) is None


def test_class_refilled_after_its_origin_was_collected():
    """A class whose origin is gone by the time it comes home is made anew, with its attributes."""
    space = {"__name__": "__main__"}
    exec("class Gone:\n    v = 3\n    def get(self): return self.v", space)
    buffers = serial.encode(space.pop("Gone"))
    import gc

    gc.collect()
    assert serial.decode(buffers)().get() == 3


def test_a_type_variable_of_a_newer_python() -> None:
    """Options that this Python does not know are left out."""
    made = build_types.make_typevar(
        typing.TypeVar, ("T",), {"bound": int, "no_such_option": True}, "m", "away.1"
    )
    assert (made.__name__, made.__bound__) == ("T", int)
