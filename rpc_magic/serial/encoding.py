"""What one encode knows while it runs, and the names that code refers to."""

from __future__ import annotations

import marshal
import opcode
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any, Literal

from rpc_magic.serial import build
from rpc_magic.serial.tokens import registry
from rpc_magic.serial.views import Arrays

__all__ = [
    "CodeMode",
    "Encoding",
    "TakesOver",
    "by_origin",
    "global_names",
    "intern_values",
    "interned",
    "named_submodules",
]

TakesOver = Callable[[type], bool | None]
"""Tells of a class whether the other side, where it has the class, takes over its attributes; None as `by_origin`."""

CodeMode = Literal["bytecode", "source"]
"""How functions travel; as source when the other side runs another Python minor version."""

_LOAD_GLOBAL = opcode.opmap["LOAD_GLOBAL"]
_EXTENDED_ARG = opcode.EXTENDED_ARG
_NAME_OPCODES = frozenset(
    opcode.opmap[name]
    for name in (
        "STORE_GLOBAL",
        "DELETE_GLOBAL",
        "LOAD_NAME",
        "STORE_NAME",
        "LOAD_FROM_DICT_OR_GLOBALS",
    )
    if name in opcode.opmap
)

_MARSHAL_WITHOUT_REFERENCES = 2
"""The newest marshal version whose bytes do not depend on reference counts: equal code, equal bytes."""

_INTERNED_LENGTH = 80
"""Characters up to which a string is interned: what may be a name, and no data."""

_SKELETON_NAMES = ("__name__", "__package__", "__path__", "__file__")

_names_of_code: weakref.WeakKeyDictionary[types.CodeType, tuple[str, ...]] = weakref.WeakKeyDictionary()
# Code objects compare by content, which is exact here: equal code refers to equal names.


def _scan(code: types.CodeType, found: dict[str, None]) -> None:
    raw, names = code.co_code, code.co_names
    extended = 0
    for position in range(0, len(raw), 2):
        operation, argument = raw[position], raw[position + 1] | extended
        if operation == _EXTENDED_ARG:
            extended = argument << 8
            continue
        extended = 0
        if operation == _LOAD_GLOBAL:
            found[names[argument >> 1]] = None
        elif operation in _NAME_OPCODES:
            found[names[argument]] = None
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _scan(constant, found)


def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Return the global names that code and the code inside it refer to, in order of appearance."""
    names = _names_of_code.get(code)
    if names is None:
        found: dict[str, None] = {}
        _scan(code, found)
        names = _names_of_code[code] = tuple(found)
    return names


def named_submodules(code: types.CodeType, values: list[Any]) -> list[types.ModuleType]:
    """Find loaded submodules that code names through their package, as in ``import a.b`` and then ``a.b.c``.

    Args:
        code: a function's code.
        values: what its globals and cells hold.
    """
    found = []
    for package in values:
        if isinstance(package, types.ModuleType) and "__path__" in package.__dict__:
            prefix = package.__name__ + "."
            attributes = set(code.co_names)
            for name, module in list(sys.modules.items()):
                if (
                    name.startswith(prefix)
                    and attributes.issuperset(name[len(prefix) :].split("."))
                    and isinstance(module, types.ModuleType)
                ):
                    found.append(module)
    return found


def interned(value: Any) -> Any:
    """Return the one string of this process that equals a name; other values as they are."""
    return sys.intern(value) if type(value) is str and len(value) <= _INTERNED_LENGTH else value


def intern_values(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes in which equal names are the same object.

    Pickle writes a string that it has met as a reference. Whether a name and a value that equal each other are
    one object depends on how a process came to them; here they are, so equal attributes give equal bytes.
    """
    return {interned(name): interned(value) for name, value in attributes.items()}


class Home:
    """Stands in the stream for the namespace of whichever side reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return build.home_globals, ()


class Skeleton:
    """Stands in the stream for globals that are neither a module's nor the namespace."""

    def __init__(self, token: str, start: dict[str, Any]) -> None:
        self.token, self.start = token, start

    def __reduce__(self) -> tuple[Any, ...]:
        return build.make_globals, (self.token, self.start)


def by_origin(_: type) -> None:
    """Have the other side take over the attributes of a class unless the class was made there; a `TakesOver`."""


class Encoding:
    """The state of one encode.

    Args:
        namespace: the user's global namespace, whose functions are bound to the other side's namespace.
        carry: such functions take the values of the globals that they refer to with them.
        code: how functions travel.
        takes_over: tells of a class whether the other side, where it has the class, takes over its attributes.
        is_copy: functions get globals of their own wherever they are made, also where they came from.

    Attributes:
        arrays: the numpy arrays that it meets.
        owned_cells: by id, closure cells whose content the state of some function carries.
        modules: names of the modules that what was encoded refers to.
    """

    __slots__ = (
        "_home",
        "_skeletons",
        "arrays",
        "carry",
        "code",
        "is_copy",
        "modules",
        "namespace",
        "owned_cells",
        "takes_over",
    )

    def __init__(
        self,
        namespace: dict[str, Any] | None,
        carry: bool,
        code: CodeMode,
        takes_over: TakesOver = by_origin,
        is_copy: bool = False,
    ) -> None:
        self.namespace, self.carry, self.code = namespace, carry, code
        self.takes_over, self.is_copy = takes_over, is_copy
        self.arrays = Arrays()
        self.owned_cells: dict[int, types.CellType] = {}
        self.modules: set[str] = set()
        self._home: Home | None = None
        self._skeletons: dict[int, tuple[dict[str, Any], Skeleton]] = {}

    def is_home(self, namespace: dict[str, Any]) -> bool:
        """Tell whether these globals are the user's namespace."""
        return namespace is self.namespace

    def globals_marker(self, function: types.FunctionType) -> object:
        """Return what stands in the stream for a function's globals: one object for each dict."""
        namespace = function.__globals__
        if self.is_home(namespace):
            if self._home is None:
                self._home = Home()
            return self._home
        entry = self._skeletons.get(id(namespace))
        if entry is None:
            start = intern_values({name: namespace[name] for name in _SKELETON_NAMES if name in namespace})
            entry = self._skeletons[id(namespace)] = (namespace, Skeleton(self.origin(function), start))
        return entry[1]

    def origin(self, function: types.FunctionType) -> str:
        """Return the token that says where a function came from; empty for one that shall not know."""
        if self.is_copy:
            return ""
        known = registry.known_token(function)
        if known is not None:
            return known
        namespace = function.__globals__
        return registry.home_token(namespace) if self.is_home(namespace) else registry.token(function)


def pack_code(code: types.CodeType) -> tuple[Any, ...]:
    """Return how a code object travels between equal Python versions."""
    data = marshal.dumps(code, _MARSHAL_WITHOUT_REFERENCES)
    return build.make_code, (build.MAGIC, sys.version_info.minor, data)
