"""Which names a block of code owns, and where a name that it mentions is looked up.

The rules are those of the compiler's symbol table (Python reference, section 4.2.2), on the syntax tree
alone: the standard `symtable` needs the text, and knows nothing of the order in which a cell runs.
"""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterable, Iterator

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Kind(enum.Enum):
    """What sort of block a scope belongs to."""

    MODULE = enum.auto()
    CLASS = enum.auto()
    FUNCTION = enum.auto()
    COMPREHENSION = enum.auto()


class Scope:
    """One block: the names it owns and the block around it.

    Attributes:
        kind: what sort of block it is.
        parent: the block around it; None for the module.
        owned: names that are local to it.
        global_names: names it declares ``global``.
        nonlocal_names: names it declares ``nonlocal``.
        settled: in a class body, the names that are certainly bound so far.
        class_name: the innermost class around it, for private names (``__x``); empty outside classes.
    """

    __slots__ = ("class_name", "global_names", "kind", "nonlocal_names", "owned", "parent", "settled")

    def __init__(self, kind: Kind, parent: Scope | None = None, class_name: str = "") -> None:
        self.kind = kind
        self.parent = parent
        self.owned: set[str] = set()
        self.global_names: set[str] = set()
        self.nonlocal_names: set[str] = set()
        self.settled: set[str] = set()
        self.class_name: str = class_name or (parent.class_name if parent is not None else "")

    def mangled(self, name: str) -> str:
        """Return `name` as the compiler stores it here (Python reference, section 6.2.1)."""
        if not self.class_name or not name.startswith("__") or name.endswith("__") or "." in name:
            return name
        owner = self.class_name.lstrip("_")
        return f"_{owner}{name}" if owner else name

    def is_global(self, name: str) -> bool:
        """Return whether `name`, already mangled, is looked up in the module's namespace from here.

        A name that a class body binds counts as its own, whether it is bound yet or not.
        """
        if self.kind is Kind.MODULE or name in self.global_names:
            return True
        if name in self.owned or name in self.nonlocal_names:
            return False
        scope = self.parent
        in_class = self.kind is Kind.CLASS
        while scope is not None and scope.kind is not Kind.MODULE:
            if scope.kind is Kind.CLASS:
                # Names of a class body are not seen from the blocks inside it, except the implicit cell.
                in_class = True
            elif name in scope.global_names:
                return True
            elif name in scope.owned or name in scope.nonlocal_names:
                return False
            scope = scope.parent
        return not (in_class and name == "__class__")

    def target_of_walrus(self) -> Scope:
        """Return the block in which ``:=`` binds (PEP 572: comprehensions are passed over)."""
        scope = self
        while scope.kind is Kind.COMPREHENSION and scope.parent is not None:
            scope = scope.parent
        return scope


def type_parameter_scope(node: ast.AST, parent: Scope) -> Scope:
    """Return the block that holds a definition's type parameters (PEP 695), or `parent` if it has none."""
    parameters = getattr(node, "type_params", None)
    if not parameters:
        return parent
    scope = Scope(Kind.FUNCTION, parent)
    scope.owned.update(scope.mangled(p.name) for p in parameters)
    return scope


def function_scope(node: FunctionNode, parent: Scope) -> Scope:
    """Return the block of a function or lambda."""
    scope = Scope(Kind.FUNCTION, parent)
    arguments = node.args
    scope.owned.update(
        scope.mangled(a.arg) for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    )
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            scope.owned.add(scope.mangled(extra.arg))
    collect(scope, node.body if isinstance(node.body, list) else [node.body])
    return scope


def class_scope(node: ast.ClassDef, parent: Scope) -> Scope:
    """Return the block of a class body."""
    scope = Scope(Kind.CLASS, parent, class_name=node.name)
    # Set by the compiler at the start of every class body; `__name__` itself is read from the module.
    scope.settled.update(("__module__", "__qualname__"))
    scope.owned.update(scope.settled)
    collect(scope, node.body)
    return scope


def comprehension_scope(node: Comprehension, parent: Scope) -> Scope:
    """Return the block of a comprehension or generator expression: it owns the loop variables only."""
    scope = Scope(Kind.COMPREHENSION, parent)
    for generator in node.generators:
        for inner in ast.walk(generator.target):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                scope.owned.add(scope.mangled(inner.id))
    return scope


def collect(scope: Scope, nodes: Iterable[ast.AST]) -> None:
    """Add to `scope` what `nodes`, its body, bind and declare in it."""
    for name in bound_names(nodes, scope):
        scope.owned.add(scope.mangled(name))
    scope.owned -= scope.global_names
    scope.owned -= scope.nonlocal_names


def bound_names(nodes: Iterable[ast.AST], scope: Scope) -> Iterator[str]:
    """Yield the names that `nodes` bind in their own block, and note its declarations in `scope`."""
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                yield node.id
        elif isinstance(node, ast.Global):
            scope.global_names.update(map(scope.mangled, node.names))
        elif isinstance(node, ast.Nonlocal):
            scope.nonlocal_names.update(map(scope.mangled, node.names))
        else:
            yield from _names_in_fields(node)
            todo.extend(_same_block(node))


def _names_in_fields(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds through a text field, not through an `ast.Name`."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            if alias.name != "*":
                yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, (*_DEFINITIONS, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        if node.name is not None:
            yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest is not None:
        yield node.rest


def _same_block(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the children of `node` that run in the same block as it (for ``:=``, in the binding sense)."""
    if isinstance(node, ast.Lambda):
        yield from _defaults(node.args)
    elif isinstance(node, _DEFINITIONS):
        yield from node.decorator_list
        if isinstance(node, ast.ClassDef):
            yield from node.bases
            yield from node.keywords
        else:
            yield from _defaults(node.args)
    elif isinstance(node, _COMPREHENSIONS):
        yield from (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        for generator in node.generators:
            yield generator.iter
            yield from generator.ifs
    else:
        yield from ast.iter_child_nodes(node)


def _defaults(arguments: ast.arguments) -> Iterator[ast.expr]:
    yield from arguments.defaults
    yield from (d for d in arguments.kw_defaults if d is not None)
