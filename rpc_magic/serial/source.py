"""Functions as source, for a side that runs another Python minor version.

The source of a function's cell or file is known to `linecache`. The function is found in it by name and
line, and proven right by compiling it here and comparing the bytecode. What travels is that piece of source as
it was written (what `ast.unparse` makes of it, older versions may not understand), the names of its free
variables and its class; the receiver compiles it inside a factory, so that closures and ``super()`` find their
cells, and takes the code out of it. Decorators and defaults are not run again: their results travel. The piece is
remembered with the code made from it, so that this code, and what is nested in it, can travel on.
"""

from __future__ import annotations

import ast
import linecache
import pickle
import sys
import types
import weakref
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rpc_magic.errors import TransferError

__all__ = ["make_code_from_source", "pack_source"]

_FACTORY = "__factory__"

_FUTURE_FLAGS = 0x1FE0000
"""The bits of ``co_flags`` that ``from __future__`` sets; `compile` takes them as they are."""

T = TypeVar("T")

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

Packed = tuple[str, str, tuple[str, ...], str, str, int, int]
"""What `make_code_from_source` takes."""


@dataclass(frozen=True, slots=True)
class _Text:
    """Source that code was made from: a file, or the piece of one that is a function."""

    lines: list[str]
    first: int = 1
    is_file: bool = True
    is_lambda: bool = False


class _ByCode(Generic[T]):
    """Remembers something of code objects, by identity: equal ones may differ in line or name, and die apart."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[types.CodeType], T]] = {}

    def get(self, code: types.CodeType) -> T | None:
        entry = self._entries.get(id(code))
        return entry[1] if entry is not None and entry[0]() is code else None

    def set(self, code: types.CodeType, value: T) -> None:
        key = id(code)
        self._entries[key] = weakref.ref(code, lambda _: self._entries.pop(key, None)), value


_packed: _ByCode[Packed] = _ByCode()
_texts: _ByCode[_Text] = _ByCode()
"""Of code that was made from a piece of source here."""


class _NotFoundError(Exception):
    """The compiled piece does not hold the code that was looked for."""


def _strip(node: _Function) -> _Function:
    """Take away what is evaluated where the function is defined: decorators, annotations, defaults."""
    if not isinstance(node, ast.Lambda):
        node.decorator_list = []
        node.returns = None
        if hasattr(node, "type_params"):
            node.type_params = []
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for argument in [*every, *(a for a in (arguments.vararg, arguments.kwarg) if a is not None)]:
        argument.annotation = None
    arguments.defaults = [ast.Constant(None) for _ in arguments.defaults]
    arguments.kw_defaults = [None if d is None else ast.Constant(None) for d in arguments.kw_defaults]
    return node


def _in_factory(node: _Function, free: tuple[str, ...], class_name: str) -> ast.Module:
    """Put a function where its free variables are a function's arguments, inside its class if it has one."""
    parameters: dict[str, Any] = {"type_params": []} if sys.version_info >= (3, 12) else {}
    body: list[Any] = [ast.Expr(node) if isinstance(node, ast.Lambda) else node]
    if class_name:
        options: dict[str, Any] = {"bases": [], "keywords": [], "decorator_list": [], **parameters}
        body = [ast.ClassDef(name=class_name, body=body, **options)]
    own_name = class_name or getattr(node, "name", "")
    if own_name and own_name not in free:  # else the factory's local name would hide the global one
        body.insert(0, ast.Global(names=[own_name]))
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg(name) for name in free], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    factory = ast.FunctionDef(name=_FACTORY, args=arguments, body=body, decorator_list=[], **parameters)
    return ast.fix_missing_locations(ast.Module(body=[factory], type_ignores=[]))


def _codes(code: types.CodeType) -> list[types.CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def _compile(module: ast.Module, name: str, class_name: str, file: str, flags: int) -> types.CodeType:
    """Compile a factory and take the function's code out of it.

    Raises:
        _NotFoundError: it is not in there.
        SyntaxError: this Python does not know the syntax.
    """
    code: types.CodeType = compile(module, file, "exec", flags, dont_inherit=True)
    for wanted in (_FACTORY, class_name, name):
        if not wanted:
            continue
        found = [inner for inner in _codes(code) if inner.co_name == wanted]
        if not found:
            raise _NotFoundError
        code = found[0]
    return code


def _is_same(one: types.CodeType, two: types.CodeType) -> bool:
    """Tell whether two code objects do the same."""
    names = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars")
    if any(getattr(one, name) != getattr(two, name) for name in names):
        return False
    if len(one.co_consts) != len(two.co_consts):
        return False
    for a, b in zip(one.co_consts, two.co_consts, strict=True):
        if isinstance(a, types.CodeType):
            if not isinstance(b, types.CodeType) or not _is_same(a, b):
                return False
        elif type(a) is not type(b) or repr(a) != repr(b):
            return False
    return True


def _candidates(tree: ast.AST, code: types.CodeType) -> list[_Function]:
    """Find the functions in a tree that have the name and the line of a code object."""
    found: list[_Function] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            if code.co_name == "<lambda>" and node.lineno == code.co_firstlineno:
                found.append(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                found.append(node)
    return found


def _imported_names(node: ast.AST) -> set[str]:
    """Find what a file imports outside of functions: Python 3.11 compiles calls on such names differently."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.stmt) and not isinstance(
            child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ):
            found |= _imported_names(child)
    return found - {"*"}


def _parse(piece: str, name: str, line: int) -> _Function:
    """Return a function's tree, stripped, with the line numbers that it has in its file.

    Args:
        piece: whole lines, indented as they are there; a lambda's own text.
        name: its name.
        line: the number of the first line.

    Raises:
        SyntaxError: this Python does not know the syntax.
    """
    tree: Any = _tree_of_piece(piece, line, is_lambda=name == "<lambda>")
    return _strip(tree)


def _tree_of_piece(piece: str, line: int, *, is_lambda: bool) -> ast.AST:
    node: Any
    if is_lambda:
        above, node = 1, ast.parse(f"(\n{piece}\n)", mode="eval").body
    elif piece[:1].isspace():
        above, block = 1, ast.parse(f"if 1:\n{piece}").body[0]
        node = block.body[0]  # type: ignore[attr-defined]  # it is the `if`
    else:
        above, node = 0, ast.parse(piece).body[0]
    tree: ast.AST = ast.increment_lineno(node, line - 1 - above)
    return tree


def _piece_of(node: _Function, text: _Text) -> str:
    assert node.end_lineno is not None
    if getattr(node, "type_params", None):  # their syntax is newer than the oldest version
        return ast.unparse(_strip(node))
    whole = [*text.lines[node.lineno - text.first : node.end_lineno - text.first + 1]]
    if not isinstance(node, ast.Lambda):
        return "".join(whole)
    # Columns count bytes of UTF-8.
    whole[-1] = whole[-1].encode()[: node.end_col_offset].decode()
    whole[0] = whole[0].encode()[node.col_offset :].decode()
    return "".join(whole)


def pack_source(code: types.CodeType) -> tuple[Any, ...]:
    """Return how a code object travels between different Python versions: a maker and its arguments.

    Args:
        code: a function's code.

    Raises:
        pickle.PicklingError: its source is not known, or is not that of the code.
    """
    packed = _packed.get(code)
    if packed is None:
        packed = _extract(code)
        _packed.set(code, packed)
    return make_code_from_source, packed


def _extract(code: types.CodeType) -> Packed:
    text = _texts.get(code) or _Text(linecache.getlines(code.co_filename))
    reason = (
        f"the other side runs another Python version, and there is no source of {code.co_qualname} to send"
    )
    if not text.lines:
        raise pickle.PicklingError(reason)
    try:
        tree = _tree_of(text)
    except SyntaxError:
        raise pickle.PicklingError(reason) from None
    flags = code.co_flags & _FUTURE_FLAGS
    parts = code.co_qualname.split(".")
    class_name = parts[-2] if len(parts) > 1 and parts[-2] != "<locals>" else ""
    names = sorted(_imported_names(tree)) if text.is_file else []
    imports = [ast.Import(names=[ast.alias(name=name)]) for name in names]
    for node in _candidates(tree, code):
        piece, line = _piece_of(node, text), node.lineno
        try:
            factory = _in_factory(_parse(piece, code.co_name, line), code.co_freevars, class_name)
            factory.body[:0] = imports
            ast.fix_missing_locations(factory)
            again = _compile(factory, code.co_name, class_name, code.co_filename, flags)
        except (SyntaxError, _NotFoundError):
            continue
        if _is_same(again, code):
            return piece, code.co_name, code.co_freevars, class_name, code.co_filename, line, flags
    raise pickle.PicklingError(f"{reason} (its file has changed since it was defined)")


def _tree_of(text: _Text) -> ast.AST:
    """Return the tree of some source, with its own line numbers."""
    joined = "".join(text.lines)
    return ast.parse(joined) if text.is_file else _tree_of_piece(joined, text.first, is_lambda=text.is_lambda)


def make_code_from_source(
    text: str, name: str, free: tuple[str, ...], class_name: str, file: str, line: int, flags: int
) -> types.CodeType:
    """Compile a function's source and return its code; stands in a stream.

    Args:
        text: the function's source.
        name: its name.
        free: names of its free variables.
        class_name: the class that it is defined in, or empty.
        file: its file, for tracebacks.
        line: its line there.
        flags: the ``from __future__`` flags it was compiled with.

    Raises:
        TransferError: this Python does not understand it.
    """
    try:
        code = _compile(
            _in_factory(_parse(text, name, line), free, class_name), name, class_name, file, flags
        )
    except (SyntaxError, _NotFoundError) as error:
        raise TransferError(name, "function", f"its source is not understood here: {error}") from error
    _packed.set(code, (text, name, free, class_name, file, line, flags))  # so that it can travel on, or home
    _remember(code, _Text(text.splitlines(keepends=True), line, is_file=False, is_lambda=name == "<lambda>"))
    return code


def _remember(code: types.CodeType, text: _Text) -> None:
    """Note where the functions nested in code come from."""
    for inner in _codes(code):
        _texts.set(inner, text)
        _remember(inner, text)
