"""Which global names the code behind an object refers to."""

from __future__ import annotations

import dis
import functools
import re
import types
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from rpc_magic.namespace.texts import TEXT_READERS, words_in

__all__ = ["MAX_OBJECTS", "code_globals", "referenced_names"]

MAX_OBJECTS: Final = 1000
"""How many objects are looked at behind one (items of containers, attributes of instances, nested ones too).

A list of a million numbers costs some microseconds, not seconds; code behind the thousandth object is not
found, and its globals must then be sent by name (``-i``). No setting moves it: it is far above what
notebooks hold.
"""

MAX_DEPTH: Final = 4
"""How many containers or instances deep code is looked for; functions and classes do not count."""

# Values of these types refer to nothing, and are most of what containers hold.
_PLAIN: frozenset[type] = frozenset({
    type(None), bool, int, float, complex, str, bytes, bytearray, range, slice, memoryview, type(...),
    types.ModuleType, types.CodeType, types.BuiltinFunctionType,
})  # fmt: skip

_LOOKUPS = re.compile(rb"\x8c(.)([^\x93\x94]{1,255})\x94?\x93|c__main__\n([^\n]+)\n", re.DOTALL)
"""Where a pickle looks a name up: protocol 4 and later, and those before."""
_PICKLE = 16 << 20
"""Bytes of a pickle that is looked into."""

_GLOBAL_OPS = frozenset({
    "LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS",
})  # fmt: skip
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was made by Python code or at run time

_cache: weakref.WeakKeyDictionary[types.CodeType, frozenset[str]] = weakref.WeakKeyDictionary()


def code_globals(code: types.CodeType) -> frozenset[str]:
    """Return the names that a code object, and the code inside it, looks up or sets as globals.

    Builtins are among them, and where it runs text or asks for the namespace, the words of its texts. Thread-safe;
    the answer is kept as long as the code object lives.
    """
    known = _cache.get(code)
    if known is None:
        names: set[str] = set()
        if code.co_names:
            names.update(i.argval for i in dis.get_instructions(code) if i.opname in _GLOBAL_OPS)
        reads_text = not TEXT_READERS.isdisjoint(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                names |= code_globals(constant)
            elif reads_text and isinstance(constant, str):
                names.update(words_in(constant))
        known = _cache[code] = frozenset(names)
    return known


def referenced_names(obj: object, namespace: Mapping[str, object]) -> frozenset[str]:
    """Return the names in `namespace` that the code behind `obj` refers to when it runs.

    Looked into are functions of any kind whose globals are `namespace`; what wraps them
    (``__wrapped__``, partials, methods, properties, closures, defaults); classes defined in the
    namespace with their methods, bases and nested classes; instances (the names of their class and what
    their attributes hold); and list, tuple, set, dict and deque, all within `MAX_OBJECTS` and
    `MAX_DEPTH`; and bytes that are a pickle. Nothing of the user's own code runs, nothing is compared,
    and no module or class of a library is looked into.

    Args:
        obj: any object.
        namespace: the globals of the notebook, the very mapping that its functions have as ``__globals__``.

    Returns:
        The names; only those that `namespace` has at this moment. Thread-safe as long as no other thread
        changes the containers looked at.
    """
    if type(obj) is bytes:
        return frozenset(name for name in _named_in_pickle(obj) if name in namespace)
    if type(obj) in _PLAIN:
        return frozenset()
    search = _Search(namespace)
    search.run(obj)
    return frozenset(name for name in search.names if name in namespace)


def _named_in_pickle(data: bytes) -> set[str]:
    """Return the names that a pickle looks up in ``__main__``, or in any other module."""
    if data[:1] != b"\x80" or len(data) > _PICKLE or b"__main__" not in data:
        return set()
    found = (
        match[2] or match[3]
        for match in _LOOKUPS.finditer(data)
        if not match[1] or len(match[2]) == match[1][0]
    )
    return {name.decode(errors="replace").partition(".")[0] for name in found}


class _Search:
    """One search behind an object, breadth first."""

    __slots__ = ("bright", "budget", "dull", "module", "names", "namespace", "seen", "todo")

    def __init__(self, namespace: Mapping[str, object]) -> None:
        self.namespace = namespace
        # A class body without a module name in its globals takes that of the builtins.
        self.module = namespace.get("__name__", "builtins")
        self.names: set[str] = set()
        self.seen: dict[int, object] = {}
        # Types sorted so far, by whether their instances can hold anything that is looked for.
        self.dull: set[type] = set(_PLAIN)
        self.bright: set[type] = {types.FunctionType, type, dict, list, tuple}
        self.todo: deque[tuple[object, int]] = deque()
        self.budget = MAX_OBJECTS

    def run(self, obj: object) -> None:
        """Look at `obj` and all that is behind it."""
        self.add((obj,), 0)
        while self.todo:
            self.look_at(*self.todo.popleft())

    def add(self, objects: Iterable[object], depth: int) -> None:
        """Put objects on the list of those to look at."""
        if depth > MAX_DEPTH:
            return
        taken = 0
        for obj in islice(objects, self.budget):
            taken += 1
            cls = type(obj)
            if cls not in self.bright and (cls in self.dull or self.is_dull(cls)):
                continue
            if id(obj) not in self.seen:
                # The object is kept while its id is: a property may have made it for us alone.
                self.seen[id(obj)] = obj
                self.todo.append((obj, depth))
        self.budget -= taken

    def look_at(self, obj: Any, depth: int) -> None:
        """Note the names of one object's code, and list what is behind it."""
        # `isinstance` would ask the object for its __class__: proxies answer by loading what they stand for.
        cls = type(obj)
        if issubclass(cls, types.FunctionType):
            self.function(obj, depth)
        elif issubclass(cls, type):
            self.class_(obj, depth)
        elif issubclass(cls, types.MethodType):
            self.add((obj.__func__, obj.__self__), depth)
        elif issubclass(cls, (staticmethod, classmethod)):
            self.add((obj.__func__,), depth)
        elif issubclass(cls, property):
            self.add((obj.fget, obj.fset, obj.fdel), depth)
        elif issubclass(cls, (functools.partial, functools.partialmethod)):
            self.add((obj.func, *obj.args, *obj.keywords.values()), depth)
        elif issubclass(cls, functools.cached_property):
            self.add((obj.func,), depth)
        else:
            self.other(obj, cls, depth)

    def function(self, function: types.FunctionType, depth: int) -> None:
        """Note a function's globals; its closure counts whoever's globals it has (decorators)."""
        ours = function.__globals__ is self.namespace
        if ours:
            self.names |= code_globals(function.__code__)
            self.add(function.__defaults__ or (), depth)
            self.add((function.__kwdefaults__ or {}).values(), depth)
        if function.__closure__:
            self.add(_contents(function.__closure__), depth)
        if function.__dict__:
            self.add(function.__dict__.values() if ours else _wrapped(function.__dict__), depth)

    def class_(self, cls: type, depth: int) -> None:
        """Look into a class of the namespace; those of libraries are taken as they are there."""
        if not self.is_ours(cls):
            return
        name = _own(cls, "__name__")
        if self.namespace.get(name) is cls:
            self.names.add(name)
        self.add(_own(cls, "__bases__"), depth)
        self.add((type(cls),), depth)
        self.add(list(_own(cls, "__dict__").values()), depth)

    def other(self, obj: object, cls: type, depth: int) -> None:
        """Look into a container or an instance."""
        for kind, items in _CONTAINERS:
            if issubclass(cls, kind):
                self.add(items(obj), depth + 1)
                break
        if self.is_ours(cls):
            self.add((cls,), depth)
            self.add(_slots(obj, cls), depth + 1)
        self.add(_attributes(obj), depth + 1)

    def is_dull(self, cls: type) -> bool:
        """Return whether instances of a class hold nothing that is looked for, and remember it."""
        # What stands for a remote value holds nothing of the user's.
        dull = str(_own(cls, "__module__")).startswith("rpc_magic.") or not (
            _own(cls, "__dictoffset__") or issubclass(cls, _LOOKED_INTO) or self.is_ours(cls)
        )
        (self.dull if dull else self.bright).add(cls)
        return dull

    def is_ours(self, cls: type) -> bool:
        """Return whether a class was defined in the namespace."""
        return bool(_own(cls, "__flags__") & _HEAP_TYPE) and _own(cls, "__module__") == self.module


def _own(cls: type, attribute: str) -> Any:
    """Return an attribute of a class, past any `__getattribute__` of its metaclass."""
    return type.__getattribute__(cls, attribute)


def _items(unbound: Any) -> Any:
    """Return a function that lists a container's first items by its type's iterator, never the user's."""
    return lambda container: list(islice(unbound(container), MAX_OBJECTS))


_CONTAINERS: tuple[tuple[type, Any], ...] = (
    (list, _items(list.__iter__)),
    (tuple, _items(tuple.__iter__)),
    (dict, _items(dict.values)),
    (set, _items(set.__iter__)),
    (frozenset, _items(frozenset.__iter__)),
    (deque, _items(deque.__iter__)),
)


_LOOKED_INTO: tuple[type, ...] = (
    *(kind for kind, _ in _CONTAINERS),
    types.FunctionType, types.MethodType, type, staticmethod, classmethod, property, functools.partial,
    functools.partialmethod, functools.cached_property,
)  # fmt: skip


def _contents(cells: Iterable[types.CellType]) -> Iterator[object]:
    for cell in cells:
        try:
            yield cell.cell_contents
        except ValueError:  # the variable is not bound yet
            continue


def _wrapped(attributes: Mapping[str, object]) -> Iterator[object]:
    if "__wrapped__" in attributes:
        yield attributes["__wrapped__"]


def _attributes(obj: object) -> list[object]:
    """Return the values of an instance's attributes, past any `__getattribute__` of its class."""
    try:
        attributes = object.__getattribute__(obj, "__dict__")
    except Exception:  # noqa: BLE001  -- a class may define __dict__ as it likes
        return []
    return list(islice(attributes.values(), MAX_OBJECTS)) if type(attributes) is dict else []


def _slots(obj: object, cls: type) -> Iterator[object]:
    for base in _own(cls, "__mro__"):
        for member in list(_own(base, "__dict__").values()) if _own(base, "__flags__") & _HEAP_TYPE else ():
            if type(member) is types.MemberDescriptorType:
                try:
                    yield member.__get__(obj, cls)
                except AttributeError:  # the slot is empty
                    continue
