# ruff: noqa: E501  # cells are written as people write them
"""Cells as people write them, sent to a second process: `probe()` is called there and says if all is well."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rpc_magic import serial

ROOT = Path(__file__).resolve().parents[2]

CASES = {
    "mutual recursion": """
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        def probe(): return even(10) and not odd(10)
    """,
    "recursive closure": """
        def outer():
            def fact(n): return 1 if n < 2 else n * fact(n - 1)
            return fact
        fact5 = outer()
        def probe(): return fact5(5) == 120
    """,
    "two closures share a cell": """
        def make():
            n = 0
            def up():
                nonlocal n
                n += 1
            def get(): return n
            return up, get
        pair = make()
        def probe():
            pair[0](); pair[0]()
            return pair[1]() == 2
    """,
    "global shared by two functions": """
        count = 0
        def up():
            global count
            count += 1
        def get(): return count
        def probe():
            up(); up()
            return get() == 2
    """,
    "list shared by function and data": """
        shared = []
        data = {"list": shared}
        def add(): shared.append(1)
        def probe():
            add()
            return data["list"] == [1]
    """,
    "lru_cache recursive": """
        import functools
        @functools.lru_cache(maxsize=None)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        def probe(): return fib(30) == 832040 and fib.cache_info().hits > 0
    """,
    "singledispatch": """
        import functools
        @functools.singledispatch
        def show(x): return "any"
        @show.register
        def _(x: int): return "int"
        @show.register(list)
        def _(x): return "list"
        def probe(): return (show(1), show([]), show("")) == ("int", "list", "any")
    """,
    "cached_property": """
        import functools
        class C:
            @functools.cached_property
            def x(self): return 42
        def probe(): return C().x == 42
    """,
    "async function and generator": """
        import asyncio
        async def numbers():
            for i in range(3): yield i
        async def main(): return [i async for i in numbers()]
        def probe(): return asyncio.run(main()) == [0, 1, 2]
    """,
    "imported submodule": """
        import xml.etree.ElementTree
        def probe(): return xml.etree.ElementTree.fromstring("<a/>").tag == "a"
    """,
    "classes that refer to each other": """
        class A:
            def other(self): return B()
        class B:
            def other(self): return A()
        def probe(): return type(A().other().other()) is A
    """,
    "class holding an instance of itself": """
        class Node: pass
        Node.root = Node()
        def probe(): return type(Node.root) is Node
    """,
    "super and __class__": """
        class Base:
            def __init__(self): self.x = 1
        class Child(Base):
            def __init__(self):
                super().__init__()
                self.cls = __class__
        def probe():
            c = Child()
            return c.x == 1 and c.cls is Child
    """,
    "slots with private names": """
        class S:
            __slots__ = ("__hidden", "seen")
            def __init__(self): self.__hidden, self.seen = 1, 2
            def both(self): return self.__hidden + self.seen
        s = S()
        def probe(): return s.both() == 3 and S().both() == 3
    """,
    "metaclass": """
        class Meta(type):
            def __call__(cls, *args): return ("made", super().__call__(*args))
            def __eq__(cls, other): return True
            __hash__ = None
        class M(metaclass=Meta): pass
        def probe(): return M()[0] == "made" and type(M) is Meta
    """,
    "abstract class and registry": """
        import abc
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
            @property
            @abc.abstractmethod
            def name(self): ...
        class Other: pass
        Shape.register(Other)
        def probe():
            try: Shape()
            except TypeError: return isinstance(Other(), Shape)
    """,
    "__init_subclass__ with a required keyword": """
        seen = []
        class Plugin:
            def __init_subclass__(cls, *, key, **rest):
                super().__init_subclass__(**rest)
                seen.append(key)
        class One(Plugin, key="one"): pass
        def probe():
            before = list(seen)
            One()
            class Two(Plugin, key="two"): pass
            return before == ["one"] and seen == ["one", "two"]
    """,
    "__set_name__": """
        class Field:
            def __set_name__(self, owner, name): self.name = name
            def __get__(self, obj, owner=None): return self.name
        class Row:
            size = Field()
        def probe(): return Row().size == "size"
    """,
    "dataclasses": """
        import dataclasses
        @dataclasses.dataclass(slots=True)
        class Slotted:
            x: int
            y: list = dataclasses.field(default_factory=list)
        @dataclasses.dataclass(frozen=True, kw_only=True, order=True)
        class Frozen:
            a: int
            b: dataclasses.InitVar[int] = 0
        @dataclasses.dataclass
        class Parent:
            x: int
            def __post_init__(self): self.seen = True
        @dataclasses.dataclass
        class Child(Parent):
            y: int = 2
        s, f = Slotted(1), Frozen(a=1)
        def probe():
            s.y.append(1)
            try:
                f.a = 2
                return False
            except dataclasses.FrozenInstanceError: pass
            ok = Child(1).seen and Child(1) == Child(1, 2) and Frozen(a=1) < Frozen(a=2)
            return ok and Slotted(3).y == [] and dataclasses.replace(f, a=5, b=0).a == 5 and [
                x.name for x in dataclasses.fields(Slotted)] == ["x", "y"] and dataclasses.asdict(s) == {"x": 1, "y": [1]}
    """,
    "enums": """
        import enum
        class Planet(enum.Enum):
            EARTH = (5.9, 6.3)
            MARS = (0.6, 3.3)
            def __init__(self, mass, radius): self.mass, self.radius = mass, radius
            @property
            def density(self): return self.mass / self.radius
        class Text(enum.StrEnum):
            def __new__(cls, value, label):
                made = str.__new__(cls, value)
                made._value_ = value
                made.label = label
                return made
            A = ("a", "first")
        class Right(enum.IntFlag):
            R = 4
            W = 2
            RW = 6
        class Auto(enum.Enum):
            X = enum.auto()
            ALIAS = X
        m = Planet.MARS
        def probe():
            return (m is Planet.MARS and m.mass == 0.6 and m.density > 0 and Text.A == "a" and Text.A.label == "first"
                    and Right.R | Right.W == Right.RW and Auto.ALIAS is Auto.X and Planet((5.9, 6.3)) is Planet.EARTH)
    """,
    "typing": """
        from typing import NamedTuple, TypedDict, Generic, TypeVar, NewType, Protocol, runtime_checkable, ParamSpec, Required, NotRequired, TypeVarTuple, Unpack
        class Point(NamedTuple):
            x: int
            y: int = 2
            def norm(self): return self.x + self.y
        class Movie(TypedDict, total=False):
            name: str
        T = TypeVar("T")
        P = ParamSpec("P")
        class Stack(Generic[T]):
            def __init__(self): self.items: list[T] = []
        class IntStack(Stack[int]): pass
        UserId = NewType("UserId", int)
        @runtime_checkable
        class Sized(Protocol):
            def size(self) -> int: ...
        class Has:
            def size(self): return 1
        class Film(Movie):
            "a film"
            year: Required[int]
            stars: NotRequired[int]
        class Named(TypedDict, Generic[T]):
            value: T
        Ts = TypeVarTuple("Ts")
        class Row(Generic[Unpack[Ts]]): pass
        p = Point(1)
        def probe():
            typed = (Film.__required_keys__ == {"year"} and Film.__optional_keys__ == {"name", "stars"} and Film.__doc__ == "a film"
                     and Named[int](value=1) == {"value": 1} and Row[int, str].__args__ == (int, str))
            return (typed and p.norm() == 3 and type(p) is Point and Movie(name="a") == {"name": "a"} and Stack[int]().items == []
                    and IntStack.__orig_bases__ == (Stack[int],) and UserId(3) == 3 and isinstance(Has(), Sized))
    """,
    "namedtuple and partial": """
        import collections, functools, operator
        Pair = collections.namedtuple("Pair", "a b", defaults=[2])
        add = functools.partial(operator.add, 1)
        def probe(): return Pair(1) == (1, 2) and Pair(1)._replace(b=3).b == 3 and add(2) == 3
    """,
    "exception with required arguments": """
        class Bad(Exception):
            def __init__(self, code, *, detail):
                super().__init__(f"{code}: {detail}")
                self.code, self.detail = code, detail
        e = Bad(3, detail="no")
        e.add_note("a note")
        e.__cause__ = ValueError("cause")
        def probe():
            return (type(e) is Bad and e.code == 3 and e.detail == "no" and str(e) == "3: no"
                    and e.__notes__ == ["a note"] and repr(e.__cause__) == "ValueError('cause')")
    """,
    "set of objects with their own hash": """
        def key_of(k): return k.key
        class Key:
            def __init__(self, key): self.key = key
            def __hash__(self): return hash(key_of(self))
            def __eq__(self, other): return self.key == other.key
        keys = {Key(1), Key(2)}
        def probe(): return Key(1) in keys and len(keys) == 2
    """,
    "containers that contain themselves": """
        l = []
        l.append(l)
        d = {}
        d["me"] = d
        t = ([],)
        t[0].append(t)
        def probe(): return l[0] is l and d["me"] is d and t[0][0] is t
    """,
    "instance and closure that refer to each other": """
        class Box: pass
        box = Box()
        def make(b):
            def get(): return b
            return get
        box.get = make(box)
        def probe(): return box.get() is box
    """,
    "defaultdict with a lambda, object as sentinel": """
        import collections
        d = collections.defaultdict(lambda: 7)
        missing = object()
        def get(x=missing): return x is missing
        def probe(): return d["x"] == 7 and get()
    """,
    "locks, conditions, events, queues are fresh": """
        import threading, queue
        lock = threading.Lock()
        lock.acquire()
        rlock, cond, event, q = threading.RLock(), threading.Condition(), threading.Event(), queue.Queue()
        rlock.acquire()
        q.put(1)
        def probe():
            with lock, rlock, cond: event.set()
            return event.is_set() and q.get(timeout=5) == 1
    """,
    "logging handler": """
        import logging
        handler = logging.StreamHandler()
        log = logging.getLogger("some.log")
        def probe():
            handler.acquire()
            handler.release()
            return log.name == "some.log"
    """,
    "standard streams": """
        import sys
        out = sys.stderr
        def probe():
            import sys
            return out is sys.stderr
    """,
    "get_ipython": """
        class InteractiveShell:
            def get_ipython(self): return self
        InteractiveShell.__module__ = "IPython.core.interactiveshell"
        class Shell(InteractiveShell):
            conn = (x for x in ())
        Shell.__module__ = "IPython.terminal"
        shell = Shell()
        get_ipython = shell.get_ipython
        def probe(): return get_ipython() is None
    """,
    "views, proxies, weak references, descriptors": """
        import types, weakref
        class K: pass
        k = K()
        ref, weak = weakref.ref(k), weakref.WeakSet([k])
        d = {"a": 1}
        keys, proxy = d.keys(), types.MappingProxyType(d)
        upper, view = str.upper, memoryview(b"abcdef")[::2]
        prop = property(lambda self: 1)
        def probe():
            return (ref() is k and len(weak) == 1 and list(keys) == ["a"] and proxy["a"] == 1 and upper("a") == "A"
                    and bytes(view) == b"ace" and prop.fget(0) == 1)
    """,
    "class methods and static methods": """
        class C:
            base = 1
            @classmethod
            def make(cls): return cls.base
            @staticmethod
            def stat(x): return x + helper(x)
        def helper(x): return x
        bound = C.make
        def probe(): return bound() == 1 and C.stat(2) == 4 and C().make() == 1
    """,
    "function attributes, defaults, annotations": """
        def f(a, b=[1], *, c={"x": 1}) -> int:
            "doc"
            return f.calls + len(b) + c["x"] + a
        f.calls = 3
        def probe():
            return f(1) == 6 and f.__doc__ == "doc" and f.__annotations__ == {"return": int} and f.__qualname__ == "f"
    """,
    "types of the interpreter": """
        import types
        kinds = [type(None), type(...), type(NotImplemented), types.FunctionType, types.GeneratorType, types.CodeType,
                 type({}.keys()), type, object, range(3), slice(1, 2), list[int], int | None]
        def probe():
            return kinds[0]() is None and kinds[3] is types.FunctionType and kinds[6] is type({}.keys()) and kinds[-1] == int | None
    """,
    "module made at run time": """
        import types
        mod = types.ModuleType("made_here")
        mod.x = 3
        exec("def f(): return x", mod.__dict__)
        def probe(): return mod.f() == 3 and mod.x == 3
    """,
    "exec with its own globals": """
        space = {"k": 5}
        exec("def f():\\n    return g()\\ndef g():\\n    global k\\n    k += 1\\n    return k", space)
        f, g = space["f"], space["g"]
        def probe(): return f() == 6 and g() == 7 and f() == 8
    """,
    "redefined class and function beside the old ones": """
        class C:
            v = 1
        old = C()
        class C:
            v = 2
        new = C()
        def f(): return 1
        former = f
        def f(): return 2
        def probe():
            return old.v == 1 and new.v == 2 and type(old) is not type(new) and (former(), f()) == (1, 2)
    """,
    "namespace by value": """
        x = 5
        copy = dict(x=x, f=lambda: x)
        copy["self"] = copy
        def probe(): return copy["f"]() == 5 and copy["self"] is copy and copy is not globals()
    """,
    "own __reduce__, __getstate__, __slots__ with __dict__": """
        class R:
            def __init__(self, x): self.x = x
            def __reduce__(self): return make, (self.x,)
        def make(x): return R(x + 1)
        class G:
            def __getstate__(self): return {"n": 1}
            def __setstate__(self, s): self.n = s["n"] + helper()
        def helper(): return 10
        r, g = R(1), G()
        def probe(): return r.x == 2 and g.n == 11
    """,
    "context variables' context": """
        import contextvars
        ctx, var = contextvars.Context(), contextvars.ContextVar("var")
        ctx.run(var.set, 4)
        def probe(): return ctx.run(lambda: 3) == 3 and ctx.run(var.get) == 4 and len(ctx) == 1
    """,
    "weak dictionaries and methods": """
        import weakref
        class K:
            def get(self): return 4
        k = K()
        by_key, by_value = weakref.WeakKeyDictionary({k: 1}), weakref.WeakValueDictionary({"a": k})
        method, dead = weakref.WeakMethod(k.get), weakref.WeakMethod(K().get)
        def probe(): return by_key[k] == 1 and by_value["a"] is k and method()() == 4 and dead() is None
    """,
    "matches of regular expressions": """
        import re
        text = "one two three"
        found = [re.match("(?P<a>o)(.)", text), re.search("t(.)", text), re.fullmatch(".+?", text),
                 *re.finditer("(?<=t)[a-z]", text), re.compile("n.*").search(text, 1, 5)]
        def probe():
            return ([m.group() for m in found] == ["on", "tw", text, "w", "h", "ne t"]
                    and found[0].group("a") == "o" and found[3].start() == 5)
    """,
    "context variables": """
        import contextvars, decimal
        plain, having = contextvars.ContextVar("plain"), contextvars.ContextVar("having", default=[3])
        given = contextvars.ContextVar("given", default=1)
        given.set(2)
        def probe():
            try: plain.get()
            except LookupError: return having.get() == [3] and given.get() == 2
    """,
    "thread-local values and layouts": """
        import struct, threading
        class Local(threading.local): kind = "own"
        local, layout = Local(), struct.Struct("<I")
        local.x = 3
        def probe(): return local.x == 3 and local.kind == "own" and layout.unpack(bytes([1, 0, 0, 0])) == (1,)
    """,
    "structures of ctypes": """
        import ctypes
        class Point(ctypes.Structure):
            _pack_ = 1
            _fields_ = [("x", ctypes.c_byte), ("y", ctypes.c_double)]
            def total(self): return self.x + self.y
        class Both(ctypes.Union):
            _fields_ = [("number", ctypes.c_uint32), ("parts", ctypes.c_uint8 * 4)]
        class Node(ctypes.Structure): pass
        Node._fields_ = [("next", ctypes.POINTER(Node)), ("value", ctypes.c_int)]
        Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
        point, both, row = Point(1, 2.5), Both(258), (ctypes.c_int * 3)(1, 2, 3)
        def probe():
            node = Node(None, 4)
            return (point.total() == 3.5 and ctypes.sizeof(Point) == 9 and list(both.parts)[:2] == [2, 1] and list(row) == [1, 2, 3]
                    and Node(ctypes.pointer(node), 0).next.contents.value == 4 and Callback(lambda n: n + 1)(2) == 3)
    """,
    "a shared library of ctypes": """
        import ctypes
        lib = ctypes.CDLL(None)
        first = lib.abs(-3)
        def probe(): return lib.abs(-4) == 4
    """,
    "regex, decimal, datetime, path, uuid, counter": """
        import re, decimal, datetime, pathlib, uuid, collections
        things = [re.compile("a+"), decimal.Decimal("1.5"), datetime.datetime(2020, 1, 1), pathlib.PurePath("/a"),
                  uuid.UUID(int=3), collections.Counter("aab"), collections.deque([1], 3), collections.OrderedDict(a=1)]
        def probe(): return things[0].match("aa") and things[5]["a"] == 2 and things[6].maxlen == 3
    """,
}

NUMERIC = {
    "arrays of many kinds": """
        import numpy as np
        class Sub(np.ndarray): pass
        sub = np.arange(2000.0).view(Sub)
        sub.unit = "m"
        rec = np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])
        masked = np.ma.masked_array([1, 2, 3], mask=[0, 1, 0])
        objs = np.array([lambda: 1, None], dtype=object)
        big = np.arange(100_000.0).reshape(100, 1000)
        strided, fortran = big[::2, ::2], np.asfortranarray(big)
        frozen = np.arange(10_000)
        frozen.flags.writeable = False
        zero, empty = np.array(5), np.zeros((0, 3))
        def probe():
            big[0, 0] = 7
            fortran[0, 0] = 7
            strided[0, 0] = 7
            return (sub.unit == "m" and type(sub) is Sub and sub.sum() == 1999000 and rec.dtype.names == ("a", "b")
                    and masked.sum() == 4 and objs[0]() == 1 and strided.shape == (50, 500) and strided[1, 1] == big[2, 2]
                    and fortran.flags.f_contiguous and not frozen.flags.writeable and zero == 5
                    and empty.shape == (0, 3) and big.flags.aligned)
    """,
    "ufuncs, dtypes, generators of numpy": """
        import numpy as np
        rng, kind, fun, num, up = np.random.default_rng(3), np.dtype("f4"), np.add, np.float64(2), np.vectorize(lambda x: x + 1, otypes=[float])
        up([1])
        def probe(): return rng.integers(10) >= 0 and kind.itemsize == 4 and fun(1, 2) == 3 and num == 2 and up([1])[0] == 2
    """,
    "pandas": """
        import pandas as pd, numpy as np
        class Thing:
            def __init__(self, x): self.x = x
        df = pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["x", "y"]), "c": [Thing(1), Thing(2)], "d": ["p", "q"]})
        df.attrs["unit"] = "m"
        def probe():
            df.loc[0, "a"] = 5
            return df.attrs["unit"] == "m" and df.c[1].x == 2 and list(df.b.cat.categories) == ["x", "y"] and df.a.sum() == 7
    """,
    "polars and pyarrow": """
        import polars as pl, pyarrow as pa
        lazy = pl.LazyFrame({"a": [1, 2]}).filter(pl.col("a") > 1)
        table = pa.table({"a": [1, 2], "b": ["x", None]})
        def probe(): return lazy.collect()["a"].to_list() == [2] and table.to_pydict() == {"a": [1, 2], "b": ["x", None]}
    """,
}


PEP_695 = """
    import dataclasses, typing
    class Stack[T]:
        def __init__(self): self.items: list[T] = []
    class Number[N: (int, float)]: pass
    class Named[S: Stack]: pass
    class Decorated[**P, R]:
        def __init__(self, f: typing.Callable[P, R]): self.f = f
        def __call__(self, *a: P.args, **k: P.kwargs) -> R: return self.f(*a, **k)
    class Row[*Ts]: pass
    @Decorated
    def add(a, b): return a + b
    def first[T](items: list[T]) -> T: return items[0]
    @dataclasses.dataclass
    class Box[T]:
        value: T
    type Pair[A] = tuple[A, A]
    type Numbers = Pair[int]
    box = Box[int](3)
    def probe():
        return (Stack[int]().items == [] and Number.__type_params__[0].__constraints__ == (int, float) and first([2]) == 2
                and Named.__type_params__[0].__bound__ is Stack and add(1, 2) == 3 and box == Box(3) and Row[int, str].__args__ == (int, str)
                and Numbers.__value__.__origin__ is Pair and Pair.__value__.__args__[0] is Pair.__type_params__[0])
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is that of Python 3.12")
def test_type_parameters(notebook, peer):
    """Classes, functions and aliases with type parameters work in the other process."""
    notebook.run(PEP_695)
    assert peer.call(notebook, notebook["probe"])


@pytest.mark.parametrize("name", CASES)
def test_case(name, notebook, peer):
    """What a cell defines works in the other process as it does here."""
    notebook.run(CASES[name])
    assert peer.call(notebook, notebook["probe"])


@pytest.mark.parametrize("name", NUMERIC)
def test_numeric_case(name, notebook, peer):
    """Arrays and tables work in the other process as they do here."""
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    notebook.run(NUMERIC[name])
    assert peer.call(notebook, notebook["probe"])


IPYTHON = """
import sys, types
from IPython.core.interactiveshell import InteractiveShell
from rpc_magic import serial
shell = InteractiveShell.instance(history_load_length=0)
shell.history_manager.enabled = False
shell.run_cell('''
import functools
x = [1, 2]
def f(): return get_ipython() is ip, x
ip = get_ipython()
class C: pass
c = C()
out = c
''')
ns = shell.user_ns
assert serial.decode(serial.encode(ns["f"], namespace=ns), namespace=ns)() == (True, [1, 2])
copy = serial.decode(serial.encode({k: ns[k] for k in ("x", "f", "ip", "c", "C")}, namespace=ns), namespace=ns)
assert copy["ip"] is shell and type(copy["c"]) is ns["C"] is copy["C"]
everything = serial.decode(serial.encode(dict(ns), namespace=ns), namespace=ns)
assert everything["x"] == [1, 2] and everything["x"] is not ns["x"]
print("fine")
"""


def test_in_a_real_shell(tmp_path):
    """In IPython the shell, `get_ipython` and a whole copy of the namespace can be sent."""
    run = subprocess.run(
        [sys.executable, "-c", IPYTHON],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert run.stdout.split() == ["fine"], run.stderr


@pytest.mark.parametrize("make", [lambda: io.StringIO("text\n"), lambda: io.BytesIO(b"bytes")])
def test_files_in_memory(make):
    """Their classes are those of ``_io``, a module that gives another name for itself."""
    file = make()
    file.read(2)
    copy = serial.loads(serial.dumps(file))
    assert type(copy) is type(file)
    assert (copy.getvalue(), copy.tell()) == (file.getvalue(), 2)
