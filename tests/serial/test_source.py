# ruff: noqa: E501  # cells are written as people write them
"""Functions between Python versions: bytecode is refused, source works."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from pathlib import Path

import pytest

from rpc_magic import serial
from rpc_magic.errors import TransferError
from rpc_magic.serial import build, source
from rpc_magic.serial.locate import public_name


def _other_pythons():
    found = []
    for path in sorted(Path("~/.pyenv/versions").expanduser().glob("3.1[1-9].*/bin/python")):
        command = [path, "-c", "import sys; print(sys.version_info[1])"]
        minor = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if minor and int(minor) != sys.version_info.minor:
            found.append(str(path))
    return found


OTHERS = _other_pythons()

CELL = """
    import math, functools
    scale = 3
    def plain(x): return x * scale
    def defaults(a, b=2, *args, c=3, **rest): return a + b + c + len(args) + len(rest)
    def outer(n):
        z, a = 1, 10
        def step(k):
            nonlocal n
            n += k
            return n + a + z
        return step
    step = outer(5)
    pair = (lambda x: x + 1, lambda x: x + 2)
    def recursive(n): return 1 if n < 2 else n * recursive(n - 1)
    def comprehension(k): return [k + i + scale for i in range(3)]
    def logged(f):
        @functools.wraps(f)
        def wrapper(*args): return ("logged", f(*args))
        return wrapper
    @logged
    def wrapped(x): return x + math.floor(2.5)
    class Base:
        def __init__(self, x): self.x = x
        def get(self): return self.x
    class Child(Base):
        __secret = 7
        def __init__(self, x):
            super().__init__(x)
        def secret(self): return self.__secret
        @property
        def double(self): return self.x * 2
        @classmethod
        def make(cls): return cls(9)
        @staticmethod
        def stat(): return "s"
    async def waits(): return 4
    def generator():
        yield from range(3)
    def matcher(v):
        match v:
            case {"a": [x, *_]}: return x
            case _: return None
    def catches():
        try:
            raise KeyError(1)
        except (KeyError, ValueError) as e:
            return e.args
    def probe():
        import asyncio
        child = Child.make()
        return [plain(2), defaults(1, 2, 9, c=5, z=1), step(1), step(1), [f(0) for f in pair], recursive(5),
                comprehension(1), wrapped(1), child.get(), child.secret(), child.double, Child.stat(),
                asyncio.run(waits()), list(generator()), matcher({"a": [1, 2]}), catches(), type(child) is
                Child]
"""


def test_same_version_as_source(notebook, peer):
    """Source mode gives what the functions give here."""
    notebook.run(CELL)
    remote = peer.call(notebook, notebook["probe"], code="source")
    assert remote == notebook["probe"]()


@pytest.mark.skipif(not OTHERS, reason="there is no other Python here")
@pytest.mark.parametrize("python", OTHERS)
def test_other_version_as_source(python, notebook, peer_of):
    """Functions, closures, classes and decorated functions run on another Python version."""
    notebook.run(CELL)
    remote = peer_of(python).call(notebook, notebook["probe"], code="source")
    assert remote == notebook["probe"]()


GENERATED = """
    import collections, dataclasses, enum, typing, functools, contextlib
    @dataclasses.dataclass(order=True)
    class Point:
        x: int
        tags: list = dataclasses.field(default_factory=list, compare=False)
        scale: dataclasses.InitVar[int] = 2
        unit: typing.ClassVar[str] = "m"
        def __post_init__(self, scale): self.area = self.x * scale
    @dataclasses.dataclass(frozen=True, slots=True)
    class Frozen:
        a: int
        b: int = 5
    @dataclasses.dataclass
    class Child(Point):
        y: int = dataclasses.field(default=1, repr=False)
        def __eq__(self, other): return "own"
    Pair = collections.namedtuple("Pair", "a b", defaults=[2])
    class Named(typing.NamedTuple):
        x: int
        y: int = 3
        def total(self): return self.x + self.y
        def __repr__(self): return "named"
    class Color(enum.Enum):
        RED = 1
        def hex(self): return hex(self.value)
    @functools.singledispatch
    def show(x): return "any"
    @show.register
    def _(x: int): return "int"
    @contextlib.contextmanager
    def opened(): yield 5
    @functools.lru_cache
    def cached(x): return x + 1
    point, frozen, child, pair, named = Point(3), Frozen(1), Child(2), Pair(1), Named(1)
    def probe():
        try:
            frozen.a = 2
            return "not frozen"
        except dataclasses.FrozenInstanceError: pass
        with opened() as five:
            return [point, Point(4).tags, Point(4).area, Point.unit, Point(1) < Point(2), hash(Frozen(1)) == hash(frozen),
                    Frozen(2).b, hasattr(frozen, "__dict__"), repr(child), child == 1, Child(5, y=7).y, pair, Pair(9),
                    named.total(), repr(named), Named(4)._replace(y=1).total(), Color.RED.hex(), show(1), show(""),
                    five, cached(1), dataclasses.asdict(child), type(point) is Point]
"""


@pytest.mark.skipif(not OTHERS, reason="there is no other Python here")
@pytest.mark.parametrize("python", OTHERS)
def test_generated_classes_in_another_version(python, notebook, peer_of):
    """Dataclasses, named tuples, enums and decorated functions work on another Python version."""
    notebook.run(GENERATED)
    remote = peer_of(python).call(notebook, notebook["probe"], code="source")
    assert repr(remote) == repr(notebook["probe"]())
    assert type(remote[0]) is notebook["Point"]


@pytest.mark.skipif(not OTHERS, reason="there is no other Python here")
@pytest.mark.parametrize("python", OTHERS)
def test_bytecode_of_another_version_is_refused(python, notebook, peer_of):
    """Bytecode that crosses versions by mistake gives an error that says so, not a crash."""
    notebook.run("def f(): return 1")
    with pytest.raises(AssertionError, match=r"it is bytecode of Python 3\.\d+, which Python 3"):
        peer_of(python).call(notebook, notebook["f"])


@pytest.mark.skipif(not OTHERS, reason="there is no other Python here")
@pytest.mark.parametrize("python", OTHERS)
def test_plain_values_cross_versions(python, notebook, peer_of):
    """Data travel between versions as they are."""
    value = {"a": [1, 2.5, None, "x" * 100_000], "b": (b"y" * 300_000, {1, 2})}
    assert peer_of(python).echo(notebook, value) == value


def test_foreign_magic_number():
    """The bytecode's magic number decides, not the version's name."""
    with pytest.raises(TransferError, match="use the same minor version"):
        build.make_code(build.MAGIC + 1, 12, b"")


def test_function_without_source(notebook):
    """A function made by exec has no source: the error names it and says why."""
    notebook.run("exec('def made(): return 1')")
    with pytest.raises(TransferError, match="there is no source of made to send") as caught:
        notebook.encode({"f": notebook["made"]}, name="table", code="source")
    assert caught.value.path.startswith("table['f']")


def test_source_that_no_longer_matches(tmp_path, notebook):
    """A file edited after its function was defined is noticed: old source never stands in for new code."""
    file = tmp_path / "cell.py"
    file.write_text("def f():\n    return 1\n")
    exec(compile(file.read_text(), str(file), "exec", dont_inherit=True), notebook.namespace)
    file.write_text("def f():\n    return 2\n")
    with pytest.raises(TransferError, match="its file has changed"):
        notebook.encode(notebook["f"], code="source")


def test_syntax_unknown_to_the_receiver():
    """Source that the receiver cannot parse gives an error that names the function."""
    with pytest.raises(TransferError, match="its source is not understood here"):
        source.make_code_from_source("def f(: pass", "f", (), "", "<cell>", 1, 0)


def test_code_made_from_source_travels_on(notebook):
    """What is nested in a function that came as source can be sent as source in turn, and equal code dies apart."""
    notebook.run(
        "def outer(n):\n    text = f'{n!r:>{4}}'\n    def inner(k): return text, n + k  # a comment\n    return inner"
    )
    for _ in range(2):
        made = serial.decode(serial.encode(notebook["outer"], code="source"))
        inner = serial.decode(serial.encode(made(1), code="source"))
        assert inner(2) == ("   1", 3)
        again = serial.decode(serial.encode(made, code="source"))
        assert again(1)(2) == ("   1", 3)


def test_public_names():
    """A class of a private module is sent by its package's name, which other versions know as well."""
    assert concurrent.futures.Future.__module__ == "concurrent.futures._base"
    assert public_name("concurrent.futures._base", "Future") == ("concurrent.futures", "Future")
    assert public_name("collections.abc", "Mapping") == ("collections.abc", "Mapping")
    assert public_name("json._none", "x") == ("json._none", "x")


def test_importable_functions_need_no_source():
    """What the other side can import travels by name in either mode."""
    assert serial.decode(serial.encode(textwrap_dedent(), code="source")) is textwrap_dedent()


def textwrap_dedent():
    import textwrap

    return textwrap.dedent
