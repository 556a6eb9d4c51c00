"""Which names a cell reads, binds and deletes, told before it runs."""

from __future__ import annotations

import ast
from dataclasses import dataclass

# Importing the handlers fills the walk's table; `expressions` imports all the others.
from rpc_magic.namespace import expressions as _expressions  # noqa: F401  -- for its effect
from rpc_magic.namespace.parsing import parse
from rpc_magic.namespace.walk import Walk

__all__ = ["CellNames", "cell_names", "cell_names_of_tree", "prelude_index"]


@dataclass(frozen=True, slots=True)
class CellNames:
    """The names that the text of a cell shows. In doubt a name counts as read, and as bound.

    Attributes:
        reads: global names whose value from before the cell it may read, builtins among them. A name that is
            certainly bound in the cell before its first use is none.
        binds: names it may bind at module scope.
        deletes: names it may delete; they count as read, since they must be there.
        star_imports: modules of which it imports every public name, as written (``..a`` for relative ones).
        dynamic: it may read names that the text does not show (``eval(text)``, ``%run``).
        asks: names of which help is asked (``x?``), and that it does not bind before; no reads.
        asks_all: it lists the names that there are (``%who``).
        all_outputs: it uses ``Out`` other than by a literal index; otherwise ``_5`` stands for ``Out[5]``.
    """

    reads: frozenset[str]
    binds: frozenset[str]
    deletes: frozenset[str]
    star_imports: tuple[str, ...]
    dynamic: bool
    all_outputs: bool = False
    asks: frozenset[str] = frozenset()
    asks_all: bool = False


def cell_names(source: str, *, filename: str = "<cell>") -> CellNames:
    """Return the names in a cell's text.

    Args:
        source: the text after IPython's transformations.
        filename: the name of the text in a SyntaxError.

    Returns:
        The names. Pure and thread-safe, except that parsing text with a backslash touches the process's
        warning filters for a moment.

    Raises:
        SyntaxError: the text is no Python (``await`` at top level is).
    """
    return cell_names_of_tree(parse(source, filename))


def cell_names_of_tree(tree: ast.Module) -> CellNames:
    """Return the names in a parsed cell; see `cell_names`. The tree is not changed."""
    walk = Walk()
    walk.visit_all(tree.body)
    walk.run_waiting()
    return CellNames(
        reads=frozenset(walk.reads),
        binds=frozenset(walk.binds),
        deletes=frozenset(walk.deletes),
        star_imports=tuple(walk.star_imports),
        dynamic=walk.is_dynamic,
        all_outputs=walk.reads_outputs,
        asks=frozenset(walk.asks),
        asks_all=walk.asks_all,
    )


def prelude_index(tree: ast.Module) -> int:
    """Return where a statement may be put first: after the docstring and ``__future__`` imports."""
    index = 0
    body = tree.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        index = int(isinstance(body[0].value.value, str))
    while index < len(body):
        statement = body[index]
        if not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            break
        index += 1
    return index
