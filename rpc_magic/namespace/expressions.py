"""What expressions read and bind; see `rpc_magic.namespace.walk`."""

from __future__ import annotations

import ast

from rpc_magic.namespace.dynamic import (
    dynamic_attribute,
    dynamic_call,
    dynamic_comparison,
    dynamic_subscript,
)
from rpc_magic.namespace.scopes import Comprehension, comprehension_scope, function_scope
from rpc_magic.namespace.shellcalls import shell_call
from rpc_magic.namespace.statements import handles, visit_defaults
from rpc_magic.namespace.walk import Walk

OUTPUT_HISTORY = frozenset({"Out", "_oh"})
"""The names under which IPython keeps the results of cells."""


@handles(ast.Constant)
def constant(_walk: Walk, _node: ast.Constant) -> None:
    """Nothing: a constant is the most frequent leaf, and has no children."""


@handles(ast.Name)
def name(walk: Walk, node: ast.Name) -> None:
    """Load, store or delete a name."""
    if isinstance(node.ctx, ast.Load):
        walk.read(node.id)
        if node.id in OUTPUT_HISTORY:
            walk.reads_outputs = True
    elif isinstance(node.ctx, ast.Store):
        walk.bind(node.id)
    else:
        walk.delete(node.id)


@handles(ast.NamedExpr)
def walrus(walk: Walk, node: ast.NamedExpr) -> None:
    """Binds in the block around all comprehensions."""
    walk.visit(node.value)
    walk.bind(node.target.id, walk.scope.target_of_walrus())


@handles(ast.Lambda)
def anonymous_function(walk: Walk, node: ast.Lambda) -> None:
    """Defaults run now; the body later."""
    visit_defaults(walk, node.args)
    walk.defer(function_scope(node, walk.scope), [node.body])


@handles(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
def comprehension(walk: Walk, node: Comprehension) -> None:
    """The first iterable is made in the block around; the rest runs inside, maybe never."""
    walk.visit(node.generators[0].iter)
    inside: list[ast.AST | None] = []
    for number, generator in enumerate(node.generators):
        inside += [generator.iter if number else None, generator.target, *generator.ifs]
    inside += [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    scope = comprehension_scope(node, walk.scope)
    if isinstance(node, ast.GeneratorExp):
        walk.defer(scope, [part for part in inside if part is not None])
        return
    walk.run_waiting()
    with walk.inside(scope):
        walk.branch(inside)
    walk.run_waiting()


@handles(ast.BoolOp)
def boolean_operation(walk: Walk, node: ast.BoolOp) -> None:
    """Only the first operand certainly runs."""
    walk.visit(node.values[0])
    walk.run_waiting()
    walk.branch(node.values[1:])


@handles(ast.IfExp)
def conditional_expression(walk: Walk, node: ast.IfExp) -> None:
    """One of both runs."""
    walk.visit(node.test)
    walk.run_waiting()
    walk.settle_common([walk.branch([node.body]), walk.branch([node.orelse])])


@handles(ast.Compare)
def comparison(walk: Walk, node: ast.Compare) -> None:
    """Of a chain only the first two operands certainly run."""
    if dynamic_comparison(walk, node):
        return
    walk.visit(node.left)
    walk.visit(node.comparators[0])
    walk.branch(node.comparators[1:])


@handles(ast.Dict)
def dictionary(walk: Walk, node: ast.Dict) -> None:
    """Keys and values are made in pairs."""
    for key, value in zip(node.keys, node.values, strict=True):
        walk.visit(key)
        walk.visit(value)


@handles(ast.Subscript)
def subscript(walk: Walk, node: ast.Subscript) -> None:
    """``Out[5]`` reads ``_5`` too, and no other output; ``globals()["x"]`` is ``x``."""
    index = node.slice
    if (
        isinstance(node.value, ast.Name)
        and node.value.id in OUTPUT_HISTORY
        and isinstance(index, ast.Constant)
        and type(index.value) is int
    ):
        walk.read(node.value.id)
        walk.read(f"_{index.value}")
    elif not dynamic_subscript(walk, node):
        walk.visit(node.value)
        walk.visit(index)


@handles(ast.Attribute)
def attribute(walk: Walk, node: ast.Attribute) -> None:
    """``__main__.x`` is ``x``."""
    walk.visit(node.value)
    dynamic_attribute(walk, node)


@handles(ast.Call)
def call(walk: Walk, node: ast.Call) -> None:
    """Calls that the shell's transformations make, and those that run text, are looked into."""
    if not (shell_call(walk, node) or dynamic_call(walk, node)):
        walk.visit(node.func)
        walk.visit_all(node.args)
        walk.visit_all(node.keywords)
