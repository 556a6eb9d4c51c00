"""The calls of ``get_ipython()`` that IPython's transformations leave in a cell's text."""

from __future__ import annotations

import ast

from rpc_magic.namespace.dynamic import is_shell, walk_text
from rpc_magic.namespace.expansion import expressions_in
from rpc_magic.namespace.magics import MagicUse, magic_use
from rpc_magic.namespace.parsing import parse_cell, parse_expression
from rpc_magic.namespace.scopes import Kind, Scope, collect
from rpc_magic.namespace.walk import Walk

_COMMANDS = frozenset({"getoutput", "getoutput_", "system", "system_piped", "system_raw"})
_RUNNERS = frozenset({"ev", "ex", "run_cell", "run_code", "safe_execfile"})


def shell_call(walk: Walk, node: ast.Call) -> bool:
    """Walk `node` if it is a magic or a command; `get_ipython` itself is then no read.

    Returns:
        Whether it was one, and has been walked.
    """
    function = node.func
    if not (isinstance(function, ast.Attribute) and is_shell(function.value)):
        return False
    method = function.attr
    texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if method in _COMMANDS:
        if texts:
            _evaluate(walk, expressions_in(texts[0]))
    elif method in {"run_line_magic", "run_cell_magic", "magic"}:
        use = _use(method, texts)
        if use is not None:
            _apply(walk, use)
        else:
            walk.is_dynamic = True
    elif method in _RUNNERS:
        if texts:
            walk_text(walk, texts[0], is_expression=method == "ev")
        else:
            walk.is_dynamic = True
    else:
        return False
    walk.visit_all(node.args)
    walk.visit_all(node.keywords)
    return True


def _use(method: str, texts: list[str]) -> MagicUse | None:
    """Return what a call of a magic does; None if its text is not in the cell."""
    if method == "magic" and texts:
        name, _, line = texts[0].lstrip("%").partition(" ")
        return magic_use(name, line)
    if method == "run_line_magic" and len(texts) == 2:
        return magic_use(texts[0], texts[1])
    if method == "run_cell_magic" and len(texts) == 3:
        return magic_use(*texts)
    return None


def _apply(walk: Walk, use: MagicUse) -> None:
    _evaluate(walk, use.expressions)
    for name in use.reads:
        walk.read(name)
    trees = [tree for text in use.code if (tree := parse_cell(text)) is not None]
    body = [statement for tree in trees for statement in tree.body]
    walk.run_waiting()
    if use.own_block:
        scope = Scope(Kind.FUNCTION, walk.scope)
        collect(scope, body)
        walk.defer(scope, body)
    elif use.runs_once:
        walk.visit_all(body)
    else:
        walk.branch(body)
    walk.run_waiting()
    # The magic may fail before it binds: nothing is settled.
    module = Scope(Kind.MODULE)
    walk.binds.update(module.mangled(name) for name in use.binds)
    walk.deletes.update(use.deletes)
    walk.is_dynamic |= use.is_dynamic
    walk.asks.update(name for name in use.asks if name not in walk.settled)
    walk.asks_all |= use.asks_all


def _evaluate(walk: Walk, expressions: list[str] | tuple[str, ...]) -> None:
    for text in expressions:
        tree = parse_expression(text)
        if tree is not None:
            walk.branch([tree.body])
