"""What the statements of a cell read, bind and settle; see `rpc_magic.namespace.walk`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, TypeVar, cast

from rpc_magic.namespace.dynamic import dynamic_subscript
from rpc_magic.namespace.scopes import Kind, class_scope, function_scope, type_parameter_scope
from rpc_magic.namespace.walk import HANDLERS, LEAVES, Handler, Walk

_F = TypeVar("_F", bound=Callable[..., None])

NEVER_SUPPRESS: frozenset[str] = frozenset({
    "NamedTemporaryFile", "Pool", "ProcessPoolExecutor", "TemporaryDirectory", "TemporaryFile",
    "ThreadPoolExecutor", "ZipFile", "catch_warnings", "closing", "enable_grad", "errstate",
    "inference_mode", "localcontext", "no_grad", "nullcontext", "open", "option_context", "printoptions",
    "rc_context", "redirect_stderr", "redirect_stdout", "tqdm", "urlopen",
})  # fmt: skip
"""Last names of context managers known to let exceptions through: what their body binds is bound after it.

Of any other the body may have ended early without an error (`contextlib.suppress`, an ipywidgets `Output`).
"""


def handles(*kinds: type[ast.AST]) -> Callable[[_F], _F]:
    """Register a function as what is done at nodes of these kinds."""

    def register(function: _F) -> _F:
        for kind in kinds:
            HANDLERS[kind] = cast("Handler", function)
        return function

    return register


# ---------------------------------------------------------------- definitions


@handles(ast.FunctionDef, ast.AsyncFunctionDef)
def function_definition(walk: Walk, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Decorators, defaults and annotations run now; the body later."""
    walk.visit_all(node.decorator_list)
    visit_defaults(walk, node.args)
    outer = type_parameter_scope(node, walk.scope)
    with walk.inside(outer):
        walk.visit_all(getattr(node, "type_params", ()))
        for argument in all_arguments(node.args):
            annotation(walk, argument.annotation)
        annotation(walk, node.returns)
    name = walk.scope.mangled(node.name)
    own_names = [name] if walk.scope.is_global(name) else []
    walk.defer(function_scope(node, outer), node.body, own_names + walk.under_construction)
    if node.decorator_list:
        walk.run_waiting()
    walk.bind(node.name)


@handles(ast.ClassDef)
def class_definition(walk: Walk, node: ast.ClassDef) -> None:
    """The body runs now, in a block of its own."""
    walk.visit_all(node.decorator_list)
    outer = type_parameter_scope(node, walk.scope)
    is_global = walk.scope.is_global(walk.scope.mangled(node.name))
    with walk.inside(outer):
        walk.visit_all(getattr(node, "type_params", ()))
        walk.visit_all(node.bases)
        walk.visit_all(node.keywords)
    if is_global:
        walk.under_construction.append(walk.scope.mangled(node.name))
    with walk.inside(class_scope(node, outer)):
        walk.visit_all(node.body)
    if is_global:
        walk.under_construction.pop()
    if node.decorator_list or node.keywords:
        walk.run_waiting()
    walk.bind(node.name)


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    """Return every parameter of a function."""
    extra = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def visit_defaults(walk: Walk, arguments: ast.arguments) -> None:
    """Walk the default values of a function's parameters."""
    walk.visit_all(arguments.defaults)
    walk.visit_all(arguments.kw_defaults)


def annotation(walk: Walk, node: ast.expr | None) -> None:
    """Walk an annotation, and what is written in it as text.

    Under ``from __future__ import annotations``, and from Python 3.14 on, it runs later or never;
    dataclasses, pydantic and `typing.get_type_hints` look the names up all the same.
    """
    if node is None:
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            try:
                text = ast.parse(inner.value.strip(), mode="eval")
            except (SyntaxError, ValueError):
                continue
            walk.visit(text.body)
    walk.visit(node)


def type_alias(walk: Walk, node: Any) -> None:
    """``type X = …`` (PEP 695): the value is made when it is asked for."""
    outer = type_parameter_scope(node, walk.scope)
    with walk.inside(outer):
        walk.visit_all(node.type_params)
    walk.defer(outer, [node.value])
    walk.visit(node.name)


if hasattr(ast, "TypeAlias"):  # Python 3.12 and newer
    HANDLERS[ast.TypeAlias] = type_alias


# ---------------------------------------------------------------- binding


@handles(ast.Assign)
def assignment(walk: Walk, node: ast.Assign) -> None:
    """The value is made before any target is bound."""
    walk.visit(node.value)
    if any(not isinstance(target, ast.Name) for target in node.targets):
        walk.run_waiting()
    walk.visit_all(node.targets)


@handles(ast.AugAssign)
def augmented_assignment(walk: Walk, node: ast.AugAssign) -> None:
    """A name is read, changed and bound again."""
    if isinstance(node.target, ast.Name):
        walk.read(node.target.id)
    elif isinstance(node.target, ast.Subscript):
        read = ast.Subscript(node.target.value, node.target.slice, ast.Load())
        if not dynamic_subscript(walk, read):
            walk.visit(read.value)
    walk.visit(node.value)
    walk.run_waiting()
    walk.visit(node.target)


@handles(ast.AnnAssign)
def annotated_assignment(walk: Walk, node: ast.AnnAssign) -> None:
    """Without a value nothing is bound; in a function the annotation of a name never runs."""
    walk.visit(node.value)
    if node.value is not None or not isinstance(node.target, ast.Name):
        walk.visit(node.target)
    if walk.scope.kind in {Kind.MODULE, Kind.CLASS}:
        annotation(walk, node.annotation)


@handles(ast.Import)
def import_modules(walk: Walk, node: ast.Import) -> None:
    """``import a.b`` binds ``a``; the notebook's own module under another name is the whole namespace."""
    for alias in node.names:
        walk.is_dynamic |= alias.name == "__main__" and alias.asname is not None
        walk.bind(alias.asname or alias.name.partition(".")[0])


@handles(ast.ImportFrom)
def import_from(walk: Walk, node: ast.ImportFrom) -> None:
    """A star import binds names that the text does not show."""
    for alias in node.names:
        if alias.name == "*":
            walk.star_imports.append("." * node.level + (node.module or ""))
        else:
            if node.module == "__main__":
                walk.read(alias.name)
            walk.bind(alias.asname or alias.name)


@handles(ast.Global, ast.Nonlocal)
def declaration(_walk: Walk, _node: ast.AST) -> None:
    """Declarations are known from the block; they do nothing when run."""


# ---------------------------------------------------------------- branches and loops


@handles(ast.If)
def condition(walk: Walk, node: ast.If) -> None:
    """One of both branches runs."""
    walk.visit(node.test)
    walk.run_waiting()
    walk.settle_common([walk.branch(node.body), walk.branch(node.orelse)])


@handles(ast.While)
def while_loop(walk: Walk, node: ast.While) -> None:
    """The body may never run."""
    walk.visit(node.test)
    walk.run_waiting()
    walk.branch(node.body)
    walk.branch(node.orelse)


@handles(ast.For, ast.AsyncFor)
def for_loop(walk: Walk, node: ast.For | ast.AsyncFor) -> None:
    """The body may never run, and the variable may never be bound."""
    walk.visit(node.iter)
    walk.run_waiting()
    walk.branch([node.target, *node.body])
    walk.branch(node.orelse)


@handles(ast.With, ast.AsyncWith)
def with_block(walk: Walk, node: ast.With | ast.AsyncWith) -> None:
    """What the body binds is certain only if none of the managers can swallow an exception."""
    walk.visit(node.items[0].context_expr)
    walk.run_waiting()
    rest: list[ast.AST | None] = [node.items[0].optional_vars]
    for item in node.items[1:]:
        rest += [item.context_expr, item.optional_vars]
    end = walk.branch([*rest, *node.body])
    walk.run_waiting()
    if all(lets_exceptions_through(item.context_expr) for item in node.items):
        walk.settle_common([end])


def lets_exceptions_through(node: ast.expr) -> bool:
    """Return whether a context manager is known never to swallow an exception."""
    if isinstance(node, ast.Call):
        node = node.func
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in NEVER_SUPPRESS


@handles(ast.Try, ast.TryStar)
def try_block(walk: Walk, node: ast.Try | ast.TryStar) -> None:
    """The body may stop anywhere: handlers and the final part start from what was settled before it."""
    ends = [walk.branch([*node.body, *node.orelse])]
    walk.run_waiting()
    for handler in node.handlers:
        end = walk.branch([handler])
        ends.append(None if isinstance(handler.body[-1], LEAVES) else end)
    final_end = walk.branch(node.finalbody)
    walk.settle_common(ends)
    walk.settle_common([final_end])


@handles(ast.ExceptHandler)
def except_handler(walk: Walk, node: ast.ExceptHandler) -> None:
    """The name is bound, and unbound at the end of the handler."""
    walk.visit(node.type)
    walk.run_waiting()
    if node.name is not None:
        walk.bind(node.name)
    walk.visit_all(node.body)


@handles(ast.Assert)
def assertion(walk: Walk, node: ast.Assert) -> None:
    """The message is made only on failure."""
    walk.visit(node.test)
    walk.branch([node.msg])


# ---------------------------------------------------------------- match


@handles(ast.Match)
def match_block(walk: Walk, node: ast.Match) -> None:
    """One case runs, or none."""
    walk.visit(node.subject)
    walk.run_waiting()
    ends = [walk.branch([case.pattern, case.guard, *case.body]) for case in node.cases]
    last = node.cases[-1]
    is_complete = (
        isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None and last.guard is None
    )
    if is_complete:
        walk.settle_common(ends)


@handles(ast.MatchAs, ast.MatchStar)
def capture(walk: Walk, node: ast.MatchAs | ast.MatchStar) -> None:
    """``case [first, *rest]``: both are bound."""
    if isinstance(node, ast.MatchAs):
        walk.visit(node.pattern)
    if node.name is not None:
        walk.bind(node.name)


@handles(ast.MatchMapping)
def mapping_pattern(walk: Walk, node: ast.MatchMapping) -> None:
    """``case {"a": x, **rest}``: `rest` is bound."""
    walk.visit_all(node.keys)
    walk.visit_all(node.patterns)
    if node.rest is not None:
        walk.bind(node.rest)


@handles(ast.MatchOr)
def alternative_patterns(walk: Walk, node: ast.MatchOr) -> None:
    """Every alternative binds the same names."""
    walk.settle_common([walk.branch([pattern]) for pattern in node.patterns])
