"""Names that a cell reaches through text: ``eval("x + 1")``, ``globals()["x"]``, ``df.query("a > @limit")``.

Text that stands in the cell is read as code; any other makes the cell *dynamic*: the names that it reads are not all
known. A name that is only bound, as by ``globals()[text] = 1``, need not be known before. Of text that libraries read
(`rpc_magic.namespace.texts`) only what stands in the cell counts. The module ``__main__`` is the namespace as well.
"""

from __future__ import annotations

import ast

from rpc_magic.namespace.parsing import parse_cell, parse_expression
from rpc_magic.namespace.scopes import Kind
from rpc_magic.namespace.texts import names_for
from rpc_magic.namespace.walk import Walk

MAIN = "__main__"
"""The module whose namespace is the notebook's."""

_RUNNERS = frozenset({"eval", "exec"})
_MAPPINGS = frozenset({"globals", "locals", "vars"})
_KEY_METHODS = frozenset(
    {"get", "pop", "setdefault", "__getitem__", "__setitem__", "__delitem__", "__contains__"}
)
_BINDING_METHODS = frozenset({"setdefault", "__setitem__"})
_DELETING_METHODS = frozenset({"pop", "__delitem__"})


def dynamic_call(walk: Walk, node: ast.Call) -> bool:
    """Walk `node` if it is a call that runs text or asks for the namespace.

    Returns:
        Whether it was one, and has been walked.
    """
    function = node.func
    if isinstance(function, ast.Name):
        if function.id in _RUNNERS:
            _run_text(walk, node, function.id)
            return True
        if is_namespace(walk, node):
            walk.visit(function)
            walk.is_dynamic = True
            return True
    elif isinstance(function, ast.Attribute) and is_namespace(walk, function.value):
        return _namespace_method(walk, node, function)
    _read_by_library(walk, node)
    return False


def dynamic_attribute(walk: Walk, node: ast.Attribute) -> None:
    """Note ``__main__.x``, or that all names are behind ``m`` of ``import __main__ as m``."""
    if isinstance(node.value, ast.Name) and node.value.id == MAIN:
        is_load = isinstance(node.ctx, ast.Load | ast.Del)
        _touch(walk, node.attr, reads=is_load, binds=isinstance(node.ctx, ast.Store))
        if isinstance(node.ctx, ast.Del):
            walk.deletes.add(node.attr)


def dynamic_subscript(walk: Walk, node: ast.Subscript) -> bool:
    """Walk `node` if it is an entry of the namespace with a literal name, as ``globals()["x"]``, or is only bound."""
    name = _literal(node.slice)
    is_bound = isinstance(node.ctx, ast.Store)
    if not (name is not None or is_bound) or not is_namespace(walk, node.value):
        return False
    _visit_namespace(walk, node.value)
    if name is None:  # what is bound is seen after the cell has run, and nothing is read
        walk.visit(node.slice)
        return True
    _touch(walk, name, reads=isinstance(node.ctx, ast.Load | ast.Del), binds=isinstance(node.ctx, ast.Store))
    if isinstance(node.ctx, ast.Del):
        walk.deletes.add(name)
    return True


def dynamic_comparison(walk: Walk, node: ast.Compare) -> bool:
    """Walk `node` if it is ``"x" in globals()``."""
    name = _literal(node.left)
    if name is None or len(node.ops) != 1 or not isinstance(node.ops[0], ast.In | ast.NotIn):
        return False
    if not is_namespace(walk, node.comparators[0]):
        return False
    _visit_namespace(walk, node.comparators[0])
    _touch(walk, name, reads=True)
    return True


def is_namespace(walk: Walk, node: ast.expr) -> bool:
    """Return whether `node` is the module's namespace, as ``globals()`` or ``get_ipython().user_ns``."""
    if isinstance(node, ast.Attribute):
        return node.attr in {"user_ns", "user_global_ns"} and is_shell(node.value)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MAPPINGS):
        return False
    if node.args or node.keywords:
        return False
    # Inside a function or class, locals() and vars() show its own names.
    scope = walk.scope.target_of_walrus()
    return node.func.id == "globals" or scope.kind is Kind.MODULE


def is_shell(node: ast.expr) -> bool:
    """Return whether `node` is ``get_ipython()``."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "get_ipython"
        and not node.args
    )


def walk_text(walk: Walk, text: str, *, is_expression: bool = False) -> None:
    """Walk code that is given as text; it may be wrong, or never run, and nothing is settled by it."""
    tree = parse_expression(text) if is_expression else parse_cell(text)
    if tree is not None:
        walk.run_waiting()
        walk.branch([tree.body] if isinstance(tree, ast.Expression) else tree.body)
        walk.run_waiting()


def _literal(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _read_by_library(walk: Walk, node: ast.Call) -> None:
    """Note the names in text that is given to a function which reads variables."""
    function, owner = node.func, ""
    if isinstance(function, ast.Attribute):
        name, value = function.attr, function.value
        owner = value.id if isinstance(value, ast.Name) else ""
    elif isinstance(function, ast.Name):
        name = function.id
    else:
        return
    find = names_for(name, owner)
    if find is not None:
        arguments = (*node.args, *(keyword.value for keyword in node.keywords))
        for part in (part for argument in arguments for part in ast.walk(argument)):
            for found in find(_literal(part) or ""):
                _touch(walk, found, reads=True)


def _visit_namespace(walk: Walk, node: ast.expr) -> None:
    if isinstance(node, ast.Call):
        walk.visit(node.func)


def _touch(walk: Walk, name: str, *, reads: bool = False, binds: bool = False) -> None:
    """Note a use of a global name, whatever block the walk is in."""
    if reads and name not in walk.settled:
        walk.reads.add(name)
    if binds:
        walk.binds.add(name)


def _run_text(walk: Walk, node: ast.Call, function: str) -> None:
    """Walk an ``eval`` or ``exec``: of a literal its code; of anything else only the arguments."""
    walk.visit(node.func)
    given = node.args[1:]
    # The namespace is only handed on here: that alone makes no name unknown.
    ours = [argument for argument in given if is_namespace(walk, argument)]
    for argument in node.args:
        if argument in ours:
            _visit_namespace(walk, argument)
        else:
            walk.visit(argument)
    walk.visit_all(node.keywords)
    if given and not ours:  # the text runs in a namespace of the caller's, and in no other
        return
    text = _literal(node.args[0]) if node.args else None
    if text is None:
        walk.is_dynamic = True
    else:
        walk_text(walk, text.strip() if function == "eval" else text, is_expression=function == "eval")


def _namespace_method(walk: Walk, node: ast.Call, function: ast.Attribute) -> bool:
    """Walk ``globals().get("x")`` and its like."""
    if function.attr == "update" and _update_names(node) is not None:
        for bound in _update_names(node) or ():
            _touch(walk, bound, binds=True)
    elif function.attr in _KEY_METHODS and node.args and (name := _literal(node.args[0])) is not None:
        _touch(walk, name, reads=function.attr != "__setitem__", binds=function.attr in _BINDING_METHODS)
        if function.attr in _DELETING_METHODS:
            walk.deletes.add(name)
    else:
        return False
    _visit_namespace(walk, function.value)
    walk.visit_all(node.args)
    walk.visit_all(node.keywords)
    return True


def _update_names(node: ast.Call) -> list[str] | None:
    """Return the names that ``globals().update(…)`` binds; None if the text does not show them."""
    names: list[str | None] = [keyword.arg for keyword in node.keywords]
    for argument in node.args:
        if not isinstance(argument, ast.Dict):
            return None
        names += [_literal(key) if key is not None else None for key in argument.keys]
    known = [name for name in names if name is not None]
    return known if len(known) == len(names) else None
