"""Run by any Python: a client that sends what notebooks hold to a server of another version, and gets it back.

Prints one line for each case that does not hold, then how many there were.
"""

from __future__ import annotations

import abc
import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import pathlib
import random
import re
import sys
import typing
import uuid

import rpc_magic

scale = 3


def logged(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return "logged", f(*args, **kwargs)

    return wrapper


@logged
def decorated(x, y=[1, 2]):  # noqa: B006  # a default that is shared
    return x * scale + len(y)


def counter(n):
    step = 1

    def middle():
        def inner(k):
            nonlocal n
            n += k
            return n + step

        return inner

    return middle()


@dataclasses.dataclass
class Point:
    x: int
    tags: list = dataclasses.field(default_factory=list)

    def total(self):
        return self.x + sum(self.tags)


@dataclasses.dataclass
class Child(Point):
    z: int = 5

    def total(self):
        return super().total() + self.z


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Frozen:
    a: int = 1
    b: str = "q"


class Colour(enum.Enum):
    RED = 1
    GREEN = 2

    def lower(self):
        return self.name.lower()


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Text(enum.StrEnum):
    X = enum.auto()


class Named(typing.NamedTuple):
    a: int
    b: str = "z"

    def first(self):
        return self.a


Pair = collections.namedtuple("Pair", "p q")  # noqa: PYI024  # both kinds travel


class Abstract(abc.ABC):
    @abc.abstractmethod
    def go(self): ...


class Concrete(Abstract):
    __slots__ = ("u",)
    __k = 1

    def go(self):
        return self.__k


class Meta(type):
    def __new__(cls, name, bases, body):
        body["tag"] = name
        return super().__new__(cls, name, bases, body)


class Tagged(metaclass=Meta):
    pass


class OwnError(Exception):
    def __init__(self, code, *, why):
        super().__init__(code)
        self.code, self.why = code, why


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    def __init__(self, value: T):
        self.value = value

    @property
    def shown(self):
        return f"<{self.value!r:>4}> {self.value:{'>'}{4}}"

    @functools.cached_property
    def cached(self):
        return 9

    @functools.lru_cache  # noqa: B019  # that it travels is the point
    def kept(self, x):
        return x


@functools.singledispatch
def show(_):
    return "any"


@show.register
def _(x: int):
    return "int"


@functools.lru_cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def even(n):
    return True if n == 0 else odd(n - 1)


def odd(n):
    return False if n == 0 else even(n - 1)


def generator(n):
    for i in range(n):
        yield i * scale


def comprehensions(k):
    return [[a * b + k for a in range(b)] for b in range(3)], dict.fromkeys("ab", k), {k + 0 for _ in "a"}


def every_kind(a, /, b, *c, d=4, **e):
    return a, b, c, d, sorted(e)


def matches(value):
    match value:
        case {"a": [x, *rest]}:
            return x, rest
        case Point(x=found):
            return found
    return None


def groups():
    try:
        raise ExceptionGroup("g", [ValueError(1)])
    except* ValueError:
        return_value = "values"
    return return_value


def manages():
    with contextlib.suppress(KeyError), contextlib.nullcontext(3) as three:
        {}["x"]
    return three


async def waits(x):
    await asyncio.sleep(0)
    return x + 1


part = functools.partial(every_kind, 1, d=9)
two = (lambda x: x + 1, lambda x: x + 2)
cut, _ = (
    lambda x: (
        x if x > 0
        else -1)), None  # fmt: skip
text = eval("lambda: 1")


def probe():
    child, box = Child(1, [2, 3]), Box("ab")
    return (
        child.total(), Frozen() < Frozen(2), dataclasses.replace(Frozen(), a=9), repr(child), Child(1) == Child(1),
        Colour.RED.lower(), Flags.A | Flags.B, Text.X, Named(1).first(), Pair(1, 2)._replace(p=5), Concrete().go(),
        Tagged.tag, box.shown, box.cached, box.kept(4), show(1), show("a"), fib(20), even(10), list(generator(3)),
        comprehensions(2), every_kind(1, 2, 3, f=1), matches({"a": [1, 2]}), matches(Point(7)), groups(), manages(),
        part(2), [f(1) for f in two], cut(0), cut(2), decorated(2),
    )  # fmt: skip


def fails():
    try:
        return 1 / 0
    except ZeroDivisionError as error:
        raise OwnError(3, why="because") from error


CELL = """
import dataclasses, enum
@dataclasses.dataclass
class Cell:
    a: int = 1
    def m(self): return self.a * f(2)
def f(x): return x + k
k = 10
class E(enum.Enum):
    A = 1
g = lambda v: v * k
c = Cell(3)
"""

VALUES = [
    Point(1, [2]), Frozen(2, "x"), Child(1), Colour.RED, Flags.A | Flags.B, Text.X, Named(1), Pair(1, 2),
    [Point(1), Point(2)], dt.datetime(2020, 1, 2, tzinfo=dt.UTC), decimal.Decimal("1.1"), uuid.UUID(int=5),
    pathlib.Path("/a"), pathlib.PurePosixPath("b"), re.compile("a"), range(3), collections.Counter("aab"),
    collections.OrderedDict(a=1), collections.defaultdict(list, {1: [2]}), frozenset([1]), ..., NotImplemented,
    list[int], int | str, int | None, typing.Callable[[int], str], int, Point, Colour, T, Named,
    OwnError, Box, Abstract,
]  # fmt: skip


def same(value):
    return value


def made_there():
    @dataclasses.dataclass
    class There:
        q: int

        def double(self):
            return self.q * 2

    return There(4)


def cases(conn):
    """Yield (name, what holds)."""
    yield "probe", lambda: conn.call(probe) == probe()
    step = counter(5)
    yield "closure", lambda: (conn.call(step, 1), conn.call(step, 1)) == (7, 8)
    yield "lambda", lambda: conn.call(lambda: scale) == 3
    for value in VALUES:
        yield f"{value!r}", lambda value=value: conn.call(same, value) == value
    for value in (Concrete(), Box(1), Tagged()):
        yield f"{value!r}", lambda value=value: type(conn.call(same, value)) is type(value)
    yield "rng", lambda: conn.call(lambda r: r.random(), random.Random(3)) == random.Random(3).random()
    yield (
        "array",
        lambda: conn.call(lambda a: a * 2, sys.modules["numpy"].arange(5)).tolist() == [0, 2, 4, 6, 8],
    )
    yield "async", lambda: conn.call(waits, 1) == 2
    yield "function back", lambda: conn.call(lambda: lambda x: x * scale)(2) == 6
    yield "closure back", lambda: conn.call(counter, 5)(2) == 8
    yield "closure back and there", lambda: conn.call(conn.call(counter, 5), 2) == 8
    yield "decorator there", lambda: conn.call(logged, every_kind)(1, 2) == ("logged", every_kind(1, 2))
    yield "class of a call", lambda: conn.call(made_there).double() == 8
    yield "map", lambda: list(conn.map(lambda x: x * scale, range(4))) == [0, 3, 6, 9]
    cell = conn.run(CELL, outputs=["f", "c", "E", "g", "Cell"]).outputs
    yield "function of a cell", lambda: cell["f"](1) == 11
    yield "instance of a cell", lambda: cell["c"].m() == 36
    yield "enum of a cell", lambda: cell["E"].A.value == 1
    yield "lambda of a cell", lambda: cell["g"](2) == 20
    yield "instance goes back", lambda: conn.call(lambda c: c.m(), cell["c"]) == 36
    yield "error", lambda: raised(lambda: conn.call(fails))
    yield "no source", lambda: refused(lambda: conn.call(text))
    yield "no source in a value", lambda: refused(lambda: conn.push(table={"f": text}))


def raised(action):
    try:
        action()
    except OwnError as error:
        return (error.code, error.why, type(error.__cause__)) == (3, "because", ZeroDivisionError)


def refused(action):
    try:
        action()
    except rpc_magic.TransferError as error:
        return "another Python version, and there is no source of <lambda>" in str(error)


def main():
    import numpy as np  # noqa: F401

    count = 0
    with rpc_magic.connect(sys.argv[1]) as conn:
        assert conn.info().python != sys.version.split()[0]
        for name, holds in cases(conn):
            count += 1
            try:
                is_good, why = holds(), "it does not hold"
            except BaseException as error:
                is_good, why = False, f"{type(error).__name__}: {error}"
            if not is_good:
                print(f"{name}: {why}")
    print(count)


if __name__ == "__main__":
    main()
