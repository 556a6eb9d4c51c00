"""Errors name the path to what cannot travel."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import functools
import os
import queue
import socket
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from rpc_magic import serial
from rpc_magic.errors import TransferError


class Model:
    pass


class Slotted:
    __slots__ = ("inner",)


def refuse(value, **options):
    with pytest.raises(TransferError) as caught:
        serial.encode(value, **options)
    return caught.value


@pytest.fixture
def stuck():
    """Something that cannot travel."""
    return (n for n in ())


def test_attributes_items_and_slots(stuck):
    """The path is told as one would write it."""
    model = Model()
    model.cache = [1, 2, 3, Model()]
    model.cache[3].lock = stuck
    error = refuse(model, name="model")
    assert error.path == "model.cache[3].lock"
    assert error.type_name == "generator"
    assert str(error).startswith("model.cache[3].lock (generator) cannot travel: ")
    slotted = Slotted()
    slotted.inner = {"k": (stuck,)}
    assert refuse(slotted, name="s").path == "s.inner['k'][0]"


def test_functions(notebook, stuck):
    """What a function refers to is told by name: globals, closure, defaults."""
    notebook.namespace["db"] = stuck
    notebook.run("""
        def use(): return db
        def outer(v):
            def inner(): return v
            return inner
        closed = outer([db])
        def default(a=db): return a
        class Service:
            conn = db
            def method(self): return use()
    """)

    def path(name):
        return refuse(notebook[name], namespace=notebook.namespace).path

    assert path("use") == "use -> db"
    assert path("closed") == "inner -> v[0]"
    assert path("default") == "default -> default"
    assert path("Service") == "Service.conn"


def test_sets_and_keys():
    """A set's member and a dict's key have no index: the path says so."""
    stuck = queue.SimpleQueue()
    assert refuse({"a": {stuck}}, name="x").path == "x['a']{...}"
    assert refuse({stuck: 1}, name="x").path == "x[key SimpleQueue]"


@pytest.mark.parametrize("kind", ["socket", "database", "frame", "generator", "file", "queue", "iterator"])
def test_things_of_this_process(kind, tmp_path):
    """What belongs to a process is refused with its type."""
    with socket.socket() as sock, (tmp_path / "file").open("w") as file:
        database = sqlite3.connect(":memory:")
        things = {
            "socket": sock,
            "database": database,
            "frame": sys._getframe(),
            "generator": (n for n in ()),
            "file": file,
            "queue": queue.SimpleQueue(),
            "iterator": os.scandir(tmp_path),
        }
        error = refuse([things[kind]], name="x")
        things["iterator"].close()
        database.close()
    assert error.path == "x[0]"


def test_file_is_refused_and_untouched(tmp_path):
    """An open or closed file is refused with its name, and stays as it is."""
    path = tmp_path / "data.txt"
    with path.open("w") as file:
        file.write("kept")
        error = refuse({"log": file}, name="state")
    assert error.path == "state['log']"
    assert "data.txt" in error.reason
    assert "send its path or its contents" in error.reason
    assert refuse(file).reason == error.reason
    assert path.read_text() == "kept"


def test_too_deep_is_said():
    """A structure deeper than Python's stack gives a clear error, not a crash."""
    deep = []
    for _ in range(20_000):
        deep = [deep]
    error = refuse(deep, name="deep")
    assert error.path == "deep"
    assert "nested too deeply" in error.reason
    while deep:  # taken apart by hand: so deep a list would be slow to free
        deep = deep.pop()


def test_a_users_own_error_is_the_reason():
    """What a `__reduce__` raises is told and chained."""

    class Odd:
        def __reduce__(self):
            raise LookupError("no such luck")

    error = refuse([Odd()], name="x")
    assert error.path == "x[0]"
    assert error.reason == "LookupError: no such luck"
    assert isinstance(error.__cause__, LookupError)


def test_interrupt_passes():
    """An interrupt while pickling is an interrupt."""

    class Slow:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serial.encode([Slow()])


def test_dill_leaves_pickle_alone():
    """Importing dill for an exotic type does not change the process's own pickle."""
    import pickle

    serial.encode({}.keys())
    assert all(saver.__module__ == "pickle" for saver in pickle._Pickler.dispatch.values())


AFTER_DILL = """
import dill, io, logging
from rpc_magic import TransferError, dumps
handler = logging.StreamHandler(open(__import__("os").devnull, "w"))
try:
    dumps({"log": [handler, lambda: 1, int]})
except TransferError as error:
    print(error.path)
"""


def test_with_dill_loaded_before():
    """An import of dill replaces what the Python pickler does for the whole process; the path is found all the same."""
    run = subprocess.run([sys.executable, "-c", AFTER_DILL], capture_output=True, text=True, check=False)
    assert run.stdout == "['log'][0].stream\n", run.stderr


Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024  # either kind has the same fields


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda stuck: Pair(1, stuck), "x.right"),
        (lambda stuck: collections.deque([1, stuck]), "x[1]"),
        (lambda stuck: pd.DataFrame({"a": [1, 2], "b": [None, {"k": stuck}]}), "x['b'][1]['k']"),
        (lambda stuck: pd.Series([stuck], index=["row"]), "x['row']"),
        (lambda stuck: np.array([[1, stuck]], dtype=object), "x[0, 1]"),
        (lambda stuck: functools.partial(print, stuck), "x.args[0]"),
    ],
)
def test_places_that_have_names(make, path):
    """Fields of named tuples, items of arrays and cells of tables are named as one would reach them."""
    assert refuse(make(queue.SimpleQueue()), name="x").path == path


@pytest.mark.parametrize(
    ("make", "close"),
    [
        (lambda: subprocess.Popen([sys.executable, "-c", ""]), lambda process: process.wait()),
        (lambda: concurrent.futures.ThreadPoolExecutor(1), lambda pool: pool.shutdown()),
        (asyncio.new_event_loop, lambda loop: loop.close()),
    ],
)
def test_handles_of_this_process(make, close):
    """A copy of a process or a pool would act on a stranger's: refused as a whole, not for a part of it."""
    handle = make()
    try:
        error = refuse([handle], name="x")
    finally:
        close(handle)
    assert error.path == "x[0]"
    assert "belongs to this process" in error.reason
