"""Which names the code behind an object refers to."""

from __future__ import annotations

import pickle
import sys
import time
from typing import Any

import pytest

from rpc_magic.namespace import MAX_OBJECTS, referenced_names

PROGRAM = """
import functools, collections, dataclasses, contextlib
k = 1; m = 2; n = 3; _private = 4
def helper(): return k
def plain(): return helper() + len([m for _ in range(n)])
def sets():
    global k
    k = 1
async def coroutine(): return helper
def generator(): yield helper
anonymous = lambda: k
def outer():
    captured = anonymous
    def inner(): return captured() + m
    return inner
closed = outer()
def defaults(f=anonymous, *, g=plain): return f, g
@functools.lru_cache
def cached(): return n
@functools.wraps(plain)
def wrapper(): return n
@contextlib.contextmanager
def managed(): yield k
part = functools.partial(max, 3, key=anonymous)
@functools.singledispatch
def single(x): return k
@single.register
def _int(x: int): return m
class Base:
    def base(self): return k
class Meta(type):
    def meta(cls): return n
class Child(Base, metaclass=Meta):
    __slots__ = ("slot",)
    attribute = anonymous
    @property
    def prop(self): return m
    @staticmethod
    def static(): return _private
    @classmethod
    def cls_method(cls): return helper
    @functools.cached_property
    def kept(self): return len
    method_part = functools.partialmethod(base_function := plain, 3)
    class Nested:
        def nested(self): return single
@dataclasses.dataclass
class Data:
    x: list = dataclasses.field(default_factory=lambda: [k])
instance = Child()
instance.slot = lambda: n
base = Base()
base.callback = lambda: m
method = base.base
listed = [1, (2, {"x": anonymous})]
deep = collections.deque([{anonymous}])
ordered = collections.OrderedDict(a=collections.defaultdict(anonymous), b=anonymous)
cycle = []; cycle.append(cycle); cycle.append(anonymous)
module = functools
number = 3
def evaluates(): return eval("k + m")
def executes(): exec("import os\\nlocal = n")
def looks_up(): return globals()["k"]
def queries(table): return table.query("a > @m")
def mentions(): return "k m n"
"""


@pytest.fixture(scope="module")
def namespace() -> dict[str, Any]:
    """A notebook's namespace after one cell."""
    result: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(PROGRAM, "<cell>", "exec", dont_inherit=True), result)
    return result


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("helper", "k"),
        ("plain", "helper m n"),
        ("sets", "k"),
        ("coroutine", "helper"),
        ("generator", "helper"),
        ("anonymous", "k"),
        ("closed", "m k"),
        ("defaults", "k helper m n"),
        ("cached", "n"),
        ("wrapper", "n helper m"),
        ("managed", "k"),
        ("part", "k"),
        ("single", "k m"),
        ("Base", "Base k"),
        ("Child", "Child Base Meta k n m _private helper single"),
        ("Data", "Data k"),
        ("base", "Base k m"),
        ("method", "Base k m"),
        ("listed", "k"),
        ("deep", "k"),
        ("ordered", "k"),
        ("cycle", "k"),
        ("module", ""),
        ("number", ""),
        ("evaluates", "k m"),
        ("executes", "n"),
        ("looks_up", "k"),
        ("queries", "m"),
        ("mentions", ""),
    ],
)
def test_names_behind_an_object(namespace: dict[str, Any], name: str, names: str) -> None:
    """Functions, what wraps them, classes, instances and containers."""
    # Decorated classes and functions also refer to what their bodies name; the libraries do not count.
    found = referenced_names(namespace[name], namespace) - {"functools", "dataclasses", "collections"}
    assert found == set(names.split())


def test_slots_and_attributes(namespace: dict[str, Any]) -> None:
    """A function in a slot of an instance is found as well as its class."""
    assert {"n", "Child", "single"} <= referenced_names(namespace["instance"], namespace)


def test_functions_of_other_namespaces(namespace: dict[str, Any]) -> None:
    """A function of a library refers to no name of the notebook, even one that is spelt the same."""
    other: dict[str, Any] = {}
    exec("def f(): return k", other)
    assert referenced_names(other["f"], namespace) == frozenset()
    assert referenced_names(time, namespace) == frozenset()


def test_no_code_of_the_user_runs() -> None:
    """Objects that answer nothing, or with an error, are looked at past their own methods."""
    program = """
class Hostile(dict):
    def _fail(self, *a): raise RuntimeError("looked at")
    __getattribute__ = __eq__ = __iter__ = __len__ = __bool__ = __getitem__ = values = items = _fail
    __hash__ = None
    def __repr__(self): return k
k = 1
hostile = Hostile(a=lambda: k)
"""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(program, namespace)
    assert referenced_names(namespace["hostile"], namespace) == {"k", "Hostile"}


def test_containers_are_looked_into_up_to_a_bound() -> None:
    """Beyond the bound nothing is looked at, so size costs nothing."""
    namespace: dict[str, Any] = {"__name__": "__main__", "k": 1}
    function = eval("lambda: k", namespace)
    assert referenced_names([0] * (MAX_OBJECTS - 2) + [function], namespace) == {"k"}
    assert referenced_names([0] * MAX_OBJECTS + [function], namespace) == frozenset()


def test_many_small_objects_cost_little() -> None:
    """A list of arrays or other objects without attributes is not looked into one by one."""
    namespace: dict[str, Any] = {"__name__": "__main__", "k": 1}
    items: list[object] = [object() for _ in range(500)]
    items += [[object()], eval("lambda: k", namespace)]
    assert referenced_names(items, namespace) == {"k"}


def test_missing_names_are_left_out() -> None:
    """Builtins, and names that do not exist now, are no names of the namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(): return len(later)", namespace)
    assert referenced_names(namespace["f"], namespace) == frozenset()
    namespace["later"] = 1
    assert referenced_names(namespace["f"], namespace) == {"later"}


class Thing:
    """It is pickled as if a cell had defined it."""


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes and functions that a pickle looks up are named, texts in it are not."""
    names = {"Thing": Thing, "function": lambda: None, "text": 1, "Other": 2}
    monkeypatch.setattr(sys.modules["__main__"], "Thing", Thing, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "function", names["function"], raising=False)
    monkeypatch.setattr(Thing, "__module__", "__main__")
    names["function"].__module__, names["function"].__qualname__ = "__main__", "function"
    data = pickle.dumps([Thing(), {"text": "Other"}, names["function"], Thing], protocol)
    assert referenced_names(data, names) == {"Thing", "function"}
    assert referenced_names(b"\x80 no pickle __main__", names) == frozenset()
